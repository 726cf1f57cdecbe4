"""One resolver's sockets: datagrams and connections in, answers out."""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from wherryd.networks.dns.receiver import Client, Port, Receiver
from wherryd.networks.dns.reply import Reply

_log = logging.getLogger(__name__)
#: A client that keeps its connection and says nothing, in seconds (RFC 7766, section 6.2.3).
IDLE_SECONDS = 10.0
MAX_CONNECTIONS = 32
#: Questions of one container to servers outside at one time; a flood is dropped, and its senders ask again.
MAX_PENDING = 512


@dataclass(frozen=True, slots=True)
class Sockets:
    """A bound datagram socket and a listening one, both in the container's namespace."""

    udp: socket.socket
    tcp: socket.socket

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


class Answers(Protocol):
    """Of one container."""

    def at_once(self, query: bytes, *, tcp: bool) -> Reply | None:
        """None for what takes a `forward`."""

    async def forward(self, query: bytes, *, tcp: bool) -> bytes: ...

    def revision(self) -> int:
        """Another number whenever a lasting reply may have become wrong. Any thread asks."""


class Server:
    """Serves from `start` to `close`; closing twice is fine, and closes the sockets. receiver: of the same
    event loop, for the datagrams."""

    def __init__(self, answers: Answers, receiver: Receiver) -> None:
        self._answers = answers
        self._receiver = receiver
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._port: Port | None = None
        self._listener: asyncio.Server | None = None

    async def start(self, sockets: Sockets) -> None:
        """Takes the sockets over. Raises OSError with both closed."""
        try:
            self._listener = await asyncio.start_server(self._converse, sock=sockets.tcp)
            port = Port(sockets.udp, self._missed, self._answers.revision)
            self._receiver.add(port)
            self._port = port
        except BaseException:
            self.close()
            sockets.close()
            raise

    def close(self) -> None:
        if self._port is not None:
            self._receiver.remove(self._port)
        if self._listener is not None:
            self._listener.close()
        for writer in self._writers:
            writer.close()
        for task in self._tasks:
            task.cancel()

    def _missed(self, query: bytes, client: Client) -> None:
        """A datagram whose answer the receiver does not know."""
        if self._port is None:
            return
        revision = self._answers.revision()
        reply = self._answers.at_once(query, tcp=False)
        if reply is None:
            self._spawn(self._forward(self._port, query, client))
        elif reply.message:
            self._port.send(reply.message, client)
            if reply.lasting:
                self._port.keep(query, reply, revision)

    async def _forward(self, port: Port, query: bytes, client: Client) -> None:
        port.send(await self._answers.forward(query, tcp=False), client)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= MAX_PENDING:
            _log.debug("resolver: too many questions at once; one was dropped")
            work.close()
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
                    reply = self._answers.at_once(query, tcp=True)
                    answer = reply.message if reply else await self._answers.forward(query, tcp=True)
                    if not answer:
                        return
                    writer.write(struct.pack("!H", len(answer)) + answer)
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.close()
