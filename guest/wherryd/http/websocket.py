"""A connection that carries WebSocket messages. Source: RFC 6455.

The server's side, without extensions: messages go out in one frame each, come in in any number of them.
"""

import asyncio
import base64
import binascii
import codecs
import contextlib
import hashlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from wherryd.errors import InvalidParameter
from wherryd.http.messages import Request

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: A client that says nothing is asked whether it is there, and given up if it says nothing to that either.
_PING_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 10.0
_BLOCK: Final = 64 * 1024


class Opcode(IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    TOO_BIG = 1009


class FrameError(Exception):
    """What the peer sent is no WebSocket, or more than is taken. code: what it is told."""

    def __init__(self, code: CloseCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    """kind: TEXT, BINARY, CLOSE, PING or PONG; data of one that came in pieces is whole."""

    kind: Opcode
    data: bytes


def encode(kind: Opcode, data: bytes) -> bytes:
    """A server's frame: the last of its message, not masked."""
    first, length = 0x80 | kind, len(data)
    if length < 126:
        return bytes((first, length)) + data
    if length < 65536:
        return struct.pack(">BBH", first, 126, length) + data
    return struct.pack(">BBQ", first, 127, length) + data


@dataclass(slots=True)
class Decoder:
    """max_bytes: of a message. `feed` raises FrameError."""

    max_bytes: int
    _buffer: bytearray = field(default_factory=bytearray)
    _pieces: bytearray = field(default_factory=bytearray)
    _kind: Opcode | None = None

    def feed(self, data: bytes) -> list[Message]:
        self._buffer += data
        found = []
        while (frame := self._frame()) is not None:
            message = self._message(*frame)
            if message is not None:
                found.append(message)
        return found

    def _frame(self) -> tuple[bool, Opcode, bytes] | None:
        """(last of its message, opcode, data) if a whole one is there."""
        data = self._buffer
        if len(data) < 2:
            return None
        number, length, at = data[0] & 0x0F, data[1] & 0x7F, 2
        if data[0] & 0x70 or not data[1] & 0x80 or number not in Opcode.__members__.values():
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a frame with reserved bits, unmasked, or of no kind")
        if length >= 126:
            size = 2 if length == 126 else 8
            if len(data) < at + size:
                return None
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if number >= Opcode.CLOSE and (length > 125 or not data[0] & 0x80):
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a control frame that is long, or in pieces")
        if length + len(self._pieces) > self.max_bytes:
            raise FrameError(CloseCode.TOO_BIG, f"a message of more than {self.max_bytes} bytes")
        if len(data) < at + 4 + length:
            return None
        payload = _unmasked(bytes(data[at + 4 : at + 4 + length]), bytes(data[at : at + 4]))
        is_last = bool(data[0] & 0x80)
        del data[: at + 4 + length]
        return is_last, Opcode(number), payload

    def _message(self, is_last: bool, kind: Opcode, data: bytes) -> Message | None:
        if kind >= Opcode.CLOSE:
            return Message(kind, data)
        if (kind is Opcode.CONTINUATION) is (self._kind is None):
            raise FrameError(
                CloseCode.PROTOCOL_ERROR, "a message begins within another, or goes on from none"
            )
        if self._kind is None:
            self._kind = kind
        self._pieces += data
        if not is_last:
            return None
        message = Message(self._kind, bytes(self._pieces))
        self._kind = None
        self._pieces.clear()
        return message


def _unmasked(data: bytes, mask: bytes) -> bytes:
    """As one large number: a loop over bytes would take a hundred times as long."""
    length = len(data)
    stream = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(length, "big")


def accept_header(request: Request) -> str:
    """The answer's Sec-WebSocket-Accept. Raises InvalidParameter for a request that asks for no WebSocket."""
    headers = request.headers
    key = headers.get("sec-websocket-key", "")
    with contextlib.suppress(binascii.Error, ValueError):
        if (
            "websocket" in headers.tokens("upgrade")
            and "upgrade" in headers.tokens("connection")
            and headers.get("sec-websocket-version") == "13"
            and len(base64.b64decode(key, validate=True)) == 16
        ):
            digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
            return base64.b64encode(digest).decode()
    raise InvalidParameter(
        "this path wants a WebSocket: Upgrade: websocket, version 13, with a key of 16 bytes"
    )


class Socket:
    """Messages over a connection that was taken over. as_text: what is sent goes as text."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        max_message_bytes: int,
        as_text: bool = False,
    ) -> None:
        # The end of a block may cut a character in two, and what is no character cannot be in a text.
        self._text = codecs.getincrementaldecoder("utf-8")("replace") if as_text else None
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder(max_message_bytes)
        self._close_is_sent = False

    async def send_bytes(self, data: bytes) -> None:
        """Raises ConnectionResetError when the client has gone or has been told the end."""
        if self._close_is_sent or self._writer.is_closing():
            raise ConnectionResetError("the WebSocket is closed")
        if self._text is None:
            self._writer.write(encode(Opcode.BINARY, data))
        elif text := self._text.decode(data):
            self._writer.write(encode(Opcode.TEXT, text.encode()))
        await self._writer.drain()

    async def messages(self) -> AsyncIterator[bytes]:
        """What the client sends, until it closes or vanishes."""
        try:
            while block := await self._read():
                for message in self._decoder.feed(block):
                    if message.kind is Opcode.CLOSE:
                        self._send_close(CloseCode.NORMAL)
                        return
                    if message.kind is Opcode.PING:
                        self._writer.write(encode(Opcode.PONG, message.data))
                        await self._writer.drain()
                    elif message.kind is not Opcode.PONG:
                        yield message.data
        except FrameError as error:
            self._send_close(error.code)
        except (ConnectionError, TimeoutError):
            self._writer.close()

    async def _read(self) -> bytes:
        """Raises TimeoutError when the client is silent, and does not answer when it is asked."""
        try:
            async with asyncio.timeout(_PING_SECONDS):
                return await self._reader.read(_BLOCK)
        except TimeoutError:
            self._writer.write(encode(Opcode.PING, b""))
        async with asyncio.timeout(_PING_SECONDS):
            return await self._reader.read(_BLOCK)

    def _send_close(self, code: CloseCode) -> None:
        if not self._close_is_sent and not self._writer.is_closing():
            self._close_is_sent = True
            self._writer.write(encode(Opcode.CLOSE, struct.pack(">H", code)))

    async def close(self) -> None:
        """Says that this is the end, lets the client say so too, and closes. Done twice is fine."""
        self._send_close(CloseCode.NORMAL)
        with contextlib.suppress(ConnectionError, TimeoutError, FrameError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._writer.drain()
                while block := await self._reader.read(_BLOCK):
                    if any(message.kind is Opcode.CLOSE for message in self._decoder.feed(block)):
                        break
        self._writer.close()
