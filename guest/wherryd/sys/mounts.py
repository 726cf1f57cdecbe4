"""Mounting: mount(2), pivot_root(2), and the descriptor-based calls of Linux 5.2 (5.12 for attributes).

Constants beside the header that defines them. Targets inside a container are always descriptors
(`/proc/self/fd/N` or move_mount onto a descriptor), see `paths.py`.
"""

import ctypes
import struct
from typing import Final

from wherryd.sys.libc import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, check, function, register, syscall

# sys/mount.h
MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_SYNCHRONOUS: Final = 16
MS_REMOUNT: Final = 32
MS_MANDLOCK: Final = 64
MS_DIRSYNC: Final = 128
MS_NOSYMFOLLOW: Final = 256
MS_NOATIME: Final = 1024
MS_NODIRATIME: Final = 2048
MS_BIND: Final = 4096
MS_MOVE: Final = 8192
MS_REC: Final = 16384
MS_SILENT: Final = 32768
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
MS_RELATIME: Final = 1 << 21
MS_I_VERSION: Final = 1 << 23
MS_STRICTATIME: Final = 1 << 24
MS_LAZYTIME: Final = 1 << 25
MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8

# linux/mount.h
OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = 0o2000000
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40
FSOPEN_CLOEXEC: Final = 1
FSMOUNT_CLOEXEC: Final = 1
FSCONFIG_SET_FLAG: Final = 0
FSCONFIG_SET_STRING: Final = 1
FSCONFIG_CMD_CREATE: Final = 6
MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
MOUNT_ATTR__ATIME: Final = 0x70
MOUNT_ATTR_RELATIME: Final = 0x0
MOUNT_ATTR_NOATIME: Final = 0x10
MOUNT_ATTR_STRICTATIME: Final = 0x20
MOUNT_ATTR_NODIRATIME: Final = 0x80
MOUNT_ATTR_IDMAP: Final = 0x100000
MOUNT_ATTR_NOSYMFOLLOW: Final = 0x200000

#: mount(2) copies one page of data, its last byte is a zero.
MAX_DATA_BYTES: Final = 4095

_NR_OPEN_TREE, _NR_MOVE_MOUNT, _NR_FSOPEN, _NR_FSCONFIG, _NR_FSMOUNT = 428, 429, 430, 431, 432
_NR_MOUNT_SETATTR = 442
_text = ctypes.c_char_p
_mount = function("mount", _text, _text, _text, ctypes.c_ulong, _text)
_umount2 = function("umount2", _text, ctypes.c_int)
_pivot_root = function("pivot_root", _text, _text)


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else value.encode("utf-8", "surrogateescape")


def mount(source: str | None, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    """mount(2). Raises KernelFault: EPERM, EBUSY, EINVAL (an option the file system does not know), ..."""
    result = _mount(_bytes(source), _bytes(target), _bytes(fstype), flags, _bytes(data))
    check(result, "mount", f"{fstype or 'bind'} {source or ''} on {target}")


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2). Raises KernelFault: EINVAL when nothing is mounted there, EBUSY."""
    check(_umount2(_bytes(target), flags), "umount2", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2). Raises KernelFault: EBUSY, EINVAL (new_root is no mount, or its parent is shared)."""
    check(_pivot_root(_bytes(new_root), _bytes(put_old)), "pivot_root", new_root)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """open_tree(2), close-on-exec. With OPEN_TREE_CLONE: a detached copy of a mount. Linux 5.2."""
    value = register(flags | OPEN_TREE_CLOEXEC)
    return syscall(_NR_OPEN_TREE, "open_tree", path, register(dirfd), _text(_bytes(path)), value)


def move_mount(mount_fd: int, target_fd: int, subject: str) -> None:
    """move_mount(2) of a detached mount onto an open file or directory. subject: for the error only."""
    flags = register(MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
    empty = _text(b"")
    syscall(
        _NR_MOVE_MOUNT, "move_mount", subject, register(mount_fd), empty, register(target_fd), empty, flags
    )


def mount_setattr(
    fd: int,
    *,
    set_: int = 0,
    clear: int = 0,
    propagation: int = 0,
    user_namespace: int = 0,
    recursive: bool = False,
    subject: str = "",
) -> None:
    """mount_setattr(2) on an open mount. Linux 5.12.

    set_, clear: MOUNT_ATTR_*. propagation: MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE or 0 = keep.
    user_namespace: a descriptor, for MOUNT_ATTR_IDMAP.
    """
    attributes = ctypes.create_string_buffer(
        struct.pack("=QQQQ", set_, clear, propagation, user_namespace), 32
    )
    flags = register(AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0))
    size = register(32)
    syscall(_NR_MOUNT_SETATTR, "mount_setattr", subject, register(fd), _text(b""), flags, attributes, size)


def clone_mount(path: str, *, recursive: bool, dirfd: int = AT_FDCWD) -> int:
    """A detached copy of what is seen at path; of dirfd itself when path is empty. The caller closes it."""
    flags = OPEN_TREE_CLONE | (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    return open_tree(dirfd, path, flags)


def fsopen(fstype: str) -> int:
    """fsopen(2). Raises KernelFault: ENODEV when the kernel has no such file system."""
    return syscall(_NR_FSOPEN, "fsopen", fstype, _text(_bytes(fstype)), register(FSOPEN_CLOEXEC))


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """fsconfig(2) with a flag or a string, or FSCONFIG_CMD_CREATE without either."""
    arguments = (register(fd), register(command), _text(_bytes(key)), _text(_bytes(value)), register(0))
    syscall(_NR_FSCONFIG, "fsconfig", key or "create", *arguments)


def fsmount(fd: int, attributes: int) -> int:
    """fsmount(2): a detached mount, close-on-exec. attributes: MOUNT_ATTR_*."""
    return syscall(_NR_FSMOUNT, "fsmount", "", register(fd), register(FSMOUNT_CLOEXEC), register(attributes))
