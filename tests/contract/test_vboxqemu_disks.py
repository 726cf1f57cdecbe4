"""Boxes and disks with the real qemu-img: import, overlays, media, snapshots, deletion."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from vboxqemu_rig import COUNTER, VBox, write_box

from vboxqemu import main

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="QEMU is not installed")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_box(tmp_path_factory.mktemp("boxes") / "counter", COUNTER)


@pytest.fixture
def vbox(tmp_path: Path) -> VBox:
    return VBox(tmp_path)


def test_dry_run_makes_nothing_and_says_what_vagrant_looks_for(vbox: VBox, box: Path) -> None:
    out = vbox.ok("import", "-n", box)
    assert re.search(r'Suggested VM name "tiny"', out)
    assert re.search(r'Suggested VM settings file name ".+/machines/tiny/', out)
    assert re.findall(r"(\d+): Hard disk image: source image=(.+), target path=(.+),", out) == [
        ("9", "box-disk001.vmdk", f"{vbox.home}/machines/tiny/box-disk001.vmdk")
    ]
    assert vbox.ok("list", "vms") == ""


def test_import_puts_the_disk_where_the_caller_said(vbox: VBox, box: Path) -> None:
    target = vbox.home / "machines" / "mine_1" / "box-disk001.vmdk"
    done = vbox.run(
        "import", box, "--vsys", "0", "--vmname", "mine_1", "--vsys", "0", "--unit", "9", "--disk", target
    )
    assert done.status == 0
    assert "Successfully imported the appliance." in done.out
    assert done.err.startswith("0%...")
    assert done.err.endswith("100%\n")
    info = vbox.info("mine_1")
    assert info["SATA Controller-0-0"] == str(target)
    assert (info["memory"], info["cpus"], info["nictype1"]) == ("32", "2", "virtio")
    assert vbox.ok("list", "vms") == f'"mine_1" {{{info["UUID"]}}}\n'


def test_two_vms_of_one_box_share_one_base_and_not_their_writes(vbox: VBox, box: Path) -> None:
    for name in ("a", "b"):
        vbox.ok("import", box, "--vsys", "0", "--vmname", name)
    assert len(list((vbox.home / "bases").glob("*.qcow2"))) == 1
    subprocess.run(
        ["qemu-io", "-c", "write -P 7 65536 512", vbox.info("a")["SATA Controller-0-0"]],
        check=True,
        timeout=60,
        capture_output=True,
    )
    read = ["qemu-io", "-c", "read -P 7 65536 512"]
    same = subprocess.run(
        [*read, vbox.info("a")["SATA Controller-0-0"]], capture_output=True, text=True, timeout=60
    )
    other = subprocess.run(
        [*read, vbox.info("b")["SATA Controller-0-0"]], capture_output=True, text=True, timeout=60
    )
    assert "verification failed" not in same.stdout
    assert "verification failed" in other.stdout


def test_box_copied_elsewhere_is_not_converted_again(vbox: VBox, box: Path, tmp_path: Path) -> None:
    vbox.ok("import", box, "--vsys", "0", "--vmname", "a")
    base = next((vbox.home / "bases").glob("*.qcow2"))
    made = base.stat().st_ino
    shutil.copytree(box.parent, tmp_path / "copy")
    vbox.ok("import", tmp_path / "copy" / "box.ovf", "--vsys", "0", "--vmname", "b")
    assert base.stat().st_ino == made


def test_base_that_no_vm_uses_goes_when_a_newer_box_comes(vbox: VBox, box: Path, tmp_path: Path) -> None:
    newer = write_box(tmp_path / "newer", b"\xeb\xfe")
    bases = vbox.home / "bases"
    vbox.ok("import", box, "--vsys", "0", "--vmname", "a")
    (old,) = bases.glob("*.qcow2")
    os.utime(old, (0, 0))
    vbox.ok("import", newer, "--vsys", "0", "--vmname", "b")
    assert old.exists(), "a VM lies over it"
    for name in ("a", "b"):
        vbox.ok("unregistervm", name, "--delete")
    for base in bases.glob("*.qcow2"):
        os.utime(base, (0, 0))
    vbox.ok("import", write_box(tmp_path / "newest", b"\xf4"), "--vsys", "0", "--vmname", "c")
    assert len(list(bases.glob("*.qcow2"))) == 1


@pytest.mark.parametrize("href", ["../secret.vmdk", "/etc/passwd", "sub/disk.vmdk", ""])
def test_disk_outside_the_box_is_refused(vbox: VBox, box: Path, tmp_path: Path, href: str) -> None:
    evil = tmp_path / "evil.ovf"
    evil.write_text(box.read_text().replace("box-disk001.vmdk", href))
    assert "is not a file beside the OVF" in vbox.fails("import", evil)
    assert vbox.ok("list", "vms") == ""


def test_disk_that_only_describes_another_file_is_refused_and_nothing_is_left(
    vbox: VBox, box: Path, tmp_path: Path
) -> None:
    shutil.copytree(box.parent, tmp_path / "evil")
    (tmp_path / "evil" / "box-disk001.vmdk").write_text(
        '# Disk DescriptorFile\ncreateType="monolithicFlat"\nRW 8 FLAT "/etc/passwd" 0\n'
    )
    assert "not a stream-optimised VMDK" in vbox.fails("import", tmp_path / "evil" / "box.ovf")
    assert vbox.ok("list", "vms") == ""
    assert list((vbox.home / "machines").iterdir()) == []


def test_second_vm_of_one_name_is_refused(vbox: VBox, box: Path) -> None:
    vbox.ok("import", box, "--vsys", "0", "--vmname", "a")
    vbox.ok("import", box, "--vsys", "0", "--vmname", "b")
    assert "VERR_ALREADY_EXISTS" in vbox.fails("import", box, "--vsys", "0", "--vmname", "a")
    assert "VERR_ALREADY_EXISTS" in vbox.fails("modifyvm", "b", "--name", "a")


def test_unregister_with_delete_takes_attached_disks_and_spares_detached_ones(
    vbox: VBox, box: Path, tmp_path: Path
) -> None:
    vbox.ok("import", box, "--vsys", "0", "--vmname", "a")
    machine = vbox.machine("a")
    attach = ("storageattach", "a", "--storagectl", "SATA Controller", "--type", "hdd")
    for port, name in ((1, "gone.vdi"), (2, "kept.vdi")):
        vbox.ok("createmedium", "disk", "--filename", tmp_path / name, "--size", "8")
        vbox.ok(*attach, "--port", str(port), "--medium", tmp_path / name)
    vbox.ok("storageattach", "a", "--storagectl", "SATA Controller", "--port", "2", "--medium", "none")
    vbox.ok("unregistervm", "a", "--delete")
    assert vbox.ok("list", "vms") == ""
    assert not machine.exists()
    assert not (tmp_path / "gone.vdi").exists()
    assert (tmp_path / "kept.vdi").exists()
    assert "VBOX_E_OBJECT_NOT_FOUND" in vbox.fails("showvminfo", "a")


def test_disk_in_use_by_one_vm_is_not_attached_to_another(vbox: VBox, box: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        vbox.ok("import", box, "--vsys", "0", "--vmname", name)
    vbox.ok("createmedium", "disk", "--filename", tmp_path / "data.vdi", "--size", "8")
    attach = (
        "--storagectl",
        "SATA Controller",
        "--port",
        "1",
        "--type",
        "hdd",
        "--medium",
        tmp_path / "data.vdi",
    )
    vbox.ok("storageattach", "a", *attach)
    assert "VBOX_E_OBJECT_IN_USE" in vbox.fails("storageattach", "b", *attach)
    assert "VBOX_E_OBJECT_IN_USE" in vbox.fails("closemedium", "disk", tmp_path / "data.vdi")


def test_disk_grows_and_never_shrinks(vbox: VBox, tmp_path: Path) -> None:
    disk = tmp_path / "data.vdi"
    out = vbox.ok("createmedium", "disk", "--filename", disk, "--size", "8", "--format", "VDI")
    uuid = out.rpartition("UUID: ")[2].strip()
    vbox.ok("modifymedium", "disk", uuid, "--resize", "16")
    assert "16 MBytes" in vbox.ok("showmediuminfo", "disk", disk)
    assert "smaller size is not supported" in vbox.fails("modifymedium", "disk", disk, "--resize", "4")
    assert f"UUID:           {uuid}" in vbox.ok("list", "hdds")
    assert "VERR_ALREADY_EXISTS" in vbox.fails("createmedium", "disk", "--filename", disk, "--size", "8")
    vbox.ok("closemedium", "disk", disk, "--delete")
    assert not disk.exists()
    assert vbox.ok("list", "hdds") == ""


def test_snapshot_brings_the_disk_back(vbox: VBox, box: Path) -> None:
    vbox.ok("import", box, "--vsys", "0", "--vmname", "a")
    done = vbox.run("snapshot", "a", "list", "--machinereadable")
    assert done.status != 0
    assert "does not have any snapshots" in done.out
    disk = vbox.info("a")["SATA Controller-0-0"]

    def write(pattern: int) -> None:
        command = ["qemu-io", "-c", f"write -P {pattern} 65536 512", disk]
        subprocess.run(command, check=True, timeout=60, capture_output=True)

    write(1)
    vbox.ok("snapshot", "a", "take", "before")
    write(2)
    vbox.ok("snapshot", "a", "restore", "before")
    read = subprocess.run(
        ["qemu-io", "-c", "read -P 1 65536 512", disk], check=True, timeout=60, capture_output=True, text=True
    )
    assert "verification failed" not in read.stdout
    assert 'SnapshotName="before"' in vbox.ok("snapshot", "a", "list", "--machinereadable")
    vbox.ok("snapshot", "a", "delete", "before")
    assert vbox.run("snapshot", "a", "list").status != 0


def test_raw_image_converts_to_the_format_asked_for(vbox: VBox, tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(b"hello".ljust(1 << 20, b"\0"))
    for name, driver in (("VDI", "vdi"), ("VMDK", "vmdk")):
        target = tmp_path / f"disk.{driver}"
        vbox.ok("convertfromraw", tmp_path / "disk.raw", target, "--format", name)
        assert driver.upper() in vbox.ok("showmediuminfo", "disk", target)


def test_without_qemu_one_sentence_says_what_to_install(vbox: VBox, box: Path, tmp_path: Path) -> None:
    tools = tmp_path / "few tools"
    tools.mkdir()
    err = vbox.run("import", box, env={"PATH": str(tools)}).err
    assert "qemu-img is not installed; install QEMU:" in err
    assert vbox.ok("list", "vms") == ""


def test_question_loads_little_more_than_the_interpreter(vbox: VBox, box: Path) -> None:
    """Vagrant asks a hundred times in one `up`, and what a question costs is what it imports."""
    vbox.ok("import", box, "--vsys", "0", "--vmname", "a")
    root = str(Path(main.__file__).parent.parent)
    code = f"import sys; sys.path[:0] = [{root!r}]; from vboxqemu.main import main; main()"
    command = [sys.executable, *["-I", "-S", "-X", "importtime", "-c"], code]
    command += ["showvminfo", "a", "--machinereadable"]
    done = subprocess.run(command, env=vbox.env, check=True, timeout=60, capture_output=True, text=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "vboxqemu.main" in loaded
    slow = {"argparse", "asyncio", "dataclasses", "inspect", "logging", "pathlib", "subprocess", "typing"}
    assert not loaded & slow
