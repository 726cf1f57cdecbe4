"""Docker's multiplexed stream: how attach, exec and logs carry stdout and stderr on one connection.

Source: Engine API, ``POST /containers/{id}/attach``, "Stream format". A frame is an 8-byte header
(stream id, three zero bytes, payload length as a big-endian 32-bit number) and the payload. A
container with a TTY sends no frames at all, just its bytes.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

HEADER = struct.Struct(">BxxxL")
HEADER_BYTES = HEADER.size

#: Refuse frames above this: no engine sends them, and a corrupt length must not cost memory.
MAX_FRAME_BYTES = 16 * 1024 * 1024


class StreamId(IntEnum):
    STDIN = 0
    STDOUT = 1
    STDERR = 2
    #: The engine's own error after the stream has begun; ends the client's copy.
    SYSTEM_ERROR = 3


class FramingError(ValueError):
    """The bytes are not a multiplexed stream (unknown stream id, or a length beyond the limit)."""


@dataclass(frozen=True, slots=True)
class Frame:
    stream: StreamId
    payload: bytes


def encode(stream: StreamId, payload: bytes) -> bytes:
    """One frame. Raises FramingError if the payload is longer than MAX_FRAME_BYTES."""
    if len(payload) > MAX_FRAME_BYTES:
        raise FramingError(f"payload of {len(payload)} bytes is longer than {MAX_FRAME_BYTES}")
    return HEADER.pack(stream, len(payload)) + payload


class Decoder:
    """Bytes in, frames out. Feed it whatever the socket gave; frames may be split anywhere."""

    def __init__(self) -> None:
        self._pending = bytearray()

    @property
    def at_boundary(self) -> bool:
        """Whether the stream may end here without a frame being cut off."""
        return not self._pending

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises FramingError on bytes that cannot be a header."""
        self._pending += data
        frames: list[Frame] = []
        offset = 0
        while len(self._pending) - offset >= HEADER_BYTES:
            stream, length = HEADER.unpack_from(self._pending, offset)
            if stream > StreamId.SYSTEM_ERROR:
                raise FramingError(f"unknown stream id {stream}")
            if length > MAX_FRAME_BYTES:
                raise FramingError(f"frame of {length} bytes is longer than {MAX_FRAME_BYTES}")
            end = offset + HEADER_BYTES + length
            if len(self._pending) < end:
                break
            frames.append(Frame(StreamId(stream), bytes(self._pending[offset + HEADER_BYTES : end])))
            offset = end
        del self._pending[:offset]
        return frames
