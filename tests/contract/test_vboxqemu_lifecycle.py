"""VMs on a real QEMU: start, stop, kill, save, resume. The guest is a boot sector, so a VM is up in half a
second."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from vboxqemu_rig import COUNTER, SHUTDOWN, VBox, until, write_box

from wherry.machine import seed

pytestmark = pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_box(tmp_path_factory.mktemp("boxes") / "counter", COUNTER)


@pytest.fixture
def vbox(tmp_path: Path) -> Iterator[VBox]:
    vbox = VBox(tmp_path)
    yield vbox
    vbox.close()


def counted(serial: Path) -> str:
    return serial.read_text() if serial.exists() else ""


def is_count(text: str) -> bool:
    """U, then the digits in their order without a gap or a repetition."""
    return text.startswith("U") and all(digit == str(at % 10) for at, digit in enumerate(text[1:]))


def test_started_vm_runs_its_guest_and_writes_its_serial_port_to_the_file(vbox: VBox, counter: Path) -> None:
    serial = vbox.make(counter, "a")
    assert vbox.state("a") == "poweroff"
    out = vbox.ok("startvm", "a", "--type", "headless")
    assert 'VM "a" has been successfully started.' in out
    assert vbox.state("a") == "running"
    assert '"a"' in vbox.ok("list", "runningvms")
    until(lambda: len(counted(serial)) > 3)
    assert is_count(counted(serial))


def test_poweroff_leaves_it_powered_off_and_the_next_start_empties_the_serial_file(
    vbox: VBox, counter: Path
) -> None:
    serial = vbox.make(counter, "a")
    vbox.ok("startvm", "a")
    until(lambda: len(counted(serial)) > 5)
    vbox.ok("controlvm", "a", "poweroff")
    assert vbox.state("a") == "poweroff"
    assert vbox.ok("list", "runningvms") == ""
    vbox.ok("startvm", "a")
    until(lambda: counted(serial).startswith("U"))
    assert is_count(counted(serial))


def test_guest_that_switches_itself_off_is_powered_off_not_aborted(vbox: VBox, tmp_path: Path) -> None:
    serial = vbox.make(write_box(tmp_path / "shutdown", SHUTDOWN), "a")
    vbox.ok("startvm", "a")
    until(lambda: counted(serial) == "D")
    until(lambda: vbox.state("a") != "running")
    assert vbox.state("a") == "poweroff"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_qemu_is_aborted_and_starts_again(vbox: VBox, counter: Path, how: signal.Signals) -> None:
    serial = vbox.make(counter, "a")
    vbox.ok("startvm", "a")
    os.kill(vbox.qemu_pid("a"), how)
    until(lambda: vbox.state("a") != "running")
    assert vbox.state("a") == "aborted"
    vbox.ok("startvm", "a")
    until(lambda: len(counted(serial)) > 3)
    assert vbox.state("a") == "running"


def test_stale_pid_of_another_process_is_not_taken_for_the_vm(vbox: VBox, counter: Path) -> None:
    vbox.make(counter, "a")
    vbox.ok("startvm", "a")
    os.kill(vbox.qemu_pid("a"), signal.SIGKILL)
    until(lambda: vbox.state("a") == "aborted")
    (vbox.machine("a") / "qemu.pid").write_text(str(os.getpid()))
    assert vbox.state("a") == "aborted"
    assert "not currently running" in vbox.fails("controlvm", "a", "poweroff")


def test_qemu_that_lost_its_supervisor_still_runs_and_can_be_stopped(vbox: VBox, counter: Path) -> None:
    vbox.make(counter, "a")
    vbox.ok("startvm", "a")
    parent = Path(f"/proc/{vbox.qemu_pid('a')}/stat")
    if not parent.exists():
        pytest.skip("needs /proc")
    os.kill(int(parent.read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
    assert vbox.state("a") == "running"
    vbox.ok("controlvm", "a", "poweroff")
    assert vbox.state("a") == "poweroff"


def test_saved_vm_goes_on_where_it_was_and_appends_to_the_serial_file(vbox: VBox, counter: Path) -> None:
    serial = vbox.make(counter, "a")
    vbox.ok("startvm", "a")
    until(lambda: len(counted(serial)) > 5)
    vbox.ok("controlvm", "a", "savestate")
    assert vbox.state("a") == "saved"
    before = counted(serial)
    vbox.ok("startvm", "a")
    assert vbox.state("a") == "running"
    until(lambda: len(counted(serial)) > len(before) + 3)
    assert counted(serial).startswith(before)
    assert is_count(counted(serial))
    assert not (vbox.machine("a") / "saved.json").exists()
    assert not (vbox.machine("a") / "state.bin").exists()


def test_saved_vm_saves_a_second_time(vbox: VBox, counter: Path) -> None:
    serial = vbox.make(counter, "a")
    vbox.ok("startvm", "a")
    for _ in range(2):
        before = len(counted(serial))
        until(lambda before=before: len(counted(serial)) > before + 2)  # type: ignore[misc]
        vbox.ok("controlvm", "a", "savestate")
        assert vbox.state("a") == "saved"
        vbox.ok("startvm", "a")
    until(lambda: len(counted(serial)) > 8)
    assert is_count(counted(serial))


def test_saved_vm_that_cannot_start_stays_saved(vbox: VBox, counter: Path) -> None:
    vbox.make(counter, "a")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    vbox.ok("modifyvm", "a", "--natpf1", f"ssh,tcp,127.0.0.1,{port},,22")
    vbox.ok("startvm", "a")
    vbox.ok("controlvm", "a", "savestate")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert str(port) in vbox.fails("startvm", "a")
        assert vbox.state("a") == "saved"
    vbox.ok("startvm", "a")
    assert vbox.state("a") == "running"


def test_damaged_saved_state_is_reported_and_can_be_discarded(vbox: VBox, counter: Path) -> None:
    vbox.make(counter, "a")
    vbox.ok("startvm", "a")
    vbox.ok("controlvm", "a", "savestate")
    state = vbox.machine("a") / "state.bin"
    state.write_bytes(state.read_bytes()[:1000])
    assert "error" in vbox.fails("startvm", "a")
    assert vbox.state("a") == "saved"
    vbox.ok("discardstate", "a")
    assert vbox.state("a") == "poweroff"
    vbox.ok("startvm", "a")


def test_hardware_of_a_saved_vm_cannot_be_changed(vbox: VBox, counter: Path) -> None:
    vbox.make(counter, "a")
    vbox.ok("startvm", "a")
    vbox.ok("controlvm", "a", "savestate")
    assert "VBOX_E_INVALID_VM_STATE" in vbox.fails("modifyvm", "a", "--memory", "64")
    assert "VBOX_E_INVALID_VM_STATE" in vbox.fails(
        "storageattach", "a", "--storagectl", "SATA Controller", "--port", "0", "--medium", "none"
    )


def test_paused_guest_stands_still_until_it_is_resumed(vbox: VBox, counter: Path) -> None:
    serial = vbox.make(counter, "a")
    vbox.ok("startvm", "a")
    until(lambda: len(counted(serial)) > 3)
    vbox.ok("controlvm", "a", "pause")
    assert vbox.state("a") == "paused"
    before = counted(serial)
    assert vbox.state("a") == "paused"
    assert counted(serial) == before
    vbox.ok("controlvm", "a", "resume")
    until(lambda: len(counted(serial)) > len(before) + 2)
    assert vbox.state("a") == "running"
    assert is_count(counted(serial))


def test_taken_host_port_fails_the_start_and_leaves_the_vm_powered_off(vbox: VBox, counter: Path) -> None:
    vbox.make(counter, "a")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        vbox.ok("modifyvm", "a", "--natpf1", f"ssh,tcp,127.0.0.1,{port},,22")
        err = vbox.fails("startvm", "a")
        assert "VBoxManage: error: QEMU did not start" in err
        assert str(port) in err
        assert vbox.state("a") == "poweroff"


def test_forward_added_to_a_running_vm_listens_and_is_kept(vbox: VBox, counter: Path) -> None:
    vbox.make(counter, "a")
    vbox.ok("startvm", "a")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    vbox.ok("controlvm", "a", "natpf1", f"web,tcp,,{port},,80")
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    assert vbox.info("a")["Forwarding(0)"] == f"web,tcp,,{port},,80"
    vbox.ok("controlvm", "a", "natpf1", "delete", "web")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert "Forwarding(0)" not in vbox.info("a")


def test_running_vm_is_neither_changed_nor_started_nor_deleted(vbox: VBox, counter: Path) -> None:
    vbox.make(counter, "a")
    vbox.ok("startvm", "a")
    for words in (("modifyvm", "a", "--memory", "64"), ("startvm", "a"), ("unregistervm", "a", "--delete")):
        assert "VBOX_E_INVALID_OBJECT_STATE" in vbox.fails(*words)
    assert vbox.state("a") == "running"


def test_disks_answer_on_the_ports_they_were_attached_to(vbox: VBox, counter: Path, tmp_path: Path) -> None:
    vbox.make(counter, "a")
    data = tmp_path / "data, two.vdi"
    vbox.ok("createmedium", "disk", "--filename", data, "--size", "64", "--format", "VDI")
    attach = ("storageattach", "a", "--storagectl", "SATA Controller", "--device", "0", "--type", "hdd")
    vbox.ok(*attach, "--port", "1", "--medium", data)
    seed_disk = tmp_path / "seed.vmdk"
    seed.write(seed_disk, seed.seed_document("a"), "ssh-ed25519 AAAA")
    vbox.ok(*attach, "--port", "2", "--medium", seed_disk)
    vbox.ok("startvm", "a")
    vbox.ok("controlvm", "a", "savestate")  # fails where a disk's driver blocks it
    vbox.ok("startvm", "a")
    info = vbox.info("a")
    assert info["SATA Controller-1-0"] == str(data)
    assert info["SATA Controller-2-0"] == str(seed_disk)


def test_concurrent_changes_of_one_vm_are_all_kept(vbox: VBox, counter: Path) -> None:
    vbox.make(counter, "a")
    children = [
        subprocess.Popen(
            [vbox.program, "modifyvm", "a", "--natpf1", f"r{n},tcp,127.0.0.1,{30000 + n},,22"], env=vbox.env
        )
        for n in range(8)
    ]
    assert [child.wait(60) for child in children] == [0] * 8
    assert sum(key.startswith("Forwarding") for key in vbox.info("a")) == 8


def test_start_that_was_killed_while_restoring_can_be_resumed_and_never_restores_twice(
    vbox: VBox, counter: Path
) -> None:
    serial = vbox.make(counter, "a")
    vbox.ok("startvm", "a")
    until(lambda: len(counted(serial)) > 3)
    vbox.ok("controlvm", "a", "pause")
    machine = vbox.machine("a")
    run = machine / "run.json"
    run.write_text(run.read_text().replace('"paused"', '"restoring"'))
    (machine / "saved.json").write_text('{"machine": "pc", "accel": "tcg", "cpu": "max", "at": ""}')
    assert vbox.state("a") == "paused"
    vbox.ok("controlvm", "a", "resume")
    assert vbox.state("a") == "running"
    vbox.ok("controlvm", "a", "poweroff")
    assert vbox.state("a") == "poweroff"
