"""btrfs subvolumes by ioctl(2), without btrfs-progs. Source: linux/btrfs.h."""

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from wherryd.errors import KernelFault

# _IOW(0x94, nr, 4096 bytes), but for the two that answer.
BTRFS_IOC_SUBVOL_CREATE: Final = 0x5000940E
BTRFS_IOC_SNAP_DESTROY: Final = 0x5000940F
BTRFS_IOC_SNAP_CREATE_V2: Final = 0x50009417
BTRFS_IOC_FS_INFO: Final = 0x8400941F
BTRFS_IOC_GET_SUBVOL_ROOTREF: Final = 0xD000943D

#: Inode number of every subvolume's top directory: BTRFS_FIRST_FREE_OBJECTID.
SUBVOLUME_INODE: Final = 256

_ARGUMENT_BYTES = 4096
_NAME_BYTES = 4039
_FS_INFO_BYTES = 1024
_ROOTREF_COUNT = 4088  # offset of num_items: 8 bytes, 255 entries of 16


def is_btrfs(path: Path) -> bool:
    try:
        _ioctl(path, BTRFS_IOC_FS_INFO, bytearray(_FS_INFO_BYTES), "BTRFS_IOC_FS_INFO")
    except KernelFault as exc:
        if exc.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
            return False
        raise
    return True


def create_subvolume(path: Path) -> None:
    """Raises KernelFault: EEXIST, ENOSPC, ENOTTY where there is no btrfs."""
    argument = struct.pack("q", 0) + _name(path)
    _ioctl(path.parent, BTRFS_IOC_SUBVOL_CREATE, bytearray(argument), "BTRFS_IOC_SUBVOL_CREATE")


def create_snapshot(source: Path, path: Path) -> None:
    """A writable copy of the subvolume `source`, as it is now. Raises KernelFault: EINVAL if it is none."""
    fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # fd, transid, flags, four unused words, name
        argument = struct.pack("qQQ32x", fd, 0, 0) + _name(path)
        _ioctl(
            path.parent,
            BTRFS_IOC_SNAP_CREATE_V2,
            bytearray(argument[:_ARGUMENT_BYTES]),
            "BTRFS_IOC_SNAP_CREATE_V2",
        )
    finally:
        os.close(fd)


def destroy_subvolume(path: Path) -> None:
    """In one step, however many files there are. Raises KernelFault: ENOTEMPTY while it holds another
    subvolume, EINVAL or ENOTDIR for what is no subvolume."""
    argument = struct.pack("q", 0) + _name(path)
    _ioctl(path.parent, BTRFS_IOC_SNAP_DESTROY, bytearray(argument), "BTRFS_IOC_SNAP_DESTROY")


def holds_subvolumes(path: Path) -> bool:
    """Whether there are subvolumes inside of this one, at any depth. Linux 4.18."""
    argument = bytearray(_ARGUMENT_BYTES)
    _ioctl(path, BTRFS_IOC_GET_SUBVOL_ROOTREF, argument, "BTRFS_IOC_GET_SUBVOL_ROOTREF")
    return argument[_ROOTREF_COUNT] > 0


def _name(path: Path) -> bytes:
    name = os.fsencode(path.name)
    if len(name) > _NAME_BYTES:
        raise KernelFault("ioctl", str(path), errno.ENAMETOOLONG)
    return name.ljust(_ARGUMENT_BYTES - 8, b"\0")


def _ioctl(path: Path, request: int, argument: bytearray, call: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, request, argument, True)
        finally:
            os.close(fd)
    except OSError as exc:
        raise KernelFault(call, str(path), exc.errno or 0) from exc
