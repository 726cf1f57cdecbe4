"""Which namespaces a container gets, and who makes which when.

PID and time namespaces take effect for children only, so whoever forks init (the "stager") makes them;
all others are made by init itself. Without a user namespace the monitor is the stager, and one fork is
enough. So it is with one that is joined. With a new one, a stage child is put between, because everything
else must belong to the user namespace.
"""

import fcntl
import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from wherryd.errors import RuntimeFault
from wherryd.runtime import idmap
from wherryd.spec.oci import Linux, NamespaceKind
from wherryd.sys import namespaces as ns

FLAGS: Final = {
    NamespaceKind.USER: ns.CLONE_NEWUSER,
    NamespaceKind.PID: ns.CLONE_NEWPID,
    NamespaceKind.TIME: ns.CLONE_NEWTIME,
    NamespaceKind.MOUNT: ns.CLONE_NEWNS,
    NamespaceKind.UTS: ns.CLONE_NEWUTS,
    NamespaceKind.IPC: ns.CLONE_NEWIPC,
    NamespaceKind.NETWORK: ns.CLONE_NEWNET,
    NamespaceKind.CGROUP: ns.CLONE_NEWCGROUP,
}
_OF_CHILDREN: Final = (NamespaceKind.PID, NamespaceKind.TIME)

# linux/if.h, linux/sockios.h
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def needs_stage(linux: Linux) -> bool:
    """Only with a new user namespace: the processes of one that is joined may be in a PID namespace of the
    host's owner, which spares a fork. Its procfs is mounted outside then (outside.py)."""
    return linux.is_new(NamespaceKind.USER)


def mask(kinds: Iterable[NamespaceKind | str]) -> int:
    """CLONE_NEW* bits, as setns(2) on a pidfd takes them."""
    bits = 0
    for kind in kinds:
        bits |= FLAGS[NamespaceKind(kind)]
    return bits


def joins_early(linux: Linux) -> bool:
    """Whether namespaces given by path are joined before the user namespace. One that is new has no power
    over namespaces that were there before it; and with a joined one their sysctls take values only from
    outside that its ids cannot express (net.ipv4.ping_group_range)."""
    return NamespaceKind.USER in linux.namespaces


def join_early(linux: Linux) -> None:
    """With a user namespace: all that have a path, PID for children only."""
    if not joins_early(linux):
        return
    pid_path = linux.namespaces.get(NamespaceKind.PID)
    if pid_path and needs_stage(linux):
        _join(NamespaceKind.PID, pid_path)
    _join_paths(linux)


def enter_for_children(linux: Linux) -> None:
    """The stager's part: the next fork is born in the container's PID and time namespaces."""
    pid_path = linux.namespaces.get(NamespaceKind.PID, "")
    if pid_path and not (needs_stage(linux) and joins_early(linux)):
        _join(NamespaceKind.PID, pid_path)
    fresh = [kind for kind in _OF_CHILDREN if linux.is_new(kind)]
    if fresh:
        ns.unshare(mask(fresh))
    if linux.time_offsets:
        # Possible until the first process is in it. Source: time_namespaces(7).
        lines = (f"{clock} {secs} {nanosecs}" for clock, (secs, nanosecs) in linux.time_offsets.items())
        Path("/proc/self/timens_offsets").write_text("\n".join(lines))


@contextmanager
def for_children(linux: Linux) -> Iterator[None]:
    """`enter_for_children` for the forks in the block; later children are born in our own again."""
    with _own_again(kind for kind in _OF_CHILDREN if kind in linux.namespaces):
        enter_for_children(linux)
        yield


@contextmanager
def same_for_children(pidfd: int, kinds: Collection[NamespaceKind]) -> Iterator[None]:
    """The forks in the block are born in the PID namespace of the process, if kinds has that. Raises
    RuntimeFault when the process has gone."""
    if NamespaceKind.PID not in kinds:
        yield
        return
    with _own_again((NamespaceKind.PID,)):
        ns.setns(pidfd, ns.CLONE_NEWPID, "the container's PID namespace")
        yield


@contextmanager
def _own_again(kinds: Iterable[NamespaceKind]) -> Iterator[None]:
    """Afterwards children are born in our own namespaces. Source: pid_namespaces(7), time_namespaces(7)."""
    with ExitStack() as undo:
        for kind in kinds:
            fd = os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            undo.callback(os.close, fd)
            undo.callback(ns.setns, fd, FLAGS[kind], f"our own {kind} namespace")
        yield


def enter_own(linux: Linux) -> None:
    """Init's part, without the cgroup namespace: that comes once it is in its cgroup (init.CgroupJoin).

    Joins come first: a path may only be reachable from the host's mounts.
    """
    if not joins_early(linux):
        _join_paths(linux)
    later = (*_OF_CHILDREN, NamespaceKind.USER, NamespaceKind.CGROUP)
    own = [kind for kind in FLAGS if kind not in later and linux.is_new(kind)]
    ns.unshare(mask(own))
    if linux.is_new(NamespaceKind.NETWORK):
        loopback_up()


def _join_paths(linux: Linux) -> None:
    handles = [
        (kind, _open(kind, path))
        for kind, path in linux.namespaces.items()
        if path and kind not in (NamespaceKind.PID, NamespaceKind.USER)
    ]
    # The mount namespace goes last: after it the others' paths mean something else.
    for kind, fd in sorted(handles, key=lambda handle: handle[0] is NamespaceKind.MOUNT):
        ns.setns(fd, FLAGS[kind], str(linux.namespaces[kind]))
        os.close(fd)


@contextmanager
def user_namespace(linux: Linux) -> Iterator[int]:
    """A descriptor of the container's: joined by path, or a new one with its maps."""
    path = linux.namespaces[NamespaceKind.USER]
    if not path:
        with idmap.namespace(linux.uid_mappings, linux.gid_mappings) as fd:
            yield fd
        return
    fd = _open(NamespaceKind.USER, path)
    try:
        yield fd
    finally:
        os.close(fd)


def _join(kind: NamespaceKind, path: str) -> None:
    fd = _open(kind, path)
    try:
        ns.setns(fd, FLAGS[kind], path)
    finally:
        os.close(fd)


def _open(kind: NamespaceKind, path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise RuntimeFault(
            f"lstat {path}: {(error.strerror or '').lower()}: no {kind} namespace there"
        ) from error


def loopback_up() -> None:
    """In a new network namespace lo exists, but is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
