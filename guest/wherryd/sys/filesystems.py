"""syncfs(2), the type that fstatfs(2) tells and inode flags, which the standard library lacks."""

import array
import ctypes
import fcntl
from typing import Final

from wherryd.sys.libc import check, function

_syncfs = function("syncfs", ctypes.c_int)
_fstatfs = function("fstatfs", ctypes.c_int, ctypes.c_void_p)
#: sizeof(struct statfs) is 120 on 64-bit machines; f_type is its first field, a long.
_STATFS_BYTES = 256

#: linux/magic.h: what shows the kernel's own state as files (proc, sysfs, cgroup v1 and v2, ...).
KERNEL_FILESYSTEMS: Final = frozenset(
    {
        0x9FA0,  # PROC_SUPER_MAGIC
        0x62656572,  # SYSFS_MAGIC
        0x27E0EB,  # CGROUP_SUPER_MAGIC
        0x63677270,  # CGROUP2_SUPER_MAGIC
        0x64626720,  # DEBUGFS_MAGIC
        0x74726163,  # TRACEFS_MAGIC
        0x73636673,  # SECURITYFS_MAGIC
        0xCAFE4A11,  # BPF_FS_MAGIC
    }
)

# linux/fs.h: _IOR('f', 1, long) and _IOW('f', 2, long); the kernel reads and writes an int.
FS_IOC_GETFLAGS: Final = 0x80086601
FS_IOC_SETFLAGS: Final = 0x40086602
FS_TOPDIR_FL: Final = 0x00020000


def syncfs(fd: int, subject: str = "") -> None:
    """syncfs(2): writes the whole file system that fd is on to disk. Raises KernelFault: EIO, ENOSPC."""
    check(_syncfs(fd), "syncfs", subject or str(fd))


def statfs_type(fd: int) -> int:
    """fstatfs(2), f_type: the magic number of the file system that fd is on. Raises KernelFault."""
    result = ctypes.create_string_buffer(_STATFS_BYTES)
    check(_fstatfs(fd, ctypes.addressof(result)), "fstatfs", str(fd))
    return int(ctypes.c_ulong.from_buffer(result).value)


def spread_subdirectories(fd: int) -> bool:
    """Tells the file system that what is in this directory has nothing to do with each other: chattr(1), "T".

    Whether the file system took the hint; ext4 does. It is one, so nothing is raised.
    """
    flags = array.array("i", [0, 0])
    try:
        fcntl.ioctl(fd, FS_IOC_GETFLAGS, flags)
        flags[0] |= FS_TOPDIR_FL
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, flags)
    except OSError:
        return False
    return True
