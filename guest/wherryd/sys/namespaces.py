"""Namespaces: unshare(2), setns(2), and the two names of the UTS namespace.

Python has os.unshare and os.setns from 3.12 on; we also run on 3.11.
"""

import ctypes
from typing import Final

from wherryd.sys.libc import check, function

# linux/sched.h
CLONE_NEWTIME: Final = 0x00000080
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

_unshare = function("unshare", ctypes.c_int)
_setns = function("setns", ctypes.c_int, ctypes.c_int)
_sethostname = function("sethostname", ctypes.c_char_p, ctypes.c_size_t)
_setdomainname = function("setdomainname", ctypes.c_char_p, ctypes.c_size_t)


def unshare(flags: int) -> None:
    """unshare(2). CLONE_NEWPID and CLONE_NEWTIME take effect for children only. Raises KernelFault:
    EPERM, ENOSPC (a limit of user namespaces), EINVAL (the kernel was built without it)."""
    check(_unshare(flags), "unshare", f"{flags:#x}")


def setns(fd: int, nstype: int, subject: str = "") -> None:
    """setns(2). fd: a namespace file, or a pidfd with a mask of CLONE_NEW* (Linux 5.8)."""
    check(_setns(fd, nstype), "setns", subject or f"{nstype:#x}")


def sethostname(name: str) -> None:
    """sethostname(2). Raises KernelFault: EINVAL when longer than 64 bytes."""
    raw = name.encode()
    check(_sethostname(raw, len(raw)), "sethostname", name)


def setdomainname(name: str) -> None:
    """setdomainname(2). Raises KernelFault: EINVAL when longer than 64 bytes."""
    raw = name.encode()
    check(_setdomainname(raw, len(raw)), "setdomainname", name)
