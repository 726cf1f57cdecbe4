"""inotify(7): being told about changes of files. One descriptor, close-on-exec and non-blocking."""

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import Final

from wherryd.sys.libc import check, function

# sys/inotify.h
IN_MODIFY: Final = 0x002
IN_MOVED_TO: Final = 0x080
IN_CREATE: Final = 0x100
IN_DELETE_SELF: Final = 0x400
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x01000000

_HEADER = struct.Struct("=iIII")

_inotify_init1 = function("inotify_init1", ctypes.c_int)
_inotify_add_watch = function("inotify_add_watch", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_inotify_rm_watch = function("inotify_rm_watch", ctypes.c_int, ctypes.c_int)


def inotify_init1() -> int:
    """inotify_init1(2). Raises KernelFault: EMFILE at the user's limit of instances."""
    return check(_inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1", "")


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """inotify_add_watch(2); the watch's number. Raises KernelFault: ENOENT, ENOSPC (no watch left)."""
    return check(_inotify_add_watch(fd, os.fsencode(path), mask), "inotify_add_watch", path)


def inotify_rm_watch(fd: int, watch: int) -> None:
    """inotify_rm_watch(2). Raises KernelFault: EINVAL when the kernel dropped the watch already."""
    check(_inotify_rm_watch(fd, watch), "inotify_rm_watch", str(watch))


def events(buffer: bytes) -> Iterator[tuple[int, int]]:
    """(watch, mask) of every event in what read(2) gave."""
    offset = 0
    while offset < len(buffer):
        watch, mask, _, length = _HEADER.unpack_from(buffer, offset)
        yield watch, mask
        offset += _HEADER.size + length
