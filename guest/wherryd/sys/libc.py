"""How the other modules here reach the kernel: libc's functions, and raw calls libc has no name for.

Every call raises KernelFault with the call's name, what it was applied to and the errno. Prototypes
are set once, at import: after a process has entered a container's root nothing is looked up any more.
"""

import ctypes
import os
from collections.abc import Callable
from typing import Any, Final

from wherryd.errors import KernelFault

libc: Final = ctypes.CDLL(None, use_errno=True)

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000

# Calls before 424 have a number per architecture. Source: asm/unistd_64.h, asm-generic/unistd.h.
NR_BPF: Final = {"x86_64": 321, "aarch64": 280}.get(os.uname().machine, 280)
NR_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}.get(os.uname().machine, 277)

_syscall = libc.syscall
_syscall.restype = ctypes.c_long


def function(name: str, *argtypes: Any) -> Callable[..., int]:
    """A libc function that returns -1 and sets errno on failure."""
    entry = getattr(libc, name)
    entry.argtypes = argtypes
    entry.restype = ctypes.c_int
    return entry  # type: ignore[no-any-return]


def check(result: int, call: str, subject: str) -> int:
    """The result, or KernelFault when it is -1."""
    if result == -1:
        raise KernelFault(call, subject, ctypes.get_errno())
    return result


def syscall(number: int, call: str, subject: str, *arguments: Any) -> int:
    """A raw system call; arguments are ctypes values, each passed as a full register."""
    return check(_syscall(ctypes.c_long(number), *arguments), call, subject)


def register(value: int) -> ctypes.c_ulong:
    """An integer as syscall(2) wants it: a whole register, so that no upper half is left undefined."""
    return ctypes.c_ulong(value & 0xFFFFFFFFFFFFFFFF)
