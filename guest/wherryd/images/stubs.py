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
from pathlib import Path

from wherryd.errors import KernelFault
from wherryd.sys import paths

_BENEATH = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS


def remove_stubs(directory: Path, below: Sequence[Path], mount_points: Collection[str]) -> None:
    """directory: of the ended container's snapshot. below: of the layers under it. mount_points: absolute;
    those that the layers have are left alone, and their folders too unless nothing else is in them."""
    root = paths.open_root(str(directory))
    try:
        for path in sorted((each.strip("/") for each in mount_points), key=len, reverse=True):
            while path and _remove(root, path, below):
                path = path.rpartition("/")[0]
    finally:
        os.close(root)


def _remove(root: int, path: str, below: Sequence[Path]) -> bool:
    """Whether it is not, or no longer, in the directory."""
    folder_path, _, name = path.rpartition("/")
    try:
        folder = paths.openat2(root, folder_path or ".", os.O_RDONLY | os.O_DIRECTORY, 0, _BENEATH)
    except KernelFault as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return True
        raise
    try:
        status = os.lstat(name, dir_fd=folder)
        lower = _lower(below, path)
        if stat.S_ISDIR(status.st_mode):
            if lower is not None and not _copied_up(folder, name, status, lower):
                return False
            os.rmdir(name, dir_fd=folder)
            return True
        if lower is None and stat.S_ISREG(status.st_mode) and status.st_size == 0:
            os.unlink(name, dir_fd=folder)
            return True
        return False
    except FileNotFoundError:
        return True
    except OSError as exc:
        if exc.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    finally:
        os.close(folder)


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
