"""UDP over a stream: how the host agent's forwards speak to the engine, for SSH carries no datagrams.

``POST /wherry/datagrams?host=ADDRESS&port=NUMBER`` with ``Upgrade: tcp`` turns the connection into frames in
both directions: the number of a client (big-endian 32-bit, chosen by the agent), the payload's length
(16-bit), the payload. A client is one source address on the user's machine; the engine speaks for each from a
socket of its own, so that the container can tell them apart, and forgets those that are silent.
"""

import struct
from dataclasses import dataclass

HEADER = struct.Struct(">LH")
HEADER_BYTES = HEADER.size
TARGET = "/wherry/datagrams"
#: Of IPv4, what a datagram can carry beside its headers.
MAX_PAYLOAD_BYTES = 65507
#: How long a client may be silent in both directions before it is forgotten (dockerd's proxy: 90 s).
IDLE_SECONDS = 90.0
MAX_CLIENTS = 1024


@dataclass(frozen=True, slots=True)
class Datagram:
    client: int
    payload: bytes


def encode(client: int, payload: bytes) -> bytes:
    """One frame. Raises ValueError for a payload that no datagram carries."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a datagram of {len(payload)} bytes is longer than {MAX_PAYLOAD_BYTES}")
    return HEADER.pack(client, len(payload)) + payload


class Decoder:
    """Bytes in, datagrams out; frames may be split anywhere. What waits is less than one frame, 64 KiB."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Datagram]:
        self._pending += data
        found: list[Datagram] = []
        offset = 0
        while len(self._pending) - offset >= HEADER_BYTES:
            client, length = HEADER.unpack_from(self._pending, offset)
            end = offset + HEADER_BYTES + length
            if len(self._pending) < end:
                break
            found.append(Datagram(client, bytes(self._pending[offset + HEADER_BYTES : end])))
            offset = end
        del self._pending[:offset]
        return found
