"""The contract of `wherry.machine.provider`, kept by a provider without a hypervisor and by the real one.

The real one is VirtualBoxProvider with Vagrant and whatever answers to VBoxManage here; it boots a VM.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from wherry.config import Hypervisor
from wherry.errors import MachineProblem
from wherry.machine import box, hypervisor, keys, seed, serial, sshport, store
from wherry.machine.provider import Capabilities, Provider, SshEndpoint
from wherry.machine.record import MachineRecord
from wherry.machine.state import MachineState
from wherry.paths import MachinePaths, Paths, paths
from wherrywire.serialline import Booted, Ready
from wherrywire.version import __version__

BOOT_SECONDS = 480.0  # one emulated CPU on a busy host; a quiet one needs a twentieth


class FakeProvider:
    """The smallest thing that keeps the contract; says on the serial port what a guest would."""

    capabilities = Capabilities(save=True, emulated=False)

    def __init__(self, record: MachineRecord, files: MachinePaths) -> None:
        self._record = record
        self._files = files
        self._now = MachineState.ABSENT
        self.log = files.vagrant_log

    def check(self) -> None:
        pass

    def create(self) -> None:
        if self._now is not MachineState.ABSENT:
            raise MachineProblem("exists; remove it first")
        self._files.data_disk.touch()
        self._now = MachineState.STOPPED

    def start(self) -> None:
        if self._now is MachineState.ABSENT:
            raise MachineProblem("there is no VM; make it first")
        if self._now in (MachineState.STOPPED, MachineState.ABORTED):
            self._files.serial_log.write_text(
                'wherry: booted\nwherry: ready {"version":"0","host_key":"SHA256:x"}\n'
            )
        self._now = MachineState.RUNNING

    def stop(self, *, grace_seconds: float) -> bool:
        was_on = self._now.is_on
        if was_on:
            self._now = MachineState.STOPPED
        return was_on and grace_seconds == 0

    def save(self) -> None:
        if self._now.is_on:
            self._now = MachineState.SAVED

    def delete(self, *, keep_data: bool) -> None:
        self._now = MachineState.ABSENT
        if not keep_data:
            self._files.data_disk.unlink(missing_ok=True)

    def state(self) -> MachineState:
        return self._now

    def ssh_endpoint(self) -> SshEndpoint:
        return SshEndpoint("127.0.0.1", self._record.ssh_port)


@dataclass
class Subject:
    """A provider that has made nothing yet, and a second one that shares no memory with the first."""

    provider: Provider
    another: Callable[[], Provider]
    files: MachinePaths


def _record(found: box.Box) -> MachineRecord:
    return MachineRecord(
        name="contract",
        created="2026-01-01T00:00:00Z",
        version=__version__,
        hypervisor=Hypervisor.VBOXQEMU,
        cpus=1,
        memory_mib=1024,
        disk_gib=2,
        ssh_port=sshport.pick(),
        box=str(found.path),
        box_sha256=found.sha256,
    )


def _real(places: Paths) -> Subject:
    record = _record(box.find(None, None, paths()))
    files = places.machine(record.name)
    files.folder.mkdir(parents=True)
    line = keys.make_key_pair(files.private_key, files.public_key, comment="contract")
    seed.write(files.seed, seed.seed_document(record.name), line)
    hypervisor.open_hypervisor(record.hypervisor, places)
    return Subject(store.open_provider(places, record), lambda: store.open_provider(places, record), files)


@pytest.fixture(scope="module", params=["fake", pytest.param("real", marks=pytest.mark.vm)])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    root = tmp_path_factory.mktemp("p")
    if request.param == "fake":
        files = MachinePaths(folder=root / "contract", socket=root / "s")
        files.folder.mkdir()
        provider = FakeProvider(_record(box.Box(Path("/box"), "ab" * 32)), files)
        yield Subject(provider, lambda: provider, files)
        return
    places = Paths(config=root, cache=root / "cache", data=root, runtime=root / "run")
    found = _real(places)
    try:
        yield found
    finally:
        found.provider.delete(keep_data=False)


def _wait_ready(files: MachinePaths) -> list[Booted | Ready]:
    reader = serial.SerialReader(files.serial_log)
    seen: list[Booted | Ready] = []
    deadline = time.monotonic() + BOOT_SECONDS
    while not any(isinstance(event, Ready) for event in seen):
        assert time.monotonic() < deadline, serial.tail(files.serial_log)
        assert not reader.panic, serial.tail(files.serial_log)
        seen += reader.poll()
        time.sleep(0.1)
    return seen


# In this order: a machine's life. Each step leaves the state that the next begins with.


def test_01_before_creation_the_vm_is_absent_and_cannot_start(subject: Subject) -> None:
    subject.provider.check()
    assert subject.provider.state() is MachineState.ABSENT
    with pytest.raises(MachineProblem):
        subject.provider.start()
    subject.provider.delete(keep_data=True)  # nothing to delete is a success


def test_02_create_leaves_it_stopped_with_a_data_disk(subject: Subject) -> None:
    subject.provider.create()
    assert subject.provider.state() is MachineState.STOPPED
    assert subject.files.data_disk.exists()


def test_03_a_second_provider_sees_the_same_state(subject: Subject) -> None:
    assert subject.another().state() is MachineState.STOPPED


def test_04_stopping_and_saving_what_is_off_are_successes(subject: Subject) -> None:
    assert subject.provider.stop(grace_seconds=5) is False
    subject.provider.save()
    assert subject.provider.state() is MachineState.STOPPED


def test_05_start_boots_and_the_guest_announces_itself(subject: Subject) -> None:
    subject.provider.start()
    assert subject.provider.state() is MachineState.RUNNING
    seen = _wait_ready(subject.files)
    assert isinstance(seen[0], Booted)


def test_06_starting_again_is_a_success(subject: Subject) -> None:
    subject.provider.start()
    assert subject.provider.state() is MachineState.RUNNING


def test_07_the_ssh_endpoint_is_on_loopback(subject: Subject) -> None:
    endpoint = subject.provider.ssh_endpoint()
    assert endpoint.host == "127.0.0.1"
    assert endpoint == subject.another().ssh_endpoint()


def test_08_save_and_start_resume_without_a_boot(subject: Subject) -> None:
    subject.provider.save()
    assert subject.provider.state() is MachineState.SAVED
    subject.provider.save()
    subject.provider.start()
    assert subject.provider.state() is MachineState.RUNNING


def test_09_stop_with_grace_ends_cleanly_and_without_force(subject: Subject) -> None:
    assert subject.provider.stop(grace_seconds=120) is False
    assert subject.provider.state() is MachineState.STOPPED


def test_10_power_can_be_cut_at_once_and_start_still_works(subject: Subject) -> None:
    subject.provider.start()
    assert subject.provider.stop(grace_seconds=0) is True
    assert not subject.provider.state().is_on
    subject.provider.start()
    assert subject.provider.state() is MachineState.RUNNING


def test_11_delete_takes_a_running_vm_and_keeps_the_data(subject: Subject) -> None:
    subject.provider.delete(keep_data=True)
    assert subject.provider.state() is MachineState.ABSENT
    assert subject.files.data_disk.exists()


def test_12_a_new_vm_takes_the_kept_data_disk(subject: Subject) -> None:
    before = subject.files.data_disk.stat().st_ino
    subject.provider.create()
    assert subject.files.data_disk.stat().st_ino == before


def test_13_delete_takes_a_saved_vm_and_keeps_the_data(subject: Subject) -> None:
    subject.provider.start()
    subject.provider.save()
    assert subject.provider.state() is MachineState.SAVED
    subject.provider.delete(keep_data=True)
    assert subject.provider.state() is MachineState.ABSENT
    assert subject.files.data_disk.exists()
    subject.provider.create()


def test_14_delete_without_keep_data_takes_all(subject: Subject) -> None:
    subject.provider.delete(keep_data=False)
    assert subject.provider.state() is MachineState.ABSENT
    assert not subject.files.data_disk.exists()
    subject.provider.delete(keep_data=False)
