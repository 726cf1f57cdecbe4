"""Locks, background processes and local sockets on Linux and macOS. Same names as `_windows`."""

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

assert sys.platform != "win32"  # noqa: S101 - tells the type checker to skip this file there


def make_private_folder(path: Path) -> None:
    """Makes the folder, and its parents, for this user only (mode 0700). One that exists is left as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def try_lock(descriptor: int) -> bool:
    """flock(2), exclusive, without waiting. False when another process holds it.

    The lock goes with the descriptor: the kernel drops it when the process ends, however it ends.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def spawn_detached(argv: Sequence[str], *, log: Path, env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Starts a process of its own session, so that the terminal's Ctrl-C and hang-up do not reach it."""
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(env),
            cwd="/",
            start_new_session=True,
        )


def end_process(pid: int) -> None:
    """Kills a process by id; one that is gone already is fine."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def connect_local(socket_path: Path, pipe: str, *, timeout_seconds: float) -> BinaryIO:  # noqa: ARG001
    """A connection to a local server, as an unbuffered binary file. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_seconds)
        connection.connect(str(socket_path))
        return cast(BinaryIO, connection.makefile("rwb", buffering=0))
    finally:
        connection.close()  # the file keeps the descriptor alive


class LocalServer:
    """A listening unix socket. `close` stops it and removes its file; closing twice is fine."""

    def __init__(self, server: asyncio.Server, path: Path) -> None:
        self._server = server
        self._path = path

    def close(self) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)


async def serve_local(
    socket_path: Path,
    pipe: str,  # noqa: ARG001
    factory: Callable[[], asyncio.Protocol],
) -> LocalServer:
    """Listens on a unix socket that only this user may open.

    A file left behind by a killed agent is replaced: the caller holds the machine's agent lock, so nobody
    listens on it. Raises OSError, for example when the path is too long for a socket.
    """
    make_private_folder(socket_path.parent)
    socket_path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(socket_path))
        socket_path.chmod(0o600)
        server = await asyncio.get_running_loop().create_unix_server(factory, sock=listener, backlog=512)
    except BaseException:
        listener.close()
        raise
    return LocalServer(server, socket_path)
