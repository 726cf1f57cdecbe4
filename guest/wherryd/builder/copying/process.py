"""The engine's end of the copying children: the process they are forked from (server.py), an order for each.

A fresh interpreter takes a tenth of a second, in a slow machine more than one; so the process stays for a
while after a build, for the next.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from typing import Any

from wherryd.builder.copying.order import CopyOrder, encode
from wherryd.errors import InvalidParameter, SystemFault
from wherryd.images.together import uninterrupted

_START = """
import sys
sys.path[:] = sys.argv.pop(1).split(":")
from wherryd.builder.copying.server import main
main()
"""
#: How long it waits for another order: a developer builds again after some minutes, or not for hours.
_PATIENCE_SECONDS = 600.0
_PAUSE_SECONDS = 0.002
_ANSWER_BYTES = 128 * 1024


class Copiers:
    """`carry_out` for any number at once; `close` at the end."""

    def __init__(self) -> None:
        self._server: _Server | None = None
        self._starting = asyncio.Lock()
        self._warming: asyncio.Task[object] | None = None
        self._under_way = 0
        self._timer: asyncio.TimerHandle | None = None

    def warm(self) -> None:
        """An order is to be expected."""
        if self._server is None and self._warming is None:
            self._warming = asyncio.ensure_future(self._running())
            self._warming.add_done_callback(self._warmed)

    def _warmed(self, task: asyncio.Task[object]) -> None:
        self._warming = None
        if not task.cancelled():
            task.exception()  # who comes with an order gets one of its own

    async def carry_out(self, order: CopyOrder) -> str:
        """The digest that was asked for, or "". Raises InvalidParameter for what the Dockerfile asks wrongly,
        SystemFault."""
        self._under_way += 1
        try:
            answer = await self._answer(order)
        finally:
            self._under_way -= 1
            self._rest()
        if "error" not in answer:
            return str(answer.get("digest", ""))
        if answer["fault"] == "user":
            raise InvalidParameter(f"{order.keyword} failed: {answer['error']}")
        raise SystemFault(f"{order.keyword} failed: {answer['error']}")

    async def _answer(self, order: CopyOrder) -> dict[str, Any]:
        for _ in range(2):
            server = await self._running()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            ours.setblocking(False)
            with ours:
                with theirs:
                    asked = await server.ask(theirs)
                pidfd = await _pidfd(ours) if asked else -1
                if pidfd >= 0:
                    return await _Child(ours, pidfd).answer(order)
            # It was killed, or cannot fork. A new one takes its place.
            await self._stop()
        raise SystemFault("no process for copying could be started; free memory and build again")

    async def _running(self) -> "_Server":
        async with self._starting:
            if self._server is None:
                self._server = await _Server.start()
                self._rest()
            return self._server

    def _rest(self) -> None:
        """Begins to wait for the next order."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self._under_way:
            self._rest()
        else:
            self._warming = asyncio.ensure_future(self._stop())
            self._warming.add_done_callback(self._warmed)

    async def _stop(self) -> None:
        async with self._starting:
            server, self._server = self._server, None
            if server is not None:
                await uninterrupted(server.stop())

    async def close(self) -> None:
        """Children under way end with the builds they belong to."""
        await self._stop()
        if self._timer is not None:
            self._timer.cancel()


class _Server:
    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process = process
        self._control = control

    @classmethod
    async def start(cls) -> "_Server":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", _START),
                ":".join(entry for entry in sys.path if entry),
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={"LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, ours)

    async def ask(self, job: socket.socket) -> bool:
        """Whether it is there to be asked for a child that serves job."""
        while True:
            try:
                socket.send_fds(self._control, [b"f"], [job.fileno()])
            except BlockingIOError:
                await asyncio.sleep(_PAUSE_SECONDS)  # its queue is full, it still starts
            except OSError:
                return False
            else:
                return True

    async def stop(self) -> None:
        """It ends by itself when the socket does."""
        self._control.close()
        await self._process.wait()


class _Child:
    """pidfd: becomes its own."""

    def __init__(self, job: socket.socket, pidfd: int) -> None:
        self._job = job
        self._pidfd = pidfd

    async def answer(self, order: CopyOrder) -> dict[str, Any]:
        """When it has ended, and the mounts that it saw with it. Raises SystemFault."""
        try:
            data = await self._ask(order)
        except BaseException:
            # Cancelled: the files it was copying go with their snapshot.
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            raise
        finally:
            await uninterrupted(_readable(self._pidfd))
            os.close(self._pidfd)
        if not data:
            raise SystemFault("the copying process ended without a result; free memory and retry")
        answer: dict[str, Any] = json.loads(data)
        return answer

    async def _ask(self, order: CopyOrder) -> bytes:
        loop = asyncio.get_running_loop()
        data = b""
        try:
            await loop.sock_sendall(self._job, encode(order))
            self._job.shutdown(socket.SHUT_WR)
            while more := await loop.sock_recv(self._job, _ANSWER_BYTES):
                data += more
        except ConnectionError:
            return b""
        return data


async def _pidfd(job: socket.socket) -> int:
    """-1 when there is no child."""
    await _readable(job.fileno())
    try:
        _, descriptors, _, _ = socket.recv_fds(job, 1, 1)
    except ConnectionError:
        return -1
    return descriptors[0] if descriptors else -1


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(descriptor, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(descriptor)
