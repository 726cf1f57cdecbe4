"""Capabilities: names, and capget(2)/capset(2) with the bounding and ambient sets.

Numbers: linux/capability.h. A kernel may know fewer; `last_capability` says how many.
"""

import ctypes
import struct
from collections.abc import Iterable
from typing import Final

from wherryd.errors import InvalidParameter, KernelFault
from wherryd.sys import process
from wherryd.sys.libc import check, function

NAMES: Final = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
NUMBERS: Final = {name: number for number, name in enumerate(NAMES)}

_VERSION_3 = 0x20080522
_capget = function("capget", ctypes.c_void_p, ctypes.c_void_p)
_capset = function("capset", ctypes.c_char_p, ctypes.c_char_p)


def mask(names: Iterable[str]) -> int:
    """Names as a bit set. Raises InvalidParameter on a name Linux does not have."""
    bits = 0
    for name in names:
        if name not in NUMBERS:
            raise InvalidParameter(f"unknown capability {name!r}: see capabilities(7) for the names")
        bits |= 1 << NUMBERS[name]
    return bits


def names(bits: int) -> tuple[str, ...]:
    """The bit set's names, in the kernel's order."""
    return tuple(name for number, name in enumerate(NAMES) if bits >> number & 1)


def bounding_set() -> int:
    """This process's bounding set: what a container can be given at most."""
    bits = 0
    for number in range(len(NAMES)):
        try:
            bits |= process.prctl(process.PR_CAPBSET_READ, number) << number
        except KernelFault:  # EINVAL: the kernel is older than this capability
            break
    return bits


def drop_bounding_set(keep: int) -> None:
    """Drops everything but keep, for good. Needs CAP_SETPCAP. Raises KernelFault."""
    for number in range(len(NAMES)):
        if not keep >> number & 1 and _in_bounding_set(number):
            process.prctl(process.PR_CAPBSET_DROP, number)


def _in_bounding_set(number: int) -> bool:
    try:
        return bool(process.prctl(process.PR_CAPBSET_READ, number))
    except KernelFault:
        return False


def capset(*, effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) on this thread. Raises KernelFault: EPERM when permitted would grow."""
    header = struct.pack("=Ii", _VERSION_3, 0)
    low = (effective & 0xFFFFFFFF, permitted & 0xFFFFFFFF, inheritable & 0xFFFFFFFF)
    high = (effective >> 32, permitted >> 32, inheritable >> 32)
    check(_capset(header, struct.pack("=6I", *low, *high)), "capset", f"{permitted:#x}")


def capget() -> tuple[int, int, int]:
    """(effective, permitted, inheritable) of this thread."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0), 8)
    data = ctypes.create_string_buffer(24)
    check(_capget(ctypes.addressof(header), ctypes.addressof(data)), "capget", "")
    low_e, low_p, low_i, high_e, high_p, high_i = struct.unpack("=6I", data.raw)
    return low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32


def set_ambient(bits: int) -> None:
    """The ambient set; each must be permitted and inheritable. Raises KernelFault."""
    process.prctl(process.PR_CAP_AMBIENT, process.PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(len(NAMES)):
        if bits >> number & 1:
            process.prctl(process.PR_CAP_AMBIENT, process.PR_CAP_AMBIENT_RAISE, number)
