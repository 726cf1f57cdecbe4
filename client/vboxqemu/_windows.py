"""Locks, processes and the control socket on Windows; `_posix.py` has the same functions and says more."""

from __future__ import annotations

import os
import sys
import time

assert sys.platform == "win32"  # noqa: S101 - tells the type checker which platform this file is for

import msvcrt  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Sequence

RETRY_S = 0.02
#: No descriptors over sockets here; QEMU 8.2 and later open the file by name.
STATE_BY_DESCRIPTOR: bool = False


def acquire(path: str, *, wait_s: float) -> int:
    """A byte lock; the system drops it when the process ends. The supervisor holds `running` for QEMU
    here."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            return descriptor
        except OSError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise TimeoutError(path) from None
            time.sleep(RETRY_S)


def release(descriptor: int) -> None:
    os.close(descriptor)


def is_held(path: str) -> bool:
    if not os.path.exists(path):
        return False
    try:
        release(acquire(path, wait_s=0.1))
    except TimeoutError:
        return True
    return False


def spawn(argv: Sequence[str], *, folder: str, log: str, keep: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    import subprocess

    del keep  # locks are not inherited here: the supervisor takes its own
    with open(log, "ab") as output:
        return subprocess.Popen(
            list(argv),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS,
        )


def children_s() -> float:
    """A clock, since Windows does not add up what child processes used; only differences mean something."""
    return time.monotonic()


def kill(pid: int) -> None:
    import signal

    try:
        os.kill(pid, signal.SIGTERM)  # TerminateProcess
    except OSError:
        return


def connect_control(folder: str, door: str, *, timeout_s: float) -> socket.socket:
    import socket

    del folder
    return socket.create_connection(("127.0.0.1", int(door.partition(":")[2])), timeout=timeout_s)


def control_door() -> tuple[str, str]:
    """A free loopback port: neither Python nor older QEMU has unix sockets here. Any local user could
    connect."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"tcp:{port}", f"socket,id=qmp,host=127.0.0.1,port={port},server=on,wait=off"


def send_with_descriptor(connection: socket.socket, data: bytes, descriptor: int) -> None:
    del connection, data, descriptor
    raise OSError("this platform passes no open files over sockets")


def search_domains() -> list[str]:
    """Where the host looks names up that have no dot: the suffix list of its TCP/IP settings (SearchList)."""
    import winreg

    path = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
            listed = str(winreg.QueryValueEx(key, "SearchList")[0])
    except OSError:
        return []
    return [each.strip() for each in listed.split(",") if each.strip()]
