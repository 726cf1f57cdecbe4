"""Starts the child, gives it its order, and carries bytes both ways.

A fresh interpreter: the engine has threads.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

from wherryd.containers.archive.errors import Fault
from wherryd.containers.archive.order import ArchiveOrder, Job, Verb
from wherryd.errors import EngineError, Forbidden, InvalidParameter, NotFound, SystemFault
from wherryd.images.unpack.pipe import PipeReader, PipeWriter

_START = """
import sys
sys.path[:] = sys.argv.pop(1).split(":")
from wherryd.containers.archive.child import main
main()
"""
_MAX_MESSAGE_BYTES = 128 * 1024
#: What a child that was cut off gets to remove its half-made file; then it is killed.
_TIDY_SECONDS = 5.0


class ArchiveProcess:
    """One order under way: `start`, `found`, then `chunks` or `feed`, then `finish`; `abort` at any time.

    Whoever starts it calls abort at the end in any case; it may come twice.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        control: socket.socket,
        output: PipeReader | None,
        entry: PipeWriter | None,
    ) -> None:
        #: Of the child, for logs and tests.
        self.pid = process.pid
        self._process = process
        self._control = control
        self._output = output
        self._input = entry
        self._finished = False

    @classmethod
    async def start(cls, order: ArchiveOrder) -> "ArchiveProcess":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        outgoing = order.verb in (Verb.PACK, Verb.EXPORT)
        reading, writing = os.pipe() if order.verb is not Verb.STAT else (-1, -1)
        near, far = (reading, writing) if outgoing else (writing, reading)
        passed = [theirs.fileno(), *([order.view.pidfd] if order.view.pidfd >= 0 else [])]
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-X", "utf8", "-c", _START),
                ":".join(entry for entry in sys.path if entry),
                Job(order, theirs.fileno()).encode(),
                stdin=far if order.verb is Verb.EXTRACT else asyncio.subprocess.DEVNULL,
                stdout=far if outgoing else asyncio.subprocess.DEVNULL,
                pass_fds=passed,
                env={"LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            if near >= 0:
                os.close(near)
            raise
        finally:
            theirs.close()
            if far >= 0:
                os.close(far)
        return cls(
            process,
            ours,
            PipeReader(near) if outgoing else None,
            PipeWriter(near) if order.verb is Verb.EXTRACT else None,
        )

    async def _answer(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            message = await loop.sock_recv(self._control, _MAX_MESSAGE_BYTES)
        except ConnectionError:
            message = b""
        if not message:
            status = await self._process.wait()
            raise SystemFault(
                f"the copying process ended with status {status} and no result (hint: see the engine's log, "
                "free memory)"
            )
        answer: dict[str, Any] = json.loads(message)
        if "error" in answer:
            self._finished = True
            raise _error(answer)
        return answer

    async def found(self) -> dict[str, Any]:
        """What is at the path. Raises NotFound with the path, InvalidParameter, Forbidden, SystemFault."""
        stat: dict[str, Any] = (await self._answer())["stat"]
        return stat

    async def chunks(self) -> AsyncIterator[bytes]:
        """The archive that goes out, to its end. Raises what `finish` raises."""
        assert self._output is not None, "only an archive that goes out is read"  # noqa: S101
        async for data in self._output.chunks():
            yield data
        await self.finish()

    async def feed(self, data: bytes) -> None:
        """A piece of the archive that comes in. Waits while the child is behind. Raises as `finish`."""
        assert self._input is not None, "only an archive that comes in is written"  # noqa: S101
        try:
            await self._input.write(data)
        except BrokenPipeError:
            await self.finish()

    async def finish(self) -> None:
        """Waits for the end. Raises InvalidParameter, Forbidden, SystemFault."""
        if self._finished:
            return
        if self._input is not None:
            self._input.close()
        await self._answer()
        self._finished = True
        await self._process.wait()

    async def abort(self) -> None:
        """An archive that came in only partly is noticed as one that ends early: what is half-made goes."""
        for end in (self._output, self._input):
            if end is not None:
                end.close()
        if self._process.returncode is None and not self._finished:
            if self._input is not None:
                await self._let_tidy_up()
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        self._control.close()

    def interrupt(self) -> None:
        """Ends the child from outside; who reads or feeds it is told by an error. May come twice."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _let_tidy_up(self) -> None:
        with contextlib.suppress(EngineError, TimeoutError):
            async with asyncio.timeout(_TIDY_SECONDS):
                await self._answer()


def _error(answer: dict[str, Any]) -> EngineError:
    kinds = {Fault.MISSING: NotFound, Fault.WISH: InvalidParameter, Fault.READ_ONLY: Forbidden}
    return kinds.get(Fault(answer["fault"]), SystemFault)(answer["error"])
