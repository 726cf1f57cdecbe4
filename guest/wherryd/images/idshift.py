"""Owners of a container with ids of its own, as the image has them: before its files become a layer.

Such a container's root is some high number outside (containers/idranges.py), and overlayfs writes that
number into the upper directory. A layer must have the numbers from inside. Source: Linux,
linux/capability.h for `vfs_ns_cap_data`: capabilities given inside carry the number of their root.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH101, PTH208

import errno
import os
import stat
import struct
from pathlib import Path

from wherryd.sys import paths

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BENEATH = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
_CAPABILITY = "security.capability"
_REVISION_MASK, _REVISION_2, _REVISION_3 = 0xFF000000, 0x02000000, 0x03000000
_REVISION_3_BYTES = 24


def shift_back(directory: Path, id_base: int, size: int) -> None:
    """Owners from id_base on, `size` many, become 0 and up; others, and what was shifted before, stay."""
    root = paths.open_root(str(directory))
    try:
        fd = paths.openat2(root, ".", os.O_RDONLY | os.O_DIRECTORY, 0, _BENEATH)
        try:
            _shift_opened(fd, os.fstat(fd), id_base, size)
        finally:
            os.close(fd)
        waiting = [""]
        while waiting:
            path = waiting.pop()
            folder = paths.openat2(root, path or ".", os.O_RDONLY | os.O_DIRECTORY, 0, _BENEATH)
            try:
                for name in os.listdir(folder):
                    status = os.lstat(name, dir_fd=folder)
                    _shift(folder, name, status, id_base, size)
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(f"{path}/{name}" if path else name)
            finally:
                os.close(folder)
    finally:
        os.close(root)


def _shifted(number: int, id_base: int, size: int) -> int:
    return number - id_base if id_base <= number < id_base + size else number


def _shift(folder: int, name: str, status: os.stat_result, id_base: int, size: int) -> None:
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        fd = os.open(name, _OPEN, dir_fd=folder)
        try:
            _shift_opened(fd, status, id_base, size)
        finally:
            os.close(fd)
        return
    owner = _shifted(status.st_uid, id_base, size), _shifted(status.st_gid, id_base, size)
    if owner != (status.st_uid, status.st_gid):
        os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)


def _shift_opened(fd: int, status: os.stat_result, id_base: int, size: int) -> None:
    """A chown takes set-id bits and capabilities away: they are put back."""
    capability = _capability(fd) if stat.S_ISREG(status.st_mode) else b""
    owner = _shifted(status.st_uid, id_base, size), _shifted(status.st_gid, id_base, size)
    if owner != (status.st_uid, status.st_gid):
        os.fchown(fd, *owner)
        if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            os.fchmod(fd, stat.S_IMODE(status.st_mode))
    if capability:
        os.setxattr(fd, _CAPABILITY, without_root(capability))


def _capability(fd: int) -> bytes:
    try:
        return os.getxattr(fd, _CAPABILITY)
    except OSError as exc:
        if exc.errno in (errno.ENODATA, errno.ENOTSUP):
            return b""
        raise


def without_root(capability: bytes) -> bytes:
    """Revision 3, which names the root it holds for, as revision 2, which every image has."""
    (magic,) = struct.unpack_from("<I", capability)
    if magic & _REVISION_MASK != _REVISION_3 or len(capability) != _REVISION_3_BYTES:
        return capability
    return struct.pack("<I", magic & ~_REVISION_MASK | _REVISION_2) + capability[4:-4]
