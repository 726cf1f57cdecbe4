"""Mount points that a container's mounts made in its root: empty, and no part of a layer.

The runtime makes /proc, /etc/hosts and the like where an image has none. While something is mounted on
them the container cannot change them, so what is empty afterwards was made for the mount.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH102, PTH106, PTH108, PTH116, PTH208

import errno
import os
import stat
from collections.abc import Collection, Sequence
from enum import Enum
from pathlib import Path

from wherryd.errors import KernelFault
from wherryd.sys import paths

#: What the runtime mounts into every container's root.
ENGINE_MOUNT_POINTS = ("/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts")

_BENEATH = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS


def find_stubs(directory: Path, below: Sequence[Path], mount_points: Collection[str]) -> list[str]:
    """Paths in directory, deepest first. below: of the layers under it. mount_points: absolute; those that
    the layers have are no stubs, and their folders only when nothing else is in them."""
    found: dict[str, None] = {}
    root = paths.open_root(str(directory))
    try:
        for path in sorted((each.strip("/") for each in mount_points), key=len, reverse=True):
            while path and path not in found:
                kind = _kind(root, path, below, found)
                if kind is _Kind.OTHER:
                    break
                if kind is _Kind.STUB:
                    found[path] = None
                path = path.rpartition("/")[0]
    finally:
        os.close(root)
    return list(found)


def remove_stubs(directory: Path, below: Sequence[Path], mount_points: Collection[str]) -> None:
    """Of a container that has ended: takes away what `find_stubs` finds."""
    root = paths.open_root(str(directory))
    try:
        for path in find_stubs(directory, below, mount_points):
            folder_path, _, name = path.rpartition("/")
            folder = paths.openat2(root, folder_path or ".", os.O_RDONLY | os.O_DIRECTORY, 0, _BENEATH)
            try:
                if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                    os.rmdir(name, dir_fd=folder)
                else:
                    os.unlink(name, dir_fd=folder)
            finally:
                os.close(folder)
    finally:
        os.close(root)


class _Kind(Enum):
    ABSENT = "absent"
    STUB = "stub"
    OTHER = "other"


def _kind(root: int, path: str, below: Sequence[Path], stubs: Collection[str]) -> _Kind:
    folder_path, _, name = path.rpartition("/")
    try:
        folder = paths.openat2(root, folder_path or ".", os.O_RDONLY | os.O_DIRECTORY, 0, _BENEATH)
    except KernelFault as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return _Kind.ABSENT
        raise
    try:
        status = os.lstat(name, dir_fd=folder)
        lower = _lower(below, path)
        if stat.S_ISDIR(status.st_mode):
            own = lower is None or _copied_up(folder, name, status, lower)
            stub = own and _holds_only(folder, name, path, stubs)
        else:
            stub = lower is None and stat.S_ISREG(status.st_mode) and status.st_size == 0
        return _Kind.STUB if stub else _Kind.OTHER
    except FileNotFoundError:
        return _Kind.ABSENT
    finally:
        os.close(folder)


def _holds_only(folder: int, name: str, path: str, stubs: Collection[str]) -> bool:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        return all(f"{path}/{each}" in stubs for each in os.listdir(fd))
    finally:
        os.close(fd)


def _copied_up(folder: int, name: str, status: os.stat_result, lower: os.stat_result) -> bool:
    """Whether overlayfs copied the folder up for something inside and it says nothing of its own."""
    fields = ("st_mode", "st_uid", "st_gid")
    if any(getattr(status, field) != getattr(lower, field) for field in fields):
        return False
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        # Whole copies (vfs) have no such mark, and there the folder is the only one.
        return any(each == "trusted.overlay.origin" for each in os.listxattr(fd)) and not _opaque(fd)
    finally:
        os.close(fd)


def _opaque(fd: int) -> bool:
    return "trusted.overlay.opaque" in os.listxattr(fd)


def _lower(below: Sequence[Path], path: str) -> os.stat_result | None:
    """What the uppermost layer that has the path has there; None also when it is hidden."""
    for directory in below:
        root = paths.open_root(str(directory))
        try:
            fd = paths.openat2(root, path, paths.O_PATH | os.O_NOFOLLOW, 0, _BENEATH)
        except KernelFault as exc:
            if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                continue
            raise
        finally:
            os.close(root)
        status = os.fstat(fd)
        os.close(fd)
        gone = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
        return None if gone else status
    return None
