"""A request and its answers, as handlers see them; the connection below them does the reading and writing.

An answer is a Response, whole, or a StreamResponse: `prepare` sends its head, `write` a piece of its body,
`write_eof` ends it.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

from wherryd.errors import InvalidParameter
from wherryd.http.head import Head

#: Statuses that have no body and say nothing about one.
_BODILESS: Final = (204, 304)
#: Of the statuses that the API has; a client goes by the number.
_REASONS: Final[Mapping[int, str]] = {
    200: "OK",
    201: "Created",
    204: "No Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


class Query(Mapping[str, str]):
    """The parameters of a path; of one that is repeated, the first."""

    __slots__ = ("_values",)

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in parse_qsl(text, keep_blank_values=True) if text else ():
            self._values.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> str:
        return self._values[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def getall(self, name: str, default: list[str]) -> list[str]:
        return self._values.get(name, default)

    def without(self, names: Collection[str]) -> "Query":
        """The same with these left out."""
        found = Query("")
        found._values = {name: values for name, values in self._values.items() if name not in names}
        return found


class Channel(Protocol):
    """What messages need of their connection."""

    transport: asyncio.Transport | None
    common: Mapping[str, str]

    def blocks(self) -> AsyncIterator[bytes]: ...

    def send(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def take_over(self) -> tuple[asyncio.Transport, bytes, bool]: ...

    def connection_lost(self, exc: Exception | None) -> None: ...


class Request:
    """path: as it was sent, without parameters. match_info: the route's parameters, decoded.

    Handlers and what runs around them keep what they like in it by key.
    """

    def __init__(self, head: Head, channel: Channel, max_body_bytes: int) -> None:
        self.method = head.method
        self.path, _, text = _origin(head.target).partition("?")
        self.query = Query(text)
        self.headers = head.headers
        self.head = head
        self.channel = channel
        self.match_info: dict[str, str] = {}
        #: Whether an answer's head has left.
        self.answering = False
        self._max_body_bytes = max_body_bytes
        self._kept: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        return self._kept[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._kept[key] = value

    @property
    def transport(self) -> asyncio.Transport | None:
        """None when the client has gone."""
        return self.channel.transport

    @property
    def content_type(self) -> str:
        given = self.headers.get("content-type", "application/octet-stream")
        return given.partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        """The whole body. Raises InvalidParameter when it is larger than the server reads, or cut off."""
        found = bytearray()
        async for block in self.channel.blocks():
            found += block
            if len(found) > self._max_body_bytes:
                raise InvalidParameter(f"http: request body too large (limit {self._max_body_bytes} bytes)")
        return bytes(found)

    def blocks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, without a limit. Raises InvalidParameter when it is cut off."""
        return self.channel.blocks()


def _date() -> str:
    """RFC 9110, section 5.6.7. Names of days and months are English: the daemon sets no locale."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())


def _origin(target: str) -> str:
    """The path of a target that may be a whole URL: RFC 9112, section 3.2.2."""
    if not target.startswith("/") and "://" in target:
        return "/" + target.partition("://")[2].partition("/")[2]
    return target


class StreamResponse:
    """An answer whose body comes piece by piece. closes: whether the connection ends with it."""

    #: Whether the connection is somebody else's now, and nothing is left to be said here.
    is_taken_over = False

    def __init__(self, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.headers = dict(headers or {})
        self.closes = False
        self._channel: Channel | None = None
        self._in_chunks = False
        self._has_body = True
        self._has_ended = False

    async def prepare(self, request: Request) -> None:
        """Sends the head. Raises ConnectionResetError when the client has gone."""
        request.channel.send(self._head(request, None))

    async def finish(self, request: Request) -> None:
        """Sends what was not sent yet."""
        if self._channel is None:
            await self.prepare(request)
        await self.write_eof()

    def _head(self, request: Request, length: int | None) -> bytes:
        """length: of the body, None when it is not known: then it comes in chunks, or up to the end."""
        self._channel = request.channel
        request.answering = True
        self._has_body = request.method != "HEAD" and self.status not in _BODILESS
        fields = {**request.channel.common, "Date": _date(), **self.headers}
        if self.status in _BODILESS:
            fields.pop("Content-Type", None)
        elif length is not None:
            fields["Content-Length"] = str(length)
        elif request.head.minor:
            self._in_chunks = True
            fields["Transfer-Encoding"] = "chunked"
        else:
            self.closes = True
        if self.closes or not request.head.keeps_alive:
            self.closes = True
            fields["Connection"] = "close"
        elif not request.head.minor:
            fields["Connection"] = "keep-alive"
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, '')}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        text = "\r\n".join(lines)
        if "\n" in text.replace("\r\n", ""):
            raise InvalidParameter("a header field of the answer has more than one line")
        return f"{text}\r\n\r\n".encode("utf-8", "surrogateescape")

    def _framed(self, data: bytes) -> bytes:
        if not self._has_body:
            return b""
        return b"%x\r\n%b\r\n" % (len(data), data) if self._in_chunks else data

    async def write(self, data: bytes) -> None:
        """Waits while the client does not read. Raises ConnectionResetError when it has gone."""
        assert self._channel is not None, "prepared before"  # noqa: S101
        if data:
            self._channel.send(self._framed(data))
            await self._channel.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """data: the last piece. Done twice is fine."""
        if self._channel is None or self._has_ended:
            return
        self._has_ended = True
        last = self._framed(data) if data else b""
        if self._in_chunks and self._has_body:
            last += b"0\r\n\r\n"
        if last:
            self._channel.send(last)
            await self._channel.drain()


class Response(StreamResponse):
    """An answer whose body is there."""

    def __init__(
        self,
        *,
        status: int = 200,
        body: bytes = b"",
        text: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.body = body if text is None else text.encode()
        if text is not None:
            self.headers.setdefault("Content-Type", "text/plain; charset=utf-8")

    async def prepare(self, request: Request) -> None:
        """Sends all of it, in one packet."""
        request.channel.send(self.encode(request))
        await request.channel.drain()

    def encode(self, request: Request) -> bytes:
        head = self._head(request, len(self.body))
        return head + self.body if self._has_body else head


def json_response(document: Any, *, status: int = 200) -> Response:
    """Without a charset: docker's client reads an error's message only out of exactly this type."""
    return Response(
        status=status,
        body=json.dumps(document).encode("utf-8", "surrogatepass"),
        headers={"Content-Type": "application/json"},
    )
