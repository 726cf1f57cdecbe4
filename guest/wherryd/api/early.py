"""Keeps what a client sends behind a request that turns its connection into a stream.

aiohttp knows only WebSocket upgrades: bytes behind a request with `Upgrade: tcp` would be read as the
next request. So each connection's HTTP parser is wrapped: it gets the request and its body, and
not a byte more, until the connection is taken over or the request was answered in the ordinary way.
"""

from collections.abc import Sequence
from typing import Any

from aiohttp.web_protocol import RequestHandler

#: A client that sends more than this before it has seen the answer is cut off.
MAX_HELD_BYTES = 1024 * 1024

_HEAD_END = b"\r\n\r\n"
#: The attribute's name in aiohttp up to 3.13 and after it.
_PARSER_NAMES = ("_request_parser", "_parser")


class EarlyBytes:
    """Stands before aiohttp's parser; everything it does not know of is the parser's."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self._recent = b""
        self._body_left = 0
        self._held: bytearray | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> tuple[Sequence[Any], bool, bytes]:
        """As aiohttp's parser: (messages, upgraded, tail)."""
        if self._held is not None:
            return self._hold(bytes(data))
        if not data:
            result: tuple[Sequence[Any], bool, bytes] = self._parser.feed_data(data)
            return result
        found: list[Any] = []
        upgraded, tail = False, b""
        rest = bytes(data)
        while rest:
            cut = self._end_of_head(rest)
            piece, rest = rest[:cut], rest[cut:]
            messages, upgraded, tail = self._parser.feed_data(piece)
            found += messages
            if messages and _becomes_stream(messages[-1][0]):
                self._held = bytearray()
                self._body_left = int(messages[-1][0].headers.get("Content-Length", "0"))
                found += self._hold(rest)[0]
                break
        return found, upgraded, tail

    def _end_of_head(self, data: bytes) -> int:
        """Length up to the next blank line, which may have begun in the packet before; else all."""
        joined = self._recent + data
        at = joined.find(_HEAD_END)
        cut = len(data) if at < 0 else at + len(_HEAD_END) - len(self._recent)
        self._recent = (self._recent + data[:cut])[-3:] if at < 0 else b""
        return cut

    def _hold(self, data: bytes) -> tuple[Sequence[Any], bool, bytes]:
        body, early = data[: self._body_left], data[self._body_left :]
        self._body_left -= len(body)
        messages: Sequence[Any] = ()
        if body:
            messages = self._parser.feed_data(body)[0]
        if self._held is not None:
            self._held += early
            if len(self._held) > MAX_HELD_BYTES:
                raise ConnectionResetError(f"more than {MAX_HELD_BYTES} bytes before the answer")
        return messages, False, b""

    def take(self) -> bytes:
        """The held bytes; from now on everything is the parser's again."""
        held, self._held = bytes(self._held or b""), None
        return held


def _becomes_stream(message: Any) -> bool:
    return message.headers.get("Upgrade", "").lower() == "tcp" and not message.chunked


def watch(handler: RequestHandler) -> RequestHandler:
    """Puts the wrapper into a new connection's protocol."""
    for name in _PARSER_NAMES:
        parser = getattr(handler, name, None)
        if parser is not None:
            setattr(handler, name, EarlyBytes(parser))
            return handler
    raise RuntimeError("this aiohttp keeps its parser elsewhere: see api/early.py")


def take(handler: RequestHandler) -> bytes:
    """What was sent behind the request that is being answered."""
    for name in _PARSER_NAMES:
        parser = getattr(handler, name, None)
        if isinstance(parser, EarlyBytes):
            return parser.take()
    return b""
