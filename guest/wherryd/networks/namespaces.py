"""Network namespaces that live by a file, not by a process.

    <exec root>/netns/<12 hex digits>     a bind mount of the namespace; the digits begin the sandbox's id
    <exec root>/userns/<12 hex digits>    of the user namespace that owns it, if it is not the engine's own

A namespace is made, and set up, by a thread that ends: the namespace of a thread is its own, so nothing
else in the engine ever leaves the host's. The thread also opens a netlink socket, which stays in the
new namespace; so configuring it later needs no second visit.

Capabilities have force over a network only in the user namespace that owns it, which is the one its maker
was in. So for a container with ids of its own both are made together, ahead; which ids they are is said
when a container takes them.
"""

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from wherryd.errors import InvalidParameter, KernelFault, SystemFault
from wherryd.networks import links
from wherryd.networks.deviceoptions import PLACEHOLDER, SYSCTLS
from wherryd.networks.netlink import Netlink
from wherryd.runtime import idmap
from wherryd.spec.oci import IdMapping
from wherryd.sys.mounts import MNT_DETACH, MS_BIND, mount, umount2
from wherryd.sys.namespaces import CLONE_NEWNET, CLONE_NEWUSER, setns, unshare, with_sleeper

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_OWN = "/proc/thread-self/ns/net"
READY_SANDBOXES = 2
# A start that took a ready namespace is itself busy for some 20 ms; making the next one then would only
# slow it down.
REFILL_DELAY_SECONDS = 0.1


@dataclass(slots=True)
class Namespace:
    """A namespace with lo up, and the two descriptors needed to plug a device into it. Close it after use.

    maps: of the user namespace that owns it, until they are written; None when the engine's does.
    Closing gives up the descriptors only (twice is fine); `remove` ends the namespace itself.
    """

    sandbox_id: str
    path: Path
    fd: int
    inside: Netlink
    maps: idmap.Maps | None = None

    def give_ids(self, mappings: Sequence[IdMapping]) -> None:
        """To the user namespace that owns it. Once. Raises RuntimeFault."""
        if self.maps is not None:
            self.maps.write(mappings, mappings)
            self.maps.close()
            self.maps = None

    def close(self) -> None:
        self.inside.close()
        if self.maps is not None:
            self.maps.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def path_of(directory: Path, sandbox_id: str) -> Path:
    return directory / sandbox_id[:12]


def owners(directory: Path) -> Path:
    """The folder of the user namespaces, beside that of the network namespaces."""
    return directory.with_name("userns")


def owner_of(path: Path) -> Path:
    """Where the user namespace is that owns the network namespace at `path`, if it has one of its own."""
    return owners(path.parent) / path.name


def _in_thread(work: Callable[[], _Result]) -> _Result:
    """Runs in a thread of its own that then ends, so that nobody inherits its namespace."""
    outcome: list[_Result] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, name="netns")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def create(directory: Path, *, with_owner: bool = False, owner: Path | None = None) -> Namespace:
    """A new namespace, bound to a file in `directory`. Takes about 1 ms. Raises KernelFault.

    with_owner: in a new user namespace too, which has no ids yet. owner: in the user namespace there.
    """
    sandbox_id = secrets.token_hex(32)
    path = path_of(directory, sandbox_id)

    def body() -> Namespace:
        with contextlib.ExitStack() as undo:
            undo.callback(remove, path)
            maps = None
            if with_owner:
                maps = _with_owner(path)
                undo.callback(maps.close)
            elif owner is not None:
                _inside(owner, path)
            else:
                unshare(CLONE_NEWNET)
                _bind(_OWN, path)
            fd = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
            undo.callback(os.close, fd)
            _no_ipv6_on_new_devices()
            inside = Netlink()
            undo.callback(inside.close)
            links.loopback_up(inside)
            undo.pop_all()
        return Namespace(sandbox_id, path, fd, inside, maps)

    return _in_thread(body)


def _with_owner(path: Path) -> idmap.Maps:
    """Makes both namespaces and brings the calling thread into that of the network."""

    def opened(pid: int) -> tuple[idmap.Maps, int, int]:
        process = idmap.process_directory(pid)
        with contextlib.ExitStack() as undo:
            maps = idmap.Maps(process)
            undo.callback(maps.close)
            net = os.open(process / "ns/net", os.O_RDONLY | os.O_CLOEXEC)
            undo.callback(os.close, net)
            user = os.open(process / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
            undo.pop_all()
        return maps, net, user

    maps, net, user = with_sleeper(CLONE_NEWUSER | CLONE_NEWNET, opened)
    try:
        _bind(f"/proc/thread-self/fd/{net}", path)
        _bind(f"/proc/thread-self/fd/{user}", owner_of(path))
        _join(path)
    except BaseException:
        maps.close()
        raise
    finally:
        os.close(net)
        os.close(user)
    return maps


def _inside(owner: Path, path: Path) -> None:
    """Makes the network namespace in a user namespace that is there, and brings the calling thread into it.

    Only a process in that user namespace can, and a process with threads enters none: so other programs do.
    """
    command = ["nsenter", f"--user={owner}", "--", "unshare", "--net", "--", "cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/") as process:
        assert process.stdin is not None, "a pipe"  # noqa: S101
        assert process.stdout is not None, "a pipe"  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b".")
            process.stdin.flush()
        # What comes back was sent by the last of them: it is in both.
        if process.stdout.read(1) != b".":
            raise SystemFault(f"cannot make a network namespace in the user namespace {owner}, see the log")
        _bind(f"/proc/{process.pid}/ns/net", path)
        process.stdin.close()
    _bind(str(owner), owner_of(path))
    _join(path)


def _bind(source: str, path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    mount(source, str(path), None, MS_BIND)


def _join(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, CLONE_NEWNET, str(path))
    finally:
        os.close(fd)


def _no_ipv6_on_new_devices() -> None:
    """As Docker: a device on a network without IPv6 gets no link-local address either."""
    try:
        links.write_sysctl("net/ipv6/conf/default/disable_ipv6", "1")
    except KernelFault as fault:
        if fault.errno != errno.ENOENT:  # a kernel without IPv6
            raise


def enter(directory: Path, sandbox_id: str) -> Namespace:
    """The descriptors of a namespace that exists. Raises KernelFault, OSError."""
    path = path_of(directory, sandbox_id)

    def body() -> Namespace:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(fd, CLONE_NEWNET, str(path))
            return Namespace(sandbox_id, path, fd, Netlink())
        except BaseException:
            os.close(fd)
            raise

    return _in_thread(body)


def make_inside(path: Path, make: Callable[[], _Result]) -> _Result:
    """What `make` makes in the namespace, such as sockets, which stay there. Raises KernelFault, OSError."""

    def body() -> _Result:
        _join(path)
        return make()

    return _in_thread(body)


def allow_ipv6(path: Path, device: str) -> None:
    """Switches IPv6 on for one device of the namespace. Raises KernelFault ENOENT without IPv6.

    Neighbours' router advertisements stay unheard: addresses and routes are ours to give. Nor is anybody
    asked whether the link-local address is free: it comes from our MAC, and so it can be used at once.
    """

    def body() -> None:
        for setting in ("accept_ra", "accept_dad"):
            links.write_sysctl(f"net/ipv6/conf/{device}/{setting}", "0")
        links.write_sysctl(f"net/ipv6/conf/{device}/disable_ipv6", "0")

    make_inside(path, body)


def set_sysctls(path: Path, device: str, settings: Sequence[str]) -> None:
    """Of one device, as EndpointWish has them. Raises InvalidParameter for one that this kernel refuses."""

    def body() -> None:
        for setting in settings:
            key, _, value = setting.partition("=")
            try:
                links.write_sysctl(key.replace(PLACEHOLDER, device), value)
            except KernelFault as fault:
                raise InvalidParameter(
                    f"{SYSCTLS}: {key.replace('/', '.')}={value}: this kernel refuses it: {fault}"
                ) from fault

    if settings:
        make_inside(path, body)


def is_namespace(path: Path) -> bool:
    """Whether a namespace is bound there (and not the empty file under a mount that is gone)."""
    try:
        return path.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except FileNotFoundError:
        return False


def remove(path: Path) -> None:
    """Unbinds and deletes the file, and that of its owner; the namespaces end with their last process.

    Idempotent."""
    for each in (path, owner_of(path)):
        try:
            umount2(str(each), MNT_DETACH)
        except KernelFault as fault:
            if fault.errno not in (errno.EINVAL, errno.ENOENT):
                raise
        each.unlink(missing_ok=True)


class SandboxPool:
    """Keeps a few namespaces ready, so that a container's start does not wait for one.

    with_owner: what is ready, see `create`. Of one event loop. `close` removes those not handed out.
    """

    def __init__(self, directory: Path, size: int = READY_SANDBOXES, *, with_owner: bool = False) -> None:
        self._directory = directory
        self._size = size
        self._with_owner = with_owner
        self._ready: list[Namespace] = []
        self._refill: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    def fill(self) -> None:
        """Starts making what is missing, in the background."""
        if not self._closed.is_set() and (self._refill is None or self._refill.done()):
            self._refill = asyncio.create_task(self._fill())

    async def take(self, ids: Sequence[IdMapping] = ()) -> Namespace:
        """A ready namespace, or a new one. The caller owns it. Raises KernelFault, RuntimeFault.

        ids: of a user namespace that shall own it; none for the engine's own.
        """
        if self._with_owner is bool(ids) and self._ready:
            namespace = self._ready.pop()
        else:
            namespace = await self._create(with_owner=bool(ids))
        self.fill()
        try:
            namespace.give_ids(ids)
        except BaseException:
            namespace.close()
            remove(namespace.path)
            raise
        return namespace

    async def make_inside(self, owner: Path) -> Namespace:
        """A new namespace that belongs to the user namespace there, another container's. Raises KernelFault,
        SystemFault."""
        return await asyncio.to_thread(create, self._directory, owner=owner)

    async def _create(self, *, with_owner: bool) -> Namespace:
        return await asyncio.to_thread(create, self._directory, with_owner=with_owner)

    async def close(self) -> None:
        self._closed.set()
        if self._refill is not None:
            await asyncio.wait([self._refill])
        while self._ready:
            namespace = self._ready.pop()
            namespace.close()
            remove(namespace.path)

    async def _fill(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), REFILL_DELAY_SECONDS)
        while len(self._ready) < self._size and not self._closed.is_set():
            try:
                self._ready.append(await self._create(with_owner=self._with_owner))
            except (KernelFault, OSError) as error:
                # Not lost: the next `take` makes its own and tells its caller what is wrong.
                _log.warning("cannot prepare a network namespace: %s", error)
                return
