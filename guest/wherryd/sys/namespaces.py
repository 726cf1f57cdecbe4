"""Namespaces: unshare(2), setns(2), clone(2) for what only a new process can make, the UTS namespace's names.

Python has os.unshare and os.setns from 3.12 on; we also run on 3.11.
"""

import contextlib
import ctypes
import mmap
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from wherryd.errors import KernelFault
from wherryd.sys.libc import check, function, libc

Result = TypeVar("Result")

# linux/sched.h
CLONE_NEWTIME: Final = 0x00000080
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
_CLONE_VM: Final = 0x00000100

_STACK_BYTES: Final = 64 * 1024
#: How long a sleeper is there at most, in microseconds: the first one, and the one after a miss.
_SLEEPS_US: Final = (300_000, 5_000_000)

_unshare = function("unshare", ctypes.c_int)
_setns = function("setns", ctypes.c_int, ctypes.c_int)
_clone = function("clone", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_usleep = ctypes.cast(libc.usleep, ctypes.c_void_p)
_sethostname = function("sethostname", ctypes.c_char_p, ctypes.c_size_t)
_setdomainname = function("setdomainname", ctypes.c_char_p, ctypes.c_size_t)


def unshare(flags: int) -> None:
    """unshare(2). CLONE_NEWPID and CLONE_NEWTIME take effect for children only. Raises KernelFault:
    EPERM, ENOSPC (a limit of user namespaces), EINVAL (the kernel was built without it)."""
    check(_unshare(flags), "unshare", f"{flags:#x}")


def setns(fd: int, nstype: int, subject: str = "") -> None:
    """setns(2). fd: a namespace file, or a pidfd with a mask of CLONE_NEW* (Linux 5.8)."""
    check(_setns(fd, nstype), "setns", subject or f"{nstype:#x}")


def with_sleeper(flags: int, use: Callable[[int], Result]) -> Result:
    """use(pid) with a process in new namespaces (CLONE_NEW*), which does nothing and ends afterwards.

    On a machine that stalls the process may have ended before use was done with it; then use is called once
    more, with another that is there for longer, so it must leave nothing behind where it fails. Raises
    KernelFault as unshare does, and what use raises.
    """
    for last, sleep_us in zip((False, True), _SLEEPS_US, strict=True):
        with _sleeper(flags, sleep_us) as pid:
            try:
                return use(pid)
            except (OSError, KernelFault):
                if last or not _has_ended(pid):
                    raise
    raise AssertionError("the last one returns or raises")


def _has_ended(pid: int) -> bool:
    """Of a child that nobody has waited for."""
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, pid, options) is not None


@contextmanager
def _sleeper(flags: int, sleep_us: int) -> Iterator[int]:
    """The pid of a new process in new namespaces, which ends with the block.

    A user namespace cannot be unshared by a process with threads, and a fork of one is not safe. This child
    shares our memory, runs no Python, and sleeps inside libc: so it costs no copy of anything, and does not
    touch what is ours. It ends by itself, as it holds our files open: who kills us must not have to wait.
    """
    with mmap.mmap(-1, _STACK_BYTES) as stack:
        view = (ctypes.c_char * _STACK_BYTES).from_buffer(stack)
        top = ctypes.addressof(view) + _STACK_BYTES - 16
        # A handler of ours must not run over there.
        masked = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        try:
            pid = check(
                _clone(_usleep, top, flags | _CLONE_VM | signal.SIGCHLD, sleep_us),
                "clone",
                f"{flags:#x}",
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # where SIGCHLD is ignored
                os.waitpid(pid, 0)
            del view


def sethostname(name: str) -> None:
    """sethostname(2). Raises KernelFault: EINVAL when longer than 64 bytes."""
    raw = name.encode()
    check(_sethostname(raw, len(raw)), "sethostname", name)


def setdomainname(name: str) -> None:
    """setdomainname(2). Raises KernelFault: EINVAL when longer than 64 bytes."""
    raw = name.encode()
    check(_setdomainname(raw, len(raw)), "setdomainname", name)
