"""Locks, processes and the control socket on Linux and macOS; `_windows.py` has the same functions."""

from __future__ import annotations

import os
import sys
import time

assert sys.platform != "win32"  # noqa: S101 - tells the type checker which platforms this file is for

import fcntl  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Sequence

#: How often a taken lock is tried again, in seconds.
RETRY_S = 0.02
#: QEMU before 8.2 reads and writes a saved state only through a descriptor it was given.
STATE_BY_DESCRIPTOR: bool = True


def acquire(path: str, *, wait_s: float) -> int:
    """Takes the lock file, made when missing. Returns the descriptor that holds it. Raises TimeoutError.

    flock(2) belongs to the open file, not to the process: a child that inherits the descriptor keeps the lock
    after its parent is gone. This is how `running` stays held for exactly as long as QEMU or its supervisor
    lives.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise TimeoutError(path) from None
            time.sleep(RETRY_S)


def release(descriptor: int) -> None:
    os.close(descriptor)


def is_held(path: str) -> bool:
    """Whether some process holds the lock. Takes a shared lock for an instant, so two askers never see each
    other."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def spawn(argv: Sequence[str], *, folder: str, log: str, keep: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own, output to the end of `log`. keep: descriptors it inherits."""
    import subprocess

    with open(log, "ab") as output:
        return subprocess.Popen(
            list(argv),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=tuple(keep),
        )


def children_s() -> float:
    """Seconds of processor time of all ended child processes; only differences mean something."""
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def kill(pid: int) -> None:
    """SIGKILL. A process that is gone already is fine."""
    import signal

    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def connect_control(folder: str, door: str, *, timeout_s: float) -> socket.socket:
    """Connects to QEMU's control socket `qmp.sock` in folder. Raises OSError.

    By a relative name from inside the folder: a socket's path holds 104 bytes on macOS and 108 on Linux, and
    a user's folder may be deeper. This command has one thread, so a change of folder disturbs nobody.
    """
    import socket

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder)
        connection.connect(door)
    except BaseException:
        connection.close()
        raise
    finally:
        os.fchdir(here)
        os.close(here)
    return connection


def control_door() -> tuple[str, str]:
    """Where a new QEMU listens: (our name for connect_control, QEMU's chardev options, relative to the
    folder)."""
    return "qmp.sock", "socket,id=qmp,path=qmp.sock,server=on,wait=off"


def send_with_descriptor(connection: socket.socket, data: bytes, descriptor: int) -> None:
    """Sends data, and the open file with it (SCM_RIGHTS). Raises OSError."""
    import socket

    socket.send_fds(connection, [data], [descriptor])


def search_domains(resolv_conf: str = "/etc/resolv.conf") -> list[str]:
    """Where the host looks names up that have no dot: the last `search` or `domain` line. resolv.conf(5)"""
    found: list[str] = []
    try:
        with open(resolv_conf, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                keyword, *domains = line.split() or [""]
                if keyword in ("search", "domain"):
                    found = domains
    except OSError:
        return []
    return found
