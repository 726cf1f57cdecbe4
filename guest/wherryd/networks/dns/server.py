"""One resolver's sockets: datagrams and connections in, answers out."""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

_log = logging.getLogger(__name__)
#: A client that keeps its connection and says nothing, in seconds (RFC 7766, section 6.2.3).
IDLE_SECONDS = 10.0
MAX_CONNECTIONS = 32
#: Questions of one container at work at one time; a flood is dropped, and its senders ask again.
MAX_PENDING = 512

#: (query, over TCP) -> the answer, or None for none.
Answer = Callable[[bytes, bool], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class Sockets:
    """A bound datagram socket and a listening one, both in the container's namespace."""

    udp: socket.socket
    tcp: socket.socket

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: "Server") -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an instance of it before Python 3.12, but with its methods.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._server.spawn(self._reply(self._transport, data, addr))

    async def _reply(self, transport: asyncio.DatagramTransport, data: bytes, addr: tuple[str, int]) -> None:
        answer = await self._server.answer(data, False)
        if answer is not None and not transport.is_closing():
            transport.sendto(answer, addr)

    def error_received(self, exc: Exception) -> None:
        _log.debug("resolver: %s", exc)  # a client that went away before its answer


class Server:
    """Serves from `start` to `close`; closing twice is fine, and closes the sockets."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._transport: asyncio.BaseTransport | None = None
        self._listener: asyncio.Server | None = None

    async def start(self, sockets: Sockets) -> None:
        """Takes the sockets over. Raises OSError with both closed."""
        loop = asyncio.get_running_loop()
        try:
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self), sock=sockets.udp
            )
            self._listener = await asyncio.start_server(self._converse, sock=sockets.tcp)
        except BaseException:
            self.close()
            sockets.close()
            raise

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._listener is not None:
            self._listener.close()
        for writer in self._writers:
            writer.close()
        for task in self._tasks:
            task.cancel()

    def spawn(self, work: Awaitable[None]) -> None:
        if len(self._tasks) >= MAX_PENDING:
            _log.debug("resolver: too many questions at once; one was dropped")
            work.close()  # type: ignore[attr-defined]  # a coroutine that never ran
            return
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("resolver: an answer failed", exc_info=task.exception())

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError):  # the client went away, or said nothing for long
                while True:
                    async with asyncio.timeout(IDLE_SECONDS):
                        (length,) = struct.unpack("!H", await reader.readexactly(2))
                        query = await reader.readexactly(length)
                    answer = await self.answer(query, True)
                    if answer is None:
                        return
                    writer.write(struct.pack("!H", len(answer)) + answer)
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.close()
