"""DNS messages as bytes: what must not be changed by decoding and encoding, or would take too long.

Source: RFC 1035, section 4. Offsets and lengths are in bytes.
"""

import struct
from dataclasses import dataclass

HEADER_BYTES = 12
OPT = 41
MAX_UDP_BYTES = 512
_POINTER = 0xC0
_RECORD = struct.Struct("!HHIH")  # type, class, TTL, length of the data

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5


class Malformed(ValueError):  # noqa: N818 - what the message is
    """Bytes that are no DNS message."""


@dataclass(frozen=True, slots=True)
class Header:
    """identity: 16 bits chosen by who asks. counts: of questions, answers, authorities, additionals."""

    identity: int
    flags: int
    counts: tuple[int, int, int, int]

    @property
    def is_answer(self) -> bool:
        return bool(self.flags & 0x8000)

    @property
    def opcode(self) -> int:
        return self.flags >> 11 & 0xF

    @property
    def truncated(self) -> bool:
        return bool(self.flags & 0x0200)

    @property
    def checking_disabled(self) -> bool:
        return bool(self.flags & 0x0010)

    @property
    def rcode(self) -> int:
        return self.flags & 0xF


def header(message: bytes) -> Header:
    """Raises Malformed."""
    if len(message) < HEADER_BYTES:
        raise Malformed(f"{len(message)} bytes are no DNS message")
    identity, flags, *counts = struct.unpack_from("!6H", message)
    return Header(identity, flags, (counts[0], counts[1], counts[2], counts[3]))


def question(message: bytes) -> bytes:
    """The first question: name, type, class. Raises Malformed."""
    end = _skip_name(message, HEADER_BYTES) + 4
    if end > len(message):
        raise Malformed("the question is cut off")
    return message[HEADER_BYTES:end]


def with_identity(message: bytes, identity: int) -> bytes:
    return struct.pack("!H", identity) + message[2:]


def error(query: bytes, rcode: int) -> bytes:
    """An answer without records to a query whose header can be read."""
    head = header(query)
    # An answer, with the query's opcode and "recursion desired"; recursion is available.
    flags = 0x8000 | head.flags & 0x7900 | 0x0080 | rcode
    try:
        asked = question(query) if head.counts[0] else b""
    except Malformed:
        asked = b""
    return struct.pack("!6H", head.identity, flags, 1 if asked else 0, 0, 0, 0) + asked


def truncated(answer: bytes) -> bytes:
    """The same answer without its records, marked as cut off: ask again over TCP."""
    head = header(answer)
    asked = question(answer)
    return struct.pack("!6H", head.identity, head.flags | 0x0200, 1, 0, 0, 0) + asked


@dataclass(frozen=True, slots=True)
class Record:
    """Where in the message a resource record's TTL is, and what the record is."""

    kind: int
    ttl: int
    ttl_offset: int
    data_offset: int
    data_bytes: int
    section: int


def records(message: bytes) -> list[Record]:
    """All resource records of the three sections (1 answer, 2 authority, 3 additional). Raises Malformed."""
    head = header(message)
    at = HEADER_BYTES
    for _ in range(head.counts[0]):
        at = _skip_name(message, at) + 4
    found = []
    for section, count in enumerate(head.counts[1:], start=1):
        for _ in range(count):
            at = _skip_name(message, at)
            if at + _RECORD.size > len(message):
                raise Malformed("a record is cut off")
            kind, _, ttl, length = _RECORD.unpack_from(message, at)
            found.append(Record(kind, ttl, at + 4, at + _RECORD.size, length, section))
            at += _RECORD.size + length
    if at > len(message):
        raise Malformed("a record is cut off")
    return found


def soa_minimum(message: bytes, record: Record) -> int:
    """The last field of an SOA record: how long a "no" counts, in seconds (RFC 2308)."""
    if record.data_bytes < 4:
        raise Malformed("an SOA record is cut off")
    (minimum,) = struct.unpack_from("!I", message, record.data_offset + record.data_bytes - 4)
    return int(minimum)


def _skip_name(message: bytes, at: int) -> int:
    """Where the name ends. A pointer ends it; pointers are not followed, so nothing can go in circles."""
    while True:
        if at >= len(message):
            raise Malformed("a name is cut off")
        length = message[at]
        if length & _POINTER == _POINTER:
            return at + 2
        if length & _POINTER:
            raise Malformed("a name has a label of unknown kind")
        at += 1 + length
        if length == 0:
            return at
