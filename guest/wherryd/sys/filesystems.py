"""Whole file systems: syncfs(2), which the standard library lacks."""

import ctypes

from wherryd.sys.libc import check, function

_syncfs = function("syncfs", ctypes.c_int)


def syncfs(fd: int, subject: str = "") -> None:
    """syncfs(2): writes the whole file system that fd is on to disk. Raises KernelFault: EIO, ENOSPC."""
    check(_syncfs(fd), "syncfs", subject or str(fd))
