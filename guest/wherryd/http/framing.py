"""Where a body ends: by its length, or by the chunks it comes in. Source: RFC 9112, sections 6 and 7.1."""

import re
from typing import Final, Protocol

from wherryd.errors import InvalidParameter

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
#: A chunk's size with its extensions, and each trailer.
_MAX_LINE_BYTES: Final = 16 * 1024


class Decoder(Protocol):
    """Takes what arrives until `done`; gives the body's bytes, and keeps what lies behind it."""

    done: bool

    def feed(self, data: bytes) -> bytes: ...

    @property
    def rest(self) -> bytes: ...


class ByLength:
    """A body of `length` bytes."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        piece, behind = data[: self._left], data[self._left :]
        self._left -= len(piece)
        if not self._left:
            self.done = True
            self.rest += behind
        return piece


class Chunked:
    """A body in chunks; what their sizes are extended by, and the trailers, are passed over."""

    def __init__(self) -> None:
        self.done = False
        self._buffer = b""
        self._left = 0
        #: What the next line is: a chunk's size, the empty one behind its data, or a trailer.
        self._line = "size"

    @property
    def rest(self) -> bytes:
        return self._buffer if self.done else b""

    def feed(self, data: bytes) -> bytes:
        """Raises InvalidParameter for what are no chunks."""
        self._buffer += data
        found = []
        while not self.done and self._buffer:
            if self._left:
                piece = self._buffer[: self._left]
                self._buffer = self._buffer[len(piece) :]
                self._left -= len(piece)
                found.append(piece)
            elif not self._take_line():
                break
        return b"".join(found)

    def _take_line(self) -> bool:
        """Whether there was a whole one."""
        at = self._buffer.find(b"\r\n")
        if at < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:
                raise InvalidParameter("the body's chunks have no end of line where one belongs")
            return False
        line, self._buffer = self._buffer[:at], self._buffer[at + 2 :]
        if self._line == "size":
            size = _SIZE.fullmatch(line)
            if size is None:
                raise InvalidParameter(f"not a chunk's size: {line[:40]!r}")
            self._left = int(size[1], 16)
            self._line = "end" if self._left else "trailer"
        elif self._line == "end":
            if line:
                raise InvalidParameter("a chunk is longer than its size")
            self._line = "size"
        elif not line:
            self.done = True
        return True


def decoder(length: int | None) -> Decoder:
    """length: as Head has it."""
    return Chunked() if length is None else ByLength(length)
