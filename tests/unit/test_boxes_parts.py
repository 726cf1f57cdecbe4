"""The box builder's parts that need neither root nor a mirror."""

import os
import re
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from boxes import base, build, initramfs, inputs, mirror, ovf, pack, recipe
from boxes.errors import BoxError

OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"
VBOX = "{http://www.virtualbox.org/ovf/machine}"

DOCUMENT = ovf.document(disk="box-disk1.vmdk", disk_bytes=8 << 30, name="wherry-1.2.3", seed="s")


def items() -> dict[str, ElementTree.Element]:
    """The hardware items by resource type."""
    found = {}
    for item in ElementTree.fromstring(DOCUMENT).iter(f"{OVF}Item"):  # noqa: S314 - our own text
        kind = item.find(f"{RASD}ResourceType")
        assert kind is not None
        assert kind.text is not None
        found[kind.text] = item
    return found


def text(item: ElementTree.Element, name: str) -> str | None:
    child = item.find(f"{RASD}{name}")
    return child.text if child is not None else None


def test_ovf_describes_the_hardware_that_the_machine_definition_counts_on() -> None:
    hardware = items()
    assert text(hardware["3"], "VirtualQuantity") == "2"
    assert text(hardware["4"], "VirtualQuantity") == "1024"
    assert text(hardware["20"], "ResourceSubType") == "AHCI"
    assert text(hardware["10"], "ResourceSubType") == "virtio"
    assert text(hardware["17"], "Parent") == text(hardware["20"], "InstanceID")


def test_ovf_items_keep_the_order_of_fields_that_the_schema_wants() -> None:
    for item in items().values():
        names = [child.tag for child in item]
        assert names == sorted(names)


def test_ovf_names_the_controller_and_ties_the_disk_to_it() -> None:
    root = ElementTree.fromstring(DOCUMENT)  # noqa: S314 - our own text
    controller = next(e for e in root.iter() if e.tag.endswith("StorageController"))
    assert controller.get("name") == "SATA Controller"
    assert int(controller.get("PortCount", "0")) >= 3, "system, data and seed disk"
    image = next(e for e in root.iter() if e.tag.endswith("Image"))
    listed = next(root.iter(f"{OVF}Disk"))
    assert image.get("uuid") == "{" + str(listed.get(f"{VBOX}uuid")) + "}"


def test_the_same_inputs_give_the_same_ovf_and_others_give_other_ids() -> None:
    again = ovf.document(disk="box-disk1.vmdk", disk_bytes=8 << 30, name="wherry-1.2.3", seed="s")
    other = ovf.document(disk="box-disk1.vmdk", disk_bytes=8 << 30, name="wherry-1.2.3", seed="t")
    assert again == DOCUMENT
    assert other != DOCUMENT


def test_box_holds_metadata_ovf_and_disk_and_is_the_same_each_time(tmp_path: Path) -> None:
    vmdk = tmp_path / "disk"
    vmdk.write_bytes(b"KDMV" * 100)
    for name in ("a.box", "b.box"):
        pack.box(vmdk, 1 << 30, tmp_path / name, version="1.2.3", seed="s")
    assert (tmp_path / "a.box").read_bytes() == (tmp_path / "b.box").read_bytes()
    with tarfile.open(tmp_path / "a.box") as archive:
        assert archive.getnames() == ["metadata.json", "box.ovf", pack.DISK]
        metadata = archive.extractfile("metadata.json")
        assert metadata is not None
        assert metadata.read() == b'{"provider": "virtualbox", "architecture": "amd64"}\n'


def tree(root: Path) -> Path:
    (root / "boxes/__pycache__").mkdir(parents=True)
    (root / "boxes/recipe.py").write_text("one\n")
    (root / "boxes/init").write_text("#!/bin/sh\n")
    (root / "boxes/__pycache__/recipe.pyc").write_text("code\n")
    (root / "boxes/README.md").write_text("words\n")
    return root


def test_hash_of_inputs_stays_when_byte_code_and_documentation_change(tmp_path: Path) -> None:
    root = tree(tmp_path)
    before = inputs.digest(["boxes"], root)
    (root / "boxes/__pycache__/recipe.pyc").write_text("other code\n")
    (root / "boxes/README.md").write_text("other words\n")
    assert inputs.digest(["boxes"], root) == before


@pytest.mark.parametrize("change", ["content", "mode", "name"])
def test_hash_of_inputs_changes_with_a_files_content_mode_and_name(tmp_path: Path, change: str) -> None:
    root = tree(tmp_path)
    before = inputs.digest(["boxes"], root)
    file = root / "boxes/init"
    if change == "content":
        file.write_text("#!/bin/sh\ntrue\n")
    elif change == "mode":
        file.chmod(0o755)
    else:
        file.rename(root / "boxes/start")
    assert inputs.digest(["boxes"], root) != before


def test_the_hash_of_the_base_covers_what_shapes_it() -> None:
    assert {file.name for file in inputs.files(inputs.BASE)} >= {"base.py", "base-hook.sh"}
    assert inputs.digest(inputs.BASE, values=base.VALUES) != inputs.digest(
        inputs.BASE, values=base.VALUES[1:]
    )
    assert {file.name for file in inputs.files(inputs.BOX)} >= {
        "init",
        "data-disk",
        "wherryd.service",
        "rawstream.py",
    }


URIS = """\
'http://other.example/apt/dists/bookworm/InRelease' other 0
'http://mirror.example/debian/dists/bookworm/InRelease' x 0
'http://mirror.example/debian/dists/bookworm-updates/InRelease' x 0
'http://mirror.example/debian-security/dists/bookworm-security/InRelease' x 0
'http://mirror.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' x 0
"""


def test_mirror_is_the_archive_that_has_the_point_updates() -> None:
    found = mirror.parse(URIS.splitlines(), "bookworm")
    assert found == mirror.Mirror("http://mirror.example/debian", "http://mirror.example/debian-security")
    assert found.sources("trixie") == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/debian-security trixie-security main",
    ]


def test_no_mirror_is_found_where_apt_knows_only_others() -> None:
    assert mirror.parse(["'http://other.example/apt/dists/bookworm/InRelease' other 0"], "bookworm") is None


DEPENDENCIES = """\
kernel/ata/ahci.ko: kernel/ata/libahci.ko kernel/ata/libata.ko kernel/scsi/scsi_mod.ko
kernel/ata/libahci.ko: kernel/ata/libata.ko kernel/scsi/scsi_mod.ko
kernel/ata/libata.ko: kernel/scsi/scsi_mod.ko
kernel/scsi/scsi_mod.ko:
kernel/scsi/sd_mod.ko: kernel/scsi/scsi_mod.ko
"""


def test_drivers_load_after_what_they_depend_on_and_once() -> None:
    assert [Path(path).stem for path in initramfs.load_order(DEPENDENCIES, ["ahci", "sd_mod"])] == [
        "scsi_mod",
        "libata",
        "libahci",
        "ahci",
        "sd_mod",
    ]


def test_a_driver_that_the_kernel_lacks_is_named() -> None:
    with pytest.raises(BoxError, match="no module e1000"):
        initramfs.load_order(DEPENDENCIES, ["e1000"])


def test_disks_are_probed_after_their_controllers() -> None:
    order = list(recipe.INITRAMFS_MODULES)
    assert order.index("sd_mod") > order.index("ahci")


def test_kernel_writes_its_last_console_to_the_serial_port() -> None:
    consoles = re.findall(r"console=(\S+)", recipe.KERNEL_COMMAND_LINE)
    assert consoles[-1].startswith("ttyS0")


def test_every_enabled_unit_exists_in_our_files_or_is_debians() -> None:
    ours = {path.name for path in (inputs.HERE / "rootfs/etc/systemd/system").iterdir()}
    assert set(recipe.ENABLED) - ours == {"acpid.service"}
    assert not set(recipe.ENABLED) & set(recipe.MASKED)
    assert not ours & set(recipe.MASKED)


def test_prune_keeps_the_newest_and_the_one_in_use(tmp_path: Path) -> None:
    entries = []
    for number in range(5):
        entry = tmp_path / f"{number:032x}"
        entry.mkdir()
        os.utime(entry, (number, number))
        entries.append(entry)
    (tmp_path / "base").mkdir()
    build.prune(tmp_path, keep=entries[0])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"base", entries[0].name, *(entry.name for entry in entries[-build.KEEP :])}


def test_a_box_in_the_cache_is_found_without_building(tmp_path: Path) -> None:
    inputs_hash = inputs.digest(inputs.BOX)
    box = tmp_path / inputs_hash / "wherry.box"
    box.parent.mkdir()
    box.write_bytes(b"a box")
    assert build.build(tmp_path, fresh=False) == box
    pointer = next(tmp_path.glob("*-amd64.json")).read_text()
    assert str(box) in pointer
    assert inputs_hash in pointer
