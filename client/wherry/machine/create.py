"""`machine init`: check everything, download, then make; a failure leaves nothing half-made."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from wherry.config import Config
from wherry.errors import MachineProblem, UsageProblem
from wherry.host import make_private_folder
from wherry.machine import box, hypervisor, keys, record, seed, sshport, store
from wherry.machine.guard import held
from wherry.machine.record import MachineRecord
from wherry.machine.serial import tail
from wherry.machine.store import Machine
from wherry.paths import MachinePaths, Paths
from wherrywire.version import __version__

#: The longest path a unix socket may have, on macOS (sockaddr_un there holds 104 bytes with the NUL).
SOCKET_PATH_BYTES = 103
#: How long a second `init` waits for the first: Vagrant adds boxes and imports one at a time.
LOCK_SECONDS = 600.0

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """What the command line asked for; None means the config's or built-in default."""

    name: str
    cpus: int | None = None
    memory_mib: int | None = None
    disk_gib: int | None = None
    box: str | None = None


def create(places: Paths, config: Config, options: InitOptions, step: Step) -> Machine:
    """Makes the machine, stopped. `step` is told in a few words what happens next.

    Raises UsageProblem, MissingTool or MachineProblem; then nothing of the machine is left, except a
    data disk that was there before.
    """
    name = record.check_name(options.name)
    files = places.machine(name)
    _refuse_duplicate(files, name)
    socket_bytes = len(str(files.control).encode())
    if socket_bytes > SOCKET_PATH_BYTES:
        raise UsageProblem(
            f"{files.socket} is too long for a socket ({socket_bytes} bytes, {SOCKET_PATH_BYTES} at most); "
            "choose a shorter name or set WHERRY_HOME to a shorter folder"
        )
    make_private_folder(places.data)
    kind = hypervisor.choose(config.machine.hypervisor)
    choice = hypervisor.open_hypervisor(kind, places)
    step("checking tools")
    hypervisor.check(choice)
    step("checking the box")
    found_box = box.find(options.box, config.machine.box, places)
    defaults = config.machine
    new = MachineRecord(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        version=__version__,
        hypervisor=kind,
        cpus=options.cpus or defaults.cpus,
        memory_mib=options.memory_mib or defaults.memory_mib,
        disk_gib=options.disk_gib or defaults.disk_gib,
        ssh_port=sshport.pick(_reserved_ports(places)),
        box=str(found_box.path),
        box_sha256=found_box.sha256,
    )
    provider = store.open_provider(places, new)
    provider.check()
    make_private_folder(places.machines)
    with held(files.lock, wait_seconds=0, busy=f'machine "{name}" is in use by another command'):
        _refuse_duplicate(files, name)
        try:
            make_private_folder(files.folder)
            return _make(places, new, files, step)
        except BaseException as exc:
            _roll_back(files, exc)
            raise


def _make(places: Paths, new: MachineRecord, files: MachinePaths, step: Step) -> Machine:
    step("making keys")
    public_key = keys.make_key_pair(files.private_key, files.public_key, comment=f"wherry-{new.name}")
    seed.write(files.seed, seed.seed_document(new.name), public_key)
    provider = store.open_provider(places, new)
    step("making the VM")
    make_private_folder(places.vagrant_home)
    busy = "another `wherry machine init` is still at work; try again when it is done"
    with held(places.vagrant_home / "wherry.lock", wait_seconds=LOCK_SECONDS, busy=busy):
        provider.create()
    # Written last: a folder without it is no machine, so a killed init leaves none.
    record.save(new, files.record)
    return Machine(new, files, provider)


def _refuse_duplicate(files: MachinePaths, name: str) -> None:
    if files.record.exists():
        option = "" if name == "default" else f" --name {name}"
        raise UsageProblem(
            f'machine "{name}" exists already; start it with `wherry machine start{option}`, '
            f"or remove it first with `wherry machine rm{option}`"
        )


def _roll_back(files: MachinePaths, cause: BaseException) -> None:
    """Removes the folder but for a data disk. What cannot be removed is noted on the first error.

    Vagrant's log is what explains the failure, so its end goes into the error before the file goes.
    """
    if isinstance(cause, MachineProblem) and not cause.log_tail:
        cause.log_tail = tail(files.vagrant_log)
    try:
        clear_folder(files, keep_data=True)
    except OSError as second:
        cause.add_note(f"and {files.folder} could not be removed: {second}")


def clear_folder(files: MachinePaths, *, keep_data: bool) -> None:
    """Removes the machine's files; with keep_data the folder stays if it holds a data disk."""
    keep = {files.data_disk} if keep_data and files.data_disk.exists() else set()
    if not keep:
        if files.folder.exists():
            shutil.rmtree(files.folder)
        return
    # The record goes first: from then on the folder is a kept disk, not a machine.
    files.record.unlink(missing_ok=True)
    for path in files.folder.iterdir():
        if path in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _reserved_ports(places: Paths) -> frozenset[int]:
    """SSH ports of the machines there are, running or not."""
    ports = set()
    for name in store.names(places):
        ports.add(record.load(places.machine(name).record).ssh_port)
    return frozenset(ports)
