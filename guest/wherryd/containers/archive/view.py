"""A container's mounts as the root of this process, and nothing else beside them.

A running container: its own mounts, copied into a mount namespace of ours, so that tmpfs and what its
processes mounted are there. One that does not run: its layers, volumes and binds, put together as at its
start. A tmpfs has no contents then; in its place is an empty read-only one, so that nothing is written where
nobody would ever see it. Ids in archives are those from inside: of a running container with ids of its own
the user namespace is joined, where our power ends where the container's does.

Every mount is made nodev, nosuid, noexec: who can make device nodes in the container must not have them
opened by us (a swap between look and open).
"""

import os
import stat
import sys
from contextlib import suppress
from pathlib import PurePosixPath

from wherryd.containers.archive.order import ViewOrder
from wherryd.errors import KernelFault
from wherryd.runtime import mounting, rootfs
from wherryd.runtime.mountoptions import parse
from wherryd.spec.build import UserMount
from wherryd.sys import capabilities, mounts, namespaces, paths, process

_HARMLESS = mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NOEXEC
#: Reading needs to look everywhere. Writing needs files of any owner, mode and type.
_READING = ("CAP_DAC_READ_SEARCH",)
_WRITING = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_MKNOD",
    "CAP_SETFCAP",
)


def enter(order: ViewOrder, *, writing: bool) -> int:
    """Makes the view this process's root and gives up what it does not need there; a descriptor of "/".

    No module is found afterwards. Raises EngineError, OSError.
    """
    _close_modules()
    if order.pidfd >= 0:
        _copy_living(order.pidfd)
    else:
        _put_together(order)
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    attributes = _HARMLESS if writing else _HARMLESS | mounts.MOUNT_ATTR_RDONLY
    mounts.mount_setattr(root, set_=attributes, recursive=True, subject="/")
    if order.own_ids:
        namespaces.setns(order.pidfd, namespaces.CLONE_NEWUSER, "the container's user namespace")
        os.setresgid(0, 0, 0)
        os.setgroups([])
        os.setresuid(0, 0, 0)
    _give_up_power(_WRITING if writing else _READING)
    return root


def enter_layers(order: ViewOrder) -> int:
    """Only the layers, to be read: without volumes, binds and the container's own mounts."""
    _close_modules()
    _put_together(order)
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.mount_setattr(root, set_=_HARMLESS | mounts.MOUNT_ATTR_RDONLY, recursive=True, subject="/")
    _give_up_power(_READING)
    return root


def _copy_living(pidfd: int) -> None:
    """setns(2) makes the namespace's root ours, whatever root the container's process has by now."""
    namespaces.setns(pidfd, namespaces.CLONE_NEWNS, "the container's mount namespace")
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)


def _put_together(order: ViewOrder) -> None:
    """On disk files have the ids from inside, also those of a container with ids of its own."""
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    mounting.mount_root(order.mount_point, order.layers)
    with mounting.opened(order.mount_point) as top:
        for each in sorted(order.mounts, key=lambda mount: len(PurePosixPath(mount.destination).parts)):
            _mount(top, each)
        if order.read_only_root:
            rootfs.make_root_readonly(top)
        os.fchdir(top)
    mounts.pivot_root(".", ".")
    mounts.umount2(".", mounts.MNT_DETACH)
    os.chdir("/")


def _mount(root: int, each: UserMount) -> None:
    if each.type == "tmpfs":
        with (
            suppress(KernelFault),
            paths.opened(root, each.destination, paths.O_PATH | os.O_DIRECTORY) as place,
        ):
            mode = stat.S_IMODE(os.fstat(place).st_mode)
            empty = mounting.new_filesystem("tmpfs", "tmpfs", parse(["ro", "size=4k", f"mode={mode:o}"]))
            with mounting.detached(empty):
                mounts.move_mount(empty, place, each.destination)
        return
    options = parse(["rbind", "ro" if each.read_only else "rw"])
    with mounting.detached(mounting.bind(each.source, options)) as source:
        if paths.is_directory(source):
            target = paths.mkdir_in_root(root, each.destination)
        else:
            target = paths.create_in_root(root, each.destination)
        with mounting.detached(target):
            mounts.mount_setattr(source, propagation=mounts.MS_PRIVATE, recursive=True, subject=each.source)
            mounts.move_mount(source, target, each.destination)


def _close_modules() -> None:
    """From here on a module would come out of the container (CVE-2019-14271)."""
    sys.path.clear()
    sys.meta_path.clear()


def _give_up_power(names: tuple[str, ...]) -> None:
    keep = capabilities.mask(names)
    process.prctl(process.PR_SET_DUMPABLE, 0)
    process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
    capabilities.drop_bounding_set(keep)
    capabilities.capset(effective=keep, permitted=keep, inheritable=0)
    # Last: joining a user namespace forgets it.
    process.prctl(process.PR_SET_PDEATHSIG, 9)


def refusal(order: ViewOrder, target: int, path: str) -> str:
    """Why nothing can be written to the directory target, whose path has no link in it; "" when it can."""
    if not os.fstatvfs(target).f_flag & os.ST_RDONLY:
        return ""
    above = [each for each in order.mounts if f"{path}/".startswith(f"{each.destination}/")]
    if not above:
        return "container rootfs is marked read-only"
    nearest = max(above, key=lambda each: len(each.destination))
    if nearest.type == "tmpfs" and order.pidfd < 0:
        return (
            f"{nearest.destination} is a tmpfs, which has files only while the container runs: start it first"
        )
    return "mounted volume is marked read-only"
