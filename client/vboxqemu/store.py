"""VMs on disk: find, load, save, make. Readers take no lock; who changes a VM holds `locked(folder)`."""

from __future__ import annotations

import os

from vboxqemu import files, paths
from vboxqemu.errors import FileProblem, ObjectNotFound, ObjectState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from vboxqemu.schema import Controller, Nic, Uart, Vm

SCHEMA = 1
#: VirtualBox has eight network adapters and four serial ports per VM.
NICS = 8
UARTS = 4


def record(folder: str) -> str:
    return os.path.join(folder, "vm.json")


def load(folder: str) -> Vm | None:
    """The VM in a folder, or None when there is none (any more). Raises FileProblem when its record is
    damaged."""
    try:
        vm: Vm | None = files.read_json(record(folder))
    except ValueError as exc:
        raise FileProblem(f"The settings file '{record(folder)}' is damaged: {exc}") from exc
    if vm is not None and vm["schema"] > SCHEMA:
        raise FileProblem(
            f"The settings file '{record(folder)}' was written by a newer version; update this one"
        )
    return vm


def save(folder: str, vm: Vm) -> None:
    files.write_json(record(folder), vm)


def walk() -> Iterator[tuple[str, Vm]]:
    """All VMs with their folders, by folder name."""
    try:
        names = sorted(os.listdir(paths.machines()))
    except FileNotFoundError:
        return
    for name in names:
        folder = os.path.join(paths.machines(), name)
        try:
            vm = load(folder)
        except NotADirectoryError:
            continue
        if vm is not None:
            yield folder, vm


def find(name_or_uuid: str) -> tuple[str, Vm]:
    """The VM of that name or UUID (with or without braces). Raises ObjectNotFound."""
    wanted = name_or_uuid.strip("{}").lower()
    for folder, vm in walk():
        if vm["uuid"] == wanted or vm["name"] == name_or_uuid:
            return folder, vm
    if is_uuid(wanted):
        raise ObjectNotFound(f"Could not find a registered machine with UUID {{{wanted}}}")
    raise ObjectNotFound(f"Could not find a registered machine named '{name_or_uuid}'")


def is_uuid(text: str) -> bool:
    groups = text.split("-")
    return [len(group) for group in groups] == [8, 4, 4, 4, 12] and all(
        digit in "0123456789abcdef" for group in groups for digit in group.lower()
    )


def locked(folder: str, name: str, *, wait_s: float = 60.0) -> files.Lock:
    """`with locked(folder, vm["name"]):` keeps other changes of this VM out."""
    return _VmLock(folder, name, wait_s=wait_s)


class _VmLock(files.Lock):
    def __init__(self, folder: str, name: str, *, wait_s: float) -> None:
        super().__init__(os.path.join(folder, "lock"), wait_s=wait_s)
        self._name = name

    def __enter__(self) -> None:
        try:
            super().__enter__()
        except TimeoutError:
            raise ObjectState(
                f"The machine '{self._name}' is already locked for a session (or being unlocked); "
                "another VBoxManage is working on it, try again when it is done"
            ) from None


def new_uuid() -> str:
    """A random UUID, version 4 (RFC 9562). `import uuid` would cost more than a whole call may."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def new_mac() -> str:
    """A random address in VirtualBox's range 08:00:27."""
    return "080027" + os.urandom(3).hex().upper()


def now() -> str:
    """The time as VBoxManage prints state changes: UTC, nanoseconds, no zone."""
    import time

    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}"


def new_vm(name: str, os_type: str) -> Vm:
    """A VM as `createvm` makes it: one NAT adapter, no disks."""
    nics: list[Nic] = [
        {
            "kind": "nat" if index == 0 else "none",
            "model": "82540EM",
            "mac": new_mac(),
            "connected": index == 0,
            "forwards": [],
        }
        for index in range(NICS)
    ]
    uarts: list[Uart] = [{"io_base": 0, "irq": 0, "mode": "disconnected", "target": ""} for _ in range(UARTS)]
    controllers: list[Controller] = []
    return {
        "schema": SCHEMA,
        "uuid": new_uuid(),
        "name": name,
        "os_type": os_type,
        "cpus": 1,
        "memory_mib": 128,
        "vram_mib": 8,
        "description": "",
        "options": {},
        "nics": nics,
        "controllers": controllers,
        "uarts": uarts,
        "extra": {},
        "properties": {},
        "snapshots": [],
        "current_snapshot": "",
        "changed_at": now(),
    }


def create(folder: str, vm: Vm) -> None:
    """Registers a new VM in a new folder. Raises FileProblem (VERR_ALREADY_EXISTS) when name or folder is
    taken."""
    with files.Lock(os.path.join(paths.home(), "machines.lock")):
        check_name_free(vm)
        if os.path.exists(record(folder)):
            raise FileProblem(
                f"Machine settings file '{record(folder)}' already exists (VERR_ALREADY_EXISTS)"
            )
        os.makedirs(folder, exist_ok=True)
        os.makedirs(os.path.join(folder, "Logs"), exist_ok=True)
        save(folder, vm)


def check_name_free(vm: Vm) -> None:
    """Raises FileProblem when another VM has this one's name. Vagrant looks for VERR_ALREADY_EXISTS."""
    for _, other in walk():
        if other["name"] == vm["name"] and other["uuid"] != vm["uuid"]:
            raise FileProblem(
                f"A machine named '{vm['name']}' exists already (VERR_ALREADY_EXISTS); choose another"
            )


def folder_for(name: str) -> str:
    """The folder a VM of that name gets: the name without what a file system may refuse."""
    safe = "".join("_" if char in '<>:"/\\|?*' or char < " " else char for char in name).strip(". ")
    return os.path.join(paths.machines(), safe or "unnamed")


def touch(folder: str) -> None:
    """Notes that the VM's state changed now. The caller holds the VM's lock."""
    vm = load(folder)
    if vm is not None:
        vm["changed_at"] = now()
        save(folder, vm)
