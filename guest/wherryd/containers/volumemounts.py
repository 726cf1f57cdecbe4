"""Volumes that are file systems of their own (`type=tmpfs`, `type=nfs`, a disk): mounted on the volume's
folder for the first container that starts with it, unmounted after the last, as dockerd does it.

A killed engine leaves the mounts to the containers that live on; the next one takes them over (`hold` again)
and unmounts the rest (`sweep`).
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from wherryd.errors import InvalidParameter, KernelFault, SystemFault
from wherryd.runtime import mounting, mountoptions
from wherryd.sys import mounts, paths

_log = logging.getLogger(__name__)
#: Their servers are named to the kernel by address (mount.nfs(8) and mount.cifs(8) look names up themselves).
_WITH_SERVER = frozenset({"nfs", "nfs4", "cifs", "smb3"})


class VolumeMounts:
    """Who uses which mounted volume. folder_of: a volume's name -> the folder that containers see."""

    def __init__(self, folder_of: Callable[[str], Path]) -> None:
        self._folder_of = folder_of
        self._holders: dict[str, set[str]] = {}
        self._lock = asyncio.Lock()

    async def hold(self, name: str, options: Mapping[str, str], holder: str) -> None:
        """Mounted from here until `release(holder)`. Raises InvalidParameter, SystemFault."""
        async with self._lock:
            folder = self._folder_of(name)
            if not is_mounted(folder):
                await asyncio.to_thread(_mount, name, folder, options)
            self._holders.setdefault(name, set()).add(holder)

    async def release(self, holder: str) -> None:
        """Unmounts what nobody else holds. May be called twice."""
        async with self._lock:
            for name in [name for name, holders in self._holders.items() if holder in holders]:
                self._holders[name].discard(holder)
                if not self._holders[name]:
                    del self._holders[name]
                    await asyncio.to_thread(unmount, self._folder_of(name))

    async def sweep(self, names: Iterable[str]) -> None:
        """Unmounts those that nobody holds: what a killed engine left."""
        async with self._lock:
            for name in names:
                if name not in self._holders:
                    await asyncio.to_thread(unmount, self._folder_of(name))


def is_mounted(folder: Path) -> bool:
    """By the kernel's list: a look at the folder itself may wait for a server that is gone."""
    listed = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    wanted = str(folder)
    return any(_unescaped(line.split(" ", 5)[4]) == wanted for line in listed.splitlines())


def _unescaped(path: str) -> str:
    r"""mountinfo's "\040" and the like. Source: proc_pid_mountinfo(5)."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path


def unmount(folder: Path) -> None:
    """Everything that is mounted there, also one over the other; what is in use ends with its last user."""
    while is_mounted(folder):
        try:
            mounts.umount2(str(folder), mounts.MNT_DETACH)
        except KernelFault as fault:
            if fault.errno != errno.EINVAL:  # somebody else was quicker
                raise
            return


def _mount(name: str, folder: Path, options: Mapping[str, str]) -> None:
    kind, device = options["type"], options["device"]
    words = [word for word in options.get("o", "").split(",") if word]
    if kind in _WITH_SERVER:
        words = [_by_address(name, word) for word in words]
    try:
        with (
            mounting.detached(mounting.new_filesystem(kind, device, mountoptions.parse(words))) as made,
            mounting.detached(paths.open_root(str(folder))) as target,
        ):
            mounts.move_mount(made, target, str(folder))
    except SystemFault as fault:
        hint = f" (hint: this kernel has no file system {kind})" if _is_unknown(fault) else ""
        raise SystemFault(
            f"failed to mount local volume: mount {device}:{folder}, type: {kind}, data: {','.join(words)}: "
            f"{fault}{hint}"
        ) from fault


def _is_unknown(fault: BaseException | None) -> bool:
    while fault is not None:
        if isinstance(fault, KernelFault):
            return fault.errno == errno.ENODEV
        fault = fault.__cause__
    return False


def _by_address(name: str, word: str) -> str:
    key, equals, value = word.partition("=")
    if key != "addr" or not equals:
        return word
    try:
        found = socket.getaddrinfo(value, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InvalidParameter(
            f"error resolving passed in network volume address {value} of the volume {name}: {error}"
        ) from error
    return f"addr={found[0][4][0]}"
