"""Taking a connection over from HTTP: attach and exec turn it into a plain stream in both directions.

Source: Engine API, ContainerAttach, "Hijacking". With `Upgrade: tcp` the answer is 101, without it 200
and the raw bytes follow on the same connection. Half-close counts: a client that ends its input goes
on reading, so an end of input is not an end of the connection.
"""

import asyncio
import select
from dataclasses import dataclass

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from wherryd.api import early, version

MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
RAW = "application/vnd.docker.raw-stream"


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
    """Tells aiohttp that everything was said already, and that the connection is not to be used again."""

    def __init__(self, status: int) -> None:
        super().__init__(status=status)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:  # noqa: ARG002
        return None

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002
        return None


class _Protocol(asyncio.StreamReaderProtocol):
    """asyncio's stream protocol that also tells aiohttp's when the connection is lost."""

    def __init__(self, reader: asyncio.StreamReader, former: RequestHandler) -> None:
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
    if upgraded and not tty and request["api_version"] >= (1, 42):
        return MULTIPLEXED
    return RAW


async def take_over(request: web.Request, media_type: str) -> Connection:
    """Sends the header and hands over the connection, with the bytes that came early.

    Raises ConnectionResetError when the client has gone.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client closed its connection")
    former = request.protocol
    reader = asyncio.StreamReader(limit=2**16)
    protocol = _Protocol(reader, former)
    early_bytes = early.take(former)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    # aiohttp may have stopped reading when its own buffer was full.
    if not transport.is_closing() and not transport.is_reading():
        transport.resume_reading()
    if early_bytes:
        reader.feed_data(early_bytes)
    writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
    writer.write(_header(request, media_type))
    return Connection(reader, writer, protocol.closed)


def _header(request: web.Request, media_type: str) -> bytes:
    common = (
        f"Content-Type: {media_type}\r\n"
        f"Api-Version: {version.text(version.MAXIMUM)}\r\n"
        "Docker-Experimental: false\r\n"
        "Ostype: linux\r\n"
    )
    if "upgrade" in request.headers:
        return (f"HTTP/1.1 101 UPGRADED\r\n{common}Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n").encode()
    return f"HTTP/1.1 200 OK\r\n{common}\r\n".encode()
