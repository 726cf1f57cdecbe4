"""The client's end of the zygote: starting it, asking it, starting it again when it was killed."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from wherryd.errors import RuntimeFault
from wherryd.runtime import selfexe
from wherryd.runtime.request import FORK, READY

_START_TIMEOUT_S: Final = 60.0
_END_TIMEOUT_S: Final = 5.0
_PAUSE_S: Final = 0.002


class ZygoteProcess:
    """`start` returns at once; requests wait until the zygote has imported everything."""

    def __init__(self, exec_root: Path) -> None:
        self._exec_root = exec_root
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = asyncio.Lock()
        self._is_ready = False
        self._is_adopted = False

    def start(self) -> None:
        """A process of its own, not a fork: this one has threads and an event loop."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fd = theirs.fileno()
            # -P: no module from the working directory may take the place of ours.
            module = "wherryd.runtime.zygotestart"
            command = [sys.executable, "-P", "-m", module, str(fd), str(self._exec_root)]
            try:
                with selfexe.protected_interpreter() as interpreter:
                    self._process = subprocess.Popen(
                        command,
                        executable=interpreter,
                        pass_fds=(fd,),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        cwd="/",
                    )
            except OSError as error:
                ours.close()
                raise RuntimeFault(f"cannot start the zygote ({sys.executable}): {error.strerror}") from error
        ours.setblocking(False)
        self._control = ours
        self._is_ready = False
        self._is_adopted = False

    async def itself(self) -> socket.socket | None:
        """A control socket of the zygote, which holds monitors too; None when one was given out already.

        Raises RuntimeFault.
        """
        if self._is_adopted or self._control is None:
            return None
        self._is_adopted = True
        await self._wait_until_ready(self._control)
        return self._control.dup()

    async def fork(self) -> socket.socket:
        """Has a process of monitors forked; our end of its control socket. Raises RuntimeFault.

        When the zygote is killed before it comes to that, the socket is at its end at once.
        """
        for last_attempt in (False, True):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                with theirs:
                    await self._send(FORK, theirs)
            except (ConnectionError, RuntimeFault):
                ours.close()
                if last_attempt:
                    raise
                # It was killed. Monitors do not depend on it, so a new one takes its place.
                await self.stop()
                self.start()
            else:
                return ours
        raise AssertionError("unreachable")

    async def _send(self, payload: bytes, end: socket.socket) -> None:
        control = self._control
        if control is None:
            raise RuntimeFault("the runtime is not open: call RuntimeClient.open() first")
        await self._wait_until_ready(control)
        while True:
            try:
                socket.send_fds(control, [payload], [end.fileno()])
            except BlockingIOError:
                await asyncio.sleep(_PAUSE_S)  # its queue is full: it forks a few hundred a second
            else:
                return

    async def _wait_until_ready(self, control: socket.socket) -> None:
        async with self._ready:
            if self._is_ready:
                return
            try:
                async with asyncio.timeout(_START_TIMEOUT_S):
                    word = await asyncio.get_running_loop().sock_recv(control, 64)
            except TimeoutError as error:
                raise RuntimeFault(f"the zygote was not ready within {_START_TIMEOUT_S:g} s") from error
            if word != READY:
                raise RuntimeFault("the zygote ended while it started: see its message in the daemon's log")
            self._is_ready = True

    async def stop(self, *, lives_on: bool = False) -> None:
        """lives_on: it has containers, and is left alone with them. Done twice is fine."""
        if self._control is not None:
            self._control.close()
            self._control = None
        process, self._process = self._process, None
        if process is not None and lives_on:
            # Nobody is to wait for it, which Popen would complain about.
            process.returncode = 0
        elif process is not None:
            await asyncio.to_thread(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """It ends by itself when the control socket does."""
    try:
        process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_TIMEOUT_S)
