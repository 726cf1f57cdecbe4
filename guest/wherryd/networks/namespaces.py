"""Network namespaces that live by a file, not by a process.

    <exec root>/netns/<12 hex digits>     a bind mount of the namespace; the digits begin the sandbox's id

A namespace is made by a thread that unshares and ends: the namespace of a thread is its own, so nothing
else in the engine ever leaves the host's. The thread also opens a netlink socket, which stays in the
new namespace; so configuring it later needs no second visit.
"""

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from wherryd.errors import KernelFault
from wherryd.networks import links
from wherryd.networks.netlink import Netlink
from wherryd.sys.mounts import MNT_DETACH, MS_BIND, mount, umount2
from wherryd.sys.namespaces import CLONE_NEWNET, setns, unshare

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

    Closing gives up the descriptors only (twice is fine); `remove` ends the namespace itself.
    """

    sandbox_id: str
    path: Path
    fd: int
    inside: Netlink

    def close(self) -> None:
        self.inside.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def path_of(directory: Path, sandbox_id: str) -> Path:
    return directory / sandbox_id[:12]


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


def create(directory: Path) -> Namespace:
    """A new namespace, bound to a file in `directory`. Takes about 1 ms. Raises KernelFault."""
    sandbox_id = secrets.token_hex(32)
    path = path_of(directory, sandbox_id)

    def body() -> Namespace:
        unshare(CLONE_NEWNET)
        fd = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
            mount(_OWN, str(path), None, MS_BIND)
            _no_ipv6_on_new_devices()
            inside = Netlink()
            try:
                links.loopback_up(inside)
            except BaseException:
                inside.close()
                raise
        except BaseException:
            os.close(fd)
            remove(path)
            raise
        return Namespace(sandbox_id, path, fd, inside)

    return _in_thread(body)


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
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(fd, CLONE_NEWNET, str(path))
        finally:
            os.close(fd)
        return make()

    return _in_thread(body)


def is_namespace(path: Path) -> bool:
    """Whether a namespace is bound there (and not the empty file under a mount that is gone)."""
    try:
        return path.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except FileNotFoundError:
        return False


def remove(path: Path) -> None:
    """Unbinds and deletes the file; the namespace ends with its last process. Idempotent."""
    try:
        umount2(str(path), MNT_DETACH)
    except KernelFault as fault:
        if fault.errno not in (errno.EINVAL, errno.ENOENT):
            raise
    path.unlink(missing_ok=True)


class SandboxPool:
    """Keeps a few namespaces ready, so that a container's start does not wait for one.

    Of one event loop. `close` removes those not handed out.
    """

    def __init__(self, directory: Path, size: int = READY_SANDBOXES) -> None:
        self._directory = directory
        self._size = size
        self._ready: list[Namespace] = []
        self._refill: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    def fill(self) -> None:
        """Starts making what is missing, in the background."""
        if not self._closed.is_set() and (self._refill is None or self._refill.done()):
            self._refill = asyncio.create_task(self._fill())

    async def take(self) -> Namespace:
        """A ready namespace, or a new one. The caller owns it. Raises KernelFault."""
        namespace = self._ready.pop() if self._ready else await asyncio.to_thread(create, self._directory)
        self.fill()
        return namespace

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
                self._ready.append(await asyncio.to_thread(create, self._directory))
            except (KernelFault, OSError) as error:
                # Not lost: the next `take` makes its own and tells its caller what is wrong.
                _log.warning("cannot prepare a network namespace: %s", error)
                return
