"""What malloc(3) takes for threads."""

import ctypes
from typing import Final

from wherryd.sys.libc import libc

#: Source: mallopt(3), malloc.h.
_M_ARENA_MAX: Final = -8


def share_one_arena() -> None:
    """For a process of many short-lived threads, before the first: each would get a heap of its own, which
    stays. Python's threads take turns anyway."""
    libc.mallopt(ctypes.c_int(_M_ARENA_MAX), ctypes.c_int(1))
