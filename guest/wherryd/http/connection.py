"""One connection: requests are read one after the other, each is answered before the next is looked at.

What a client sends behind a request waits in the connection's buffer: it is the next request's, or, when a
handler takes the connection over, the first bytes of the stream.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from wherryd.errors import InvalidParameter
from wherryd.http import framing, head
from wherryd.http.messages import Request, StreamResponse, json_response

log = logging.getLogger(__name__)

#: More than this is not taken from the client until somebody wants it.
_MAX_HELD_BYTES: Final = 256 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
#: How long a connection may lie idle, and how long it is read on when nobody wanted the body, in seconds.
_IDLE_SECONDS: Final = 75.0
_LINGER_SECONDS: Final = 10.0

Handle = Callable[[Request], Awaitable[StreamResponse]]


@dataclass(frozen=True)
class Shared:
    """What the connections of a server have in common. common: header fields of every answer."""

    handle: Handle
    common: Mapping[str, str]
    max_body_bytes: int
    loop: asyncio.AbstractEventLoop
    connections: set["Connection"] = field(default_factory=set)


class _Body:
    """The body of the request at hand, as far as it has come."""

    def __init__(self, wanted: head.Head) -> None:
        self._decoder = framing.decoder(wanted.length)
        self._blocks: list[bytes] = []
        self._error: Exception | None = None
        self.news: asyncio.Future[None] | None = None
        self.held = 0
        self.continues = wanted.expects_continue and not self.is_done

    @property
    def is_done(self) -> bool:
        return self._decoder.done

    def feed(self, data: bytes) -> bytes:
        """What lies behind the body. Raises InvalidParameter."""
        block = self._decoder.feed(data)
        if block:
            self._blocks.append(block)
            self.held += len(block)
        self._tell()
        return self._decoder.rest if self.is_done else b""

    def cut_off(self, error: Exception) -> None:
        """The first reason counts."""
        if not self.is_done and self._error is None:
            self._error = error
            self._tell()

    def _tell(self) -> None:
        if self.news is not None and not self.news.done():
            self.news.set_result(None)

    def take(self) -> bytes:
        """What is there; b"" when nothing is. Raises what the body was cut off with."""
        if not self._blocks and self._error is not None:
            raise self._error
        found = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        self._blocks.clear()
        self.held = 0
        return found


class Connection(asyncio.Protocol):
    """transport: None once it is lost or taken over. common: fields of every answer."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = shared.loop
        self.transport: asyncio.Transport | None = None
        self.common: Mapping[str, str] = shared.common
        self._buffer = b""
        self._request: Request | None = None
        self._body: _Body | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable: asyncio.Future[None] | None = None
        self._is_reading = True
        self._has_ended = False

    # --- as asyncio's protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._shared.connections.add(self)
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.transport = None
        self._shared.connections.discard(self)
        self._stop_timer()
        gone = ConnectionResetError("the client closed its connection")
        if self._body is not None:
            self._body.cut_off(gone)
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(gone)
            # Nobody may be waiting for it any more.
            self._writable.exception()

    def data_received(self, data: bytes) -> None:
        if self._body is not None and not self._body.is_done:
            try:
                data = self._body.feed(data)
            except InvalidParameter as exc:
                self._body.cut_off(exc)
                self._has_ended = True
                self._pause()
                return
        self._buffer += data
        if self._request is None:
            self._next()
        self._balance()

    def eof_received(self) -> bool:
        """Whether the connection stays open for writing: only where a stream's input may end first."""
        self._has_ended = True
        if self._body is not None:
            self._body.cut_off(InvalidParameter("the upload ended early; send it again"))
        return self._request is not None and self._request.head.becomes_stream

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # --- as the messages' channel ---

    def send(self, data: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client closed its connection")
        self.transport.write(data)

    async def drain(self) -> None:
        if self._writable is not None:
            await asyncio.shield(self._writable)

    async def blocks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they come. Raises InvalidParameter, ConnectionResetError."""
        body = self._body
        while body is not None:
            block = body.take()
            if block:
                self._balance()
                yield block
            elif body.is_done:
                return
            else:
                if body.continues:
                    body.continues = False
                    self.send(_CONTINUE)
                body.news = self._loop.create_future()
                self._balance()
                await body.news

    def take_over(self) -> tuple[asyncio.Transport, bytes, bool]:
        """The transport is the caller's: with it what came behind the request, and whether input has ended.

        The caller's protocol passes connection_lost on. Raises ConnectionResetError.
        """
        transport = self.transport
        if transport is None:
            raise ConnectionResetError("the client closed its connection")
        early, self._buffer = self._buffer, b""
        return transport, early, self._has_ended

    # --- requests ---

    def _next(self) -> None:
        """Begins with the request that the buffer starts with, if its head is there."""
        if self.transport is None or self.transport.is_closing():
            return
        self._buffer = self._buffer.lstrip(b"\r\n")
        at = self._buffer.find(_HEAD_END)
        if at > head.MAX_HEAD_BYTES or (at < 0 and len(self._buffer) > head.MAX_HEAD_BYTES):
            self._refuse(InvalidParameter(f"the request's head is longer than {head.MAX_HEAD_BYTES} bytes"))
            return
        if at < 0:
            return
        try:
            found = head.parse(self._buffer[:at])
            body = _Body(found)
            # A body of no length ends where it begins, too.
            self._buffer = body.feed(self._buffer[at + len(_HEAD_END) :])
        except InvalidParameter as exc:
            self._refuse(exc)
            return
        self._stop_timer()
        self._body = body
        self._request = Request(found, self, self._shared.max_body_bytes)
        self._task = self._loop.create_task(self._serve(self._request, body))

    def _refuse(self, error: InvalidParameter) -> None:
        """Answers what is no request; where the next one would begin cannot be known."""
        log.warning("bad request: %s", error)
        answer = json_response({"message": f"bad request: {error}"}, status=400)
        answer.closes = True
        self._buffer = b""
        refused = Request(head.Head("GET", "/", 1, head.Headers(), 0), self, 0)
        assert self.transport is not None, "the caller checks"  # noqa: S101
        self.send(answer.encode(refused))
        self.transport.close()

    async def _serve(self, request: Request, body: _Body) -> None:
        closes = True
        try:
            response = await self._shared.handle(request)
            if response.is_taken_over:
                closes = False
                return
            await response.finish(request)
            closes = response.closes or self._has_ended
            if not closes and not body.is_done:
                closes = not await self._linger(body)
        except ConnectionError as exc:
            log.debug("%s %s: %s", request.method, request.path, exc)
        finally:
            if closes:
                self.close()
        if not closes:
            self._request = self._body = self._task = None
            self._rest()
            self._next()
            self._balance()

    async def _linger(self, body: _Body) -> bool:
        """Reads on, so that a client that still sends sees the answer; whether the body came to its end."""
        if body.continues:
            return False  # it waits for a word that it has not got, and may send the body or not
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                async for _ in self.blocks():
                    pass
        except (TimeoutError, InvalidParameter, ConnectionError):
            return False
        return True

    # --- flow and time ---

    def _balance(self) -> None:
        """Reads on or pauses, by how much is held that nobody has taken yet."""
        held = len(self._buffer) if self._request is not None else 0
        if self._body is not None:
            held += self._body.held
        if held > _MAX_HELD_BYTES:
            self._pause()
        elif not self._is_reading and self.transport is not None and not self._has_ended:
            self._is_reading = True
            self.transport.resume_reading()

    def _pause(self) -> None:
        if self._is_reading and self.transport is not None:
            self._is_reading = False
            self.transport.pause_reading()

    def _rest(self) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(_IDLE_SECONDS, self.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """What answers the request at hand."""
        return self._task

    def close(self) -> None:
        """Sends what is buffered first. Done twice is fine."""
        if self.transport is not None:
            self.transport.close()
