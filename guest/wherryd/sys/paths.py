"""Paths inside a root that somebody else controls: openat2(2) with RESOLVE_IN_ROOT, and descriptors.

A name is resolved once, by the kernel, with the root as its ceiling; from then on only the descriptor
is used. `os.path` and plain `open` must not touch such paths: about half of the known container
escapes are that one bug (CVE-2021-30465, CVE-2024-21626, CVE-2025-31133, ...).
"""

import ctypes
import errno
import os
import posixpath
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from wherryd.errors import KernelFault
from wherryd.sys.libc import AT_FDCWD, register, syscall

# linux/openat2.h
RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

#: fcntl.h; os has it from Python 3.10 on Linux only, so it is named here for the type checker elsewhere.
O_PATH: Final = 0o10000000
O_CLOEXEC: Final = 0o2000000

_NR_OPENAT2 = 437
_ATTEMPTS = 64
_MAX_LINKS = 16


def openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), close-on-exec. Raises KernelFault: ELOOP, EXDEV (left the root), ENOENT, ... Linux 5.6."""
    how = ctypes.create_string_buffer(struct.pack("=QQQ", flags | O_CLOEXEC, mode, resolve), 24)
    name = ctypes.c_char_p(os.fsencode(path))
    for attempt in range(_ATTEMPTS):
        try:
            return syscall(_NR_OPENAT2, "openat2", path, register(dirfd), name, how, register(24))
        except KernelFault as error:
            # EAGAIN: a rename happened while ".." was walked; the man page says to try again.
            if error.errno != errno.EAGAIN or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def open_root(path: str) -> int:
    """A descriptor for a root directory itself; path is on our own side."""
    return openat2(AT_FDCWD, path, O_PATH | os.O_DIRECTORY)


def open_in_root(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Opens path with root as "/": symlinks, also absolute ones, and ".." stay inside. The caller closes.

    Magic links (/proc/self/fd/N) are refused. Raises KernelFault.
    """
    return openat2(root, path.lstrip("/") or ".", flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


@contextmanager
def opened(root: int, path: str, flags: int = O_PATH) -> Iterator[int]:
    """`open_in_root` as a with statement; closed at its end."""
    fd = open_in_root(root, path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def mkdir_in_root(root: int, path: str, mode: int = 0o755) -> int:
    """Makes path and its parents inside root as far as they are missing; an O_PATH descriptor for it.

    A dangling symlink on the way is followed and its target made, as a mount on it would need.
    Raises KernelFault: ENOTDIR when a part is a file, EROFS, ELOOP.
    """
    return _mkdir(root, _clean(path), mode, _MAX_LINKS)


def _mkdir(root: int, path: str, mode: int, links: int) -> int:
    try:
        return open_in_root(root, path, O_PATH | os.O_DIRECTORY)
    except KernelFault as error:
        if error.errno != errno.ENOENT:
            raise
    parent_path, name = posixpath.split(path)
    parent = _mkdir(root, parent_path, mode, links)
    try:
        try:
            os.mkdir(name, mode, dir_fd=parent)  # noqa: PTH102 - relative to a descriptor
        except FileExistsError:
            link = _readlink(name, parent)
            if link is not None:
                if links == 0:
                    raise KernelFault("mkdir", path, errno.ELOOP) from None
                return _mkdir(root, _clean(posixpath.join(parent_path, link)), mode, links - 1)
        except OSError as error:
            raise KernelFault("mkdir", path, error.errno or errno.EIO) from error
        return open_in_root(parent, name, O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    finally:
        os.close(parent)


def create_in_root(root: int, path: str, mode: int = 0o644) -> int:
    """A file to mount on: path as it is (any type), or a new empty file; an O_PATH descriptor for it.

    A dangling symlink is followed and its target made: images of whole machines have /etc/resolv.conf as a
    link into an empty /run. Raises KernelFault.
    """
    return _create(root, _clean(path), mode, _MAX_LINKS)


def _create(root: int, path: str, mode: int, links: int) -> int:
    try:
        return open_in_root(root, path, O_PATH)
    except KernelFault as error:
        if error.errno != errno.ENOENT:
            raise
    parent_path, name = posixpath.split(path)
    parent = mkdir_in_root(root, parent_path)
    try:
        link = _readlink(name, parent)
        if link is not None:
            if links == 0:
                raise KernelFault("open", path, errno.ELOOP)
            return _create(root, _clean(posixpath.join(parent_path, link)), mode, links - 1)
        flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDONLY | os.O_NONBLOCK
        os.close(openat2(parent, name, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS))
        return open_in_root(parent, name, O_PATH | os.O_NOFOLLOW)
    finally:
        os.close(parent)


def is_directory(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def read_small_file(root: int, path: str, *, limit_bytes: int) -> bytes | None:
    """The content of a regular file inside root; None when there is none.

    A FIFO or device in its place neither blocks nor is read (CVE-2024-9676), and what is beyond
    limit_bytes is cut off.
    """
    try:
        fd = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except KernelFault as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENXIO):
            return None
        raise
    with os.fdopen(fd, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return file.read(limit_bytes)


def self_fd(fd: int) -> str:
    """A path that names the descriptor: for calls that take a path only. Needs our own /proc."""
    return f"/proc/self/fd/{fd}"


def _clean(path: str) -> str:
    """Lexically normal and absolute: config paths are ours, only what is on disk is not."""
    return posixpath.normpath("/" + path.lstrip("/"))


def _readlink(name: str, dir_fd: int) -> str | None:
    try:
        return os.readlink(name, dir_fd=dir_fd)  # noqa: PTH115 - relative to a descriptor
    except OSError:
        return None
