"""What a process may set about itself: prctl(2), close_range(2), fchdir's check."""

import ctypes
from typing import Final

from wherryd.sys.libc import check, function, register, syscall

# linux/prctl.h
PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_KEEPCAPS: Final = 8
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_RAISE: Final = 2
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
PR_SET_NAME: Final = 15

# linux/close_range.h
CLOSE_RANGE_CLOEXEC: Final = 4

_NR_CLOSE_RANGE = 436
_prctl = function("prctl", ctypes.c_int, *[ctypes.c_ulong] * 4)
_setfsuid = function("setfsuid", ctypes.c_uint)
_setfsgid = function("setfsgid", ctypes.c_uint)


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2) with numbers. Raises KernelFault."""
    return check(_prctl(option, arg2, arg3, arg4, arg5), "prctl", str(option))


def setfsuid(uid: int) -> None:
    """setfsuid(2) of this thread. It tells no error: without CAP_SETUID nothing happens."""
    _setfsuid(uid)


def setfsgid(gid: int) -> None:
    """setfsgid(2), likewise."""
    _setfsgid(gid)


def set_name(name: str) -> None:
    """The name ps and top show, cut to 15 bytes."""
    text = ctypes.create_string_buffer(name.encode()[:15])
    check(_prctl(PR_SET_NAME, ctypes.addressof(text), 0, 0, 0), "prctl", "PR_SET_NAME")


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """close_range(2). With CLOSE_RANGE_CLOEXEC they are closed at exec. Linux 5.9 (5.11 for the flag)."""
    syscall(
        _NR_CLOSE_RANGE, "close_range", f"{first}..{last}", register(first), register(last), register(flags)
    )
