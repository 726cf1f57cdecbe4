"""Locks, background processes and named pipes on Windows. Same names as `_posix`.

Type-checked with `--platform win32`; not yet run on a Windows machine.
"""

import asyncio
import msvcrt
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

assert sys.platform == "win32"  # noqa: S101 - tells the type checker to skip this file elsewhere


def make_private_folder(path: Path) -> None:
    """Makes the folder and its parents. Folders below the user's profile are private by their ACL."""
    path.mkdir(parents=True, exist_ok=True)


def try_lock(descriptor: int) -> bool:
    """Locks the file's first byte without waiting. False when another process holds it."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except PermissionError:
        return False
    except OSError as exc:
        if exc.errno == 36:  # EDEADLOCK of the C runtime: held by another process
            return False
        raise
    return True


def spawn_detached(argv: Sequence[str], *, log: Path, env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Starts a process without a console and in a group of its own, so that Ctrl-C does not reach it."""
    flags = (
        subprocess.DETACHED_PROCESS
        | subprocess.CREATE_NEW_PROCESS_GROUP
        | subprocess.CREATE_BREAKAWAY_FROM_JOB
    )
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(env),
            close_fds=True,
            creationflags=flags,
        )


def end_process(pid: int) -> None:
    """Ends a process by id; one that is gone already is fine."""
    try:
        os.kill(pid, signal.SIGTERM)  # TerminateProcess
    except OSError as exc:
        if exc.winerror not in (5, 87):  # access denied while it ends, no such process
            raise


def connect_local(socket_path: Path, pipe: str, *, timeout_seconds: float) -> BinaryIO:  # noqa: ARG001
    """A connection to a local server, as an unbuffered binary file. Raises OSError.

    Opening a pipe either works or fails at once; reads have no time limit of their own here, and the agent
    answers every control request in one step.
    """
    return cast(BinaryIO, open(pipe, "r+b", buffering=0))  # noqa: PTH123 - a pipe is no Path


class LocalServer:
    """A listening named pipe. Closing twice is fine."""

    def __init__(self, servers: list[Any]) -> None:
        self._servers = servers

    def close(self) -> None:
        for server in self._servers:
            server.close()


async def serve_local(
    socket_path: Path,  # noqa: ARG001
    pipe: str,
    factory: Callable[[], asyncio.Protocol],
) -> LocalServer:
    """Listens on a named pipe. asyncio makes it in message mode: an empty message is docker's half-close."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.ProactorEventLoop):
        raise TypeError("named pipes need asyncio's proactor loop")
    # Any protocol will do; the stubs name only the one that asyncio's streams use.
    servers = await cast(Any, loop).start_serving_pipe(factory, pipe)
    return LocalServer(list(servers))
