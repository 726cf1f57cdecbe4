"""The device mapper by ioctl(2), without dmsetup. Source: linux/dm-ioctl.h; Documentation/admin-guide/
device-mapper/thin-provisioning.rst.

A device is created, gets a table, and is resumed, which makes the table the live one. Its node is
/dev/dm-<minor>, made by the kernel's devtmpfs.
"""

import errno
import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wherryd.errors import KernelFault

CONTROL: Final = Path("/dev/mapper/control")

DM_DEV_CREATE: Final = 3
DM_DEV_REMOVE: Final = 4
DM_DEV_SUSPEND: Final = 6
DM_DEV_STATUS: Final = 7
DM_TABLE_LOAD: Final = 9
DM_TABLE_STATUS: Final = 12
DM_LIST_VERSIONS: Final = 13
DM_TARGET_MSG: Final = 14

DM_READONLY_FLAG: Final = 1 << 0
DM_SUSPEND_FLAG: Final = 1 << 1

# struct dm_ioctl: version, data_size, data_start, target_count, open_count, flags, event_nr, padding, dev,
# name, uuid, data.
_HEADER = struct.Struct("=3I3Ii3IQ128s129s7x")
# struct dm_target_spec: sector_start, length, status, next, target_type.
_TARGET = struct.Struct("=QQiI16s")
_ANSWER_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """One line of a table. sectors: of 512 bytes."""

    kind: str
    sectors: int
    parameters: str
    start: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """node: /dev/dm-<minor>. open_count: how many mounts and programs have it open."""

    node: Path
    open_count: int


def versions() -> dict[str, tuple[int, int, int]]:
    """The kinds of targets this kernel has now. Raises KernelFault: ENOENT without a device mapper."""
    data = _ioctl(DM_LIST_VERSIONS, "")[1]
    found, offset = {}, 0
    while offset + 16 <= len(data):
        step, *version = struct.unpack_from("=4I", data, offset)
        name = data[offset + 16 :].partition(b"\0")[0].decode()
        if not name:
            break
        found[name] = (version[0], version[1], version[2])
        if not step:
            break
        offset += step
    return found


def status(name: str) -> Device | None:
    """None when there is no such device."""
    try:
        return _device(_ioctl(DM_DEV_STATUS, name)[0])
    except KernelFault as exc:
        if exc.errno == errno.ENXIO:
            return None
        raise


def create(name: str, table: list[Target], *, read_only: bool = False) -> Device:
    """A live device. Raises KernelFault: EBUSY when there is one of that name, EINVAL for a bad table."""
    _ioctl(DM_DEV_CREATE, name)
    try:
        flags = DM_READONLY_FLAG if read_only else 0
        _ioctl(DM_TABLE_LOAD, name, flags=flags, data=_table(table), targets=len(table))
        return _device(_ioctl(DM_DEV_SUSPEND, name)[0])  # without the flag: resume
    except BaseException:
        remove(name)
        raise


def suspend(name: str) -> None:
    """Writes out what is on the way, a mounted file system included, and holds further input."""
    _ioctl(DM_DEV_SUSPEND, name, flags=DM_SUSPEND_FLAG)


def resume(name: str) -> None:
    _ioctl(DM_DEV_SUSPEND, name)


def remove(name: str) -> None:
    """Raises KernelFault: EBUSY while it is open, ENXIO when there is none."""
    _ioctl(DM_DEV_REMOVE, name)


def message(name: str, text: str) -> None:
    """To the target at sector 0. Raises KernelFault with what the target says of it."""
    _ioctl(DM_TARGET_MSG, name, data=struct.pack("=Q", 0) + text.encode() + b"\0")


def table_status(name: str) -> str:
    """The first target's status line: what `dmsetup status` prints behind the kind."""
    data = _ioctl(DM_TABLE_STATUS, name)[1]
    return data[_TARGET.size :].partition(b"\0")[0].decode()


def _table(table: list[Target]) -> bytes:
    out = b""
    for target in table:
        text = target.parameters.encode() + b"\0"
        text += bytes(-len(text) % 8)
        following = _TARGET.size + len(text)
        out += _TARGET.pack(target.start, target.sectors, 0, following, target.kind.encode()) + text
    return out


def _device(header: bytes) -> Device:
    fields = _HEADER.unpack(header)
    return Device(Path(f"/dev/dm-{os.minor(fields[10])}"), fields[6])


def _ioctl(
    command: int, name: str, *, flags: int = 0, data: bytes = b"", targets: int = 0
) -> tuple[bytes, bytes]:
    """(header, data) of the answer."""
    size = max(_HEADER.size + len(data), _ANSWER_BYTES)
    header = _HEADER.pack(*(4, 0, 0, size, _HEADER.size, targets, 0, flags, 0, 0, 0), name.encode(), b"")
    buffer = bytearray((header + data).ljust(size, b"\0"))
    request = 0xC0000000 | _HEADER.size << 16 | 0xFD << 8 | command
    try:
        control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(control, request, buffer, True)
        finally:
            os.close(control)
    except OSError as exc:
        raise KernelFault(f"device mapper command {command}", name or str(CONTROL), exc.errno or 0) from exc
    start = struct.unpack_from("=I", buffer, 16)[0]
    return bytes(buffer[: _HEADER.size]), bytes(buffer[start:])
