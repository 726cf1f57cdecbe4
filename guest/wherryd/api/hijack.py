"""Taking a connection over from HTTP: attach and exec turn it into a plain stream in both directions.

Source: Engine API, ContainerAttach, "Hijacking". With `Upgrade: tcp` the answer is 101, without it 200
and the raw bytes follow on the same connection. Half-close counts: a client that ends its input goes
on reading, so an end of input is not an end of the connection.
"""

import asyncio
import fcntl
import select
import termios
from dataclasses import dataclass

from wherryd.api import headers, history
from wherryd.http import web
from wherryd.http.messages import Channel

MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
RAW = "application/vnd.docker.raw-stream"
#: How long what follows a head waits for the client to read that.
_HEAD_MILLISECONDS = 50


@dataclass(frozen=True, slots=True)
class Connection:
    """The client's end. `closed` is done when the client is gone altogether."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    closed: "asyncio.Future[None]"

    def close(self) -> None:
        self.writer.close()

    def is_lost(self) -> bool:
        """Whether the peer is gone in both directions, as far as the kernel knows.

        After an end of input asyncio watches the socket no more; a full close looks the same to it.
        """
        if self.closed.done():
            return True
        socket = self.writer.get_extra_info("socket")
        if socket is None or socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(socket.fileno(), 0)
        return any(mask & (select.POLLHUP | select.POLLERR) for _, mask in poll.poll(0))


class HijackedResponse(web.StreamResponse):
    """Says that everything was said already, and that no request is to be read from the connection again."""

    is_taken_over = True


class _Protocol(asyncio.StreamReaderProtocol):
    """asyncio's stream protocol that also tells the HTTP connection when it is lost."""

    def __init__(self, reader: asyncio.StreamReader, former: Channel) -> None:
        super().__init__(reader)
        self._former = former
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._former.connection_lost(exc)
        if not self.closed.done():
            self.closed.set_result(None)


def content_type(request: web.Request, tty: bool) -> str:
    """What the answer calls the stream. Only upgraded connections since API 1.42 tell the two apart."""
    upgraded = "upgrade" in request.headers
    if upgraded and not tty and request["api_version"] >= history.MULTIPLEXED_TYPE:
        return MULTIPLEXED
    return RAW


async def take_over(request: web.Request, media_type: str) -> Connection:
    """Sends the header and hands over the connection, with the bytes that came early.

    Raises ConnectionResetError when the client has gone, InvalidParameter when its request has no end.
    """
    connection = await open_stream(request)
    connection.writer.write(_header(request, media_type))
    return connection


async def until_read(connection: Connection) -> None:
    """Until the client has taken the head, or a moment is over.

    docker-py reads the head through a buffer and the stream past it: bytes that follow at once, as those of a
    log do, are lost to it. The reference daemon is slower, mostly.
    """
    for _ in range(_HEAD_MILLISECONDS):
        socket = connection.writer.get_extra_info("socket")
        if socket is None or socket.fileno() < 0:
            return
        waiting = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4))
        if not any(waiting):
            return
        await asyncio.sleep(0.001)


async def open_stream(request: web.Request) -> Connection:
    """The connection without a word of an answer; what the client sent behind its request is not lost."""
    await request.read()
    former = request.channel
    transport, early, has_ended = former.take_over()
    request.answering = True
    reader = asyncio.StreamReader(limit=2**16)
    protocol = _Protocol(reader, former)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    # Reading stops when much came early.
    if not transport.is_closing() and not transport.is_reading():
        transport.resume_reading()
    if early:
        reader.feed_data(early)
    if has_ended:
        reader.feed_eof()
    writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
    return Connection(reader, writer, protocol.closed)


def _header(request: web.Request, media_type: str) -> bytes:
    fields = {"Content-Type": media_type}
    if "upgrade" in request.headers:
        return headers.head("HTTP/1.1 101 UPGRADED", {**fields, "Connection": "Upgrade", "Upgrade": "tcp"})
    return headers.head("HTTP/1.1 200 OK", fields)
