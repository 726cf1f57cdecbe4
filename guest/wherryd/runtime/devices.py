"""Device nodes, the usual links below /dev, and the container's terminal.

Runs in the child before the pivot; every name is relative to a descriptor inside the root.
"""

import errno
import os
import posixpath
import stat
from collections.abc import Container, Iterable, Iterator
from typing import Final

from wherryd.errors import KernelFault, RuntimeFault
from wherryd.runtime import idmap, mounting
from wherryd.runtime.mountoptions import parse
from wherryd.spec.oci import DeviceNode, Linux
from wherryd.sys import mounts, paths, terminal

#: Every container has these. Source: runtime-spec config-linux.md, "Default Devices".
DEFAULT: Final = (
    DeviceNode(path="/dev/null", kind="c", major=1, minor=3),
    DeviceNode(path="/dev/zero", kind="c", major=1, minor=5),
    DeviceNode(path="/dev/full", kind="c", major=1, minor=7),
    DeviceNode(path="/dev/random", kind="c", major=1, minor=8),
    DeviceNode(path="/dev/urandom", kind="c", major=1, minor=9),
    DeviceNode(path="/dev/tty", kind="c", major=5, minor=0),
)
_LINKS: Final = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)
_TYPES: Final = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def _wanted(configured: Iterable[DeviceNode]) -> Iterator[DeviceNode]:
    for node in {node.path: node for node in (*DEFAULT, *configured)}.values():
        if node.path != "/dev/ptmx":  # a link to the container's own devpts, see make_links
            yield node


def make_nodes_of(dev: int, linux: Linux) -> frozenset[str]:
    """All that are below /dev, in a file system that will be there; their paths. From outside of the user
    namespace that the container will have, in the name of its root (outside.py)."""
    made = set()
    for node in _wanted(linux.devices):
        if not node.path.startswith("/dev/"):
            continue
        uid, gid = idmap.host_id(linux.uid_mappings, node.uid), idmap.host_id(linux.gid_mappings, node.gid)
        if uid is None or gid is None or not _mknod(dev, node.path.removeprefix("/dev"), node, (uid, gid)):
            continue
        made.add(node.path)
    return frozenset(made)


def make_nodes(root: int, configured: Iterable[DeviceNode], *, by_bind: bool, made: Container[str]) -> None:
    """by_bind: in a user namespace mknod is not allowed, so the host's node is bound in its place.

    made: paths of those that are there already."""
    for node in _wanted(configured):
        if node.path in made:
            continue
        if by_bind:
            _bind_node(root, node)
        else:
            _make_node(root, node)


def _make_node(root: int, node: DeviceNode) -> None:
    if not _mknod(root, node.path, node, (node.uid, node.gid)):
        # CAP_MKNOD is missing, as in a nested container: the host's node does as well.
        _bind_node(root, node)


def _mknod(root: int, path: str, node: DeviceNode, owner: tuple[int, int]) -> bool:
    """False when it may not be made."""
    directory = paths.mkdir_in_root(root, posixpath.dirname(path))
    name = posixpath.basename(path)
    try:
        os.mknod(name, _TYPES[node.kind] | node.mode, os.makedev(node.major, node.minor), dir_fd=directory)
        if owner != (0, 0):
            os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        _check_node(directory, name, node)
    except PermissionError:
        return False
    finally:
        os.close(directory)
    return True


def _check_node(directory: int, name: str, node: DeviceNode) -> None:
    """What the image or a mount has put there must be that very device."""
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)  # noqa: PTH116
    if stat.S_IFMT(status.st_mode) != _TYPES[node.kind] or (
        node.kind != "p" and status.st_rdev != os.makedev(node.major, node.minor)
    ):
        raise RuntimeFault(f"{node.path} exists in the root and is another file: remove it from the image")


def _bind_node(root: int, node: DeviceNode) -> None:
    with mounting.detached(mounting.bind(node.path, parse(()))) as copy:
        if os.fstat(copy).st_rdev != os.makedev(node.major, node.minor):
            raise RuntimeFault(f"{node.path} on the host is not device {node.major}:{node.minor}")
        mounts.mount_setattr(
            copy, set_=mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID, subject=node.path
        )
        with mounting.detached(paths.create_in_root(root, node.path)) as target:
            mounts.move_mount(copy, target, node.path)


def make_links(root: int) -> None:
    """/dev/fd and its like, /dev/ptmx. Source: runtime-spec config-linux.md, "Dev symbolic links"."""
    directory = paths.mkdir_in_root(root, "/dev")
    try:
        for name, target in _LINKS:
            _link(target, name, directory)
        # The device of that name would belong to the host's terminals: the container's own are below pts/.
        _link("pts/ptmx", "ptmx", directory, replace=True)
    finally:
        os.close(directory)


def _link(target: str, name: str, directory: int, *, replace: bool = False) -> None:
    try:
        os.symlink(target, name, dir_fd=directory)
    except FileExistsError:
        if replace and os.readlink(name, dir_fd=directory) != target:  # noqa: PTH115
            os.unlink(name, dir_fd=directory)  # noqa: PTH108
            os.symlink(target, name, dir_fd=directory)


def open_terminal(root: int) -> tuple[int, int]:
    """(master, slave) of a new terminal from the container's own devpts. The caller closes both."""
    try:
        master = paths.openat2(
            root,
            "dev/pts/ptmx",
            os.O_RDWR | os.O_NOCTTY,
            resolve=paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_SYMLINKS,
        )
    except KernelFault as error:
        raise RuntimeFault(
            f"no terminal: /dev/pts/ptmx in the root: {os.strerror(error.errno)}; "
            "mount a devpts on /dev/pts in the config, or turn `terminal` off"
        ) from error
    if os.fstat(master).st_rdev != os.makedev(5, 2):
        os.close(master)
        raise RuntimeFault("no terminal: /dev/pts/ptmx in the root is not device 5:2")
    terminal.unlock(master)
    return master, terminal.open_peer(master)


def bind_console(root: int, slave: int) -> None:
    """/dev/console is the container's terminal; the slave is bound by descriptor (CVE-2025-52565)."""
    with (
        mounting.detached(mounts.clone_mount("", recursive=False, dirfd=slave)) as copy,
        mounting.detached(paths.create_in_root(root, "/dev/console", 0o600)) as target,
    ):
        if not stat.S_ISREG(os.fstat(target).st_mode) and not stat.S_ISCHR(os.fstat(target).st_mode):
            raise KernelFault("mount", "/dev/console", errno.EINVAL)
        mounts.move_mount(copy, target, "/dev/console")
