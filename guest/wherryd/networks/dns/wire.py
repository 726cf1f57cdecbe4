"""DNS messages as bytes: what must not be changed by decoding and encoding, or would take too long.

Source: RFC 1035, section 4. Offsets and lengths are in bytes.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

HEADER_BYTES = 12
OPT = 41
IN = 1
MAX_UDP_BYTES = 512
_POINTER = 0xC0
_TO_QUESTION = b"\xc0\x0c"  # the name is that of the question
_MAX_NAME, _MAX_LABEL = 255, 63
_DNSSEC_OK = 0x8000
_KIND_AND_SPACE = struct.Struct("!HH")
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


def question_name(message: bytes) -> str:
    """The first question's name without the dot at its end; a dot within a label has a backslash. Raises
    Malformed.
    """
    end = _skip_name(message, HEADER_BYTES)
    if end - HEADER_BYTES > _MAX_NAME:
        raise Malformed("the name is too long")
    labels = []
    at = HEADER_BYTES
    while length := message[at]:
        if length > _MAX_LABEL:
            raise Malformed("the question points elsewhere")
        label = message[at + 1 : at + 1 + length].decode(errors="replace")
        labels.append(label.replace(".", "\\."))
        at += 1 + length
    return ".".join(labels)


@dataclass(frozen=True, slots=True)
class Question:
    """What a client wants. kind, space: the record's type and class. udp_bytes: of an answer that it takes in
    one datagram (RFC 6891, or the 512 of old). wants_signatures: DNSSEC's (RFC 3225)."""

    name: str
    kind: int
    space: int
    udp_bytes: int
    wants_signatures: bool


def ask(query: bytes) -> Question:
    """Raises Malformed, also where it is not one question."""
    if header(query).counts[0] != 1:
        raise Malformed("want one question")
    kind, space = _KIND_AND_SPACE.unpack(question(query)[-_KIND_AND_SPACE.size :])
    udp_bytes, wants_signatures = MAX_UDP_BYTES, False
    for record in records(query):
        if record.kind == OPT:
            udp_bytes = max(udp_bytes, record.space)
            wants_signatures = bool(record.ttl & _DNSSEC_OK)
    return Question(question_name(query), kind, space, udp_bytes, wants_signatures)


def packed_name(name: str) -> bytes:
    """A name as labels. Raises Malformed for one that DNS cannot carry."""
    labels = [label.encode() for label in name.removesuffix(".").split(".")]
    if any(not 0 < len(label) <= _MAX_LABEL for label in labels):
        raise Malformed(f'"{name}" has a label that is empty or longer than {_MAX_LABEL} bytes')
    packed = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(packed) > _MAX_NAME:
        raise Malformed(f'"{name}" is too long')
    return packed


def with_identity(message: bytes, identity: int) -> bytes:
    return struct.pack("!H", identity) + message[2:]


def error(query: bytes, rcode: int) -> bytes:
    """An answer without records to a query whose header can be read."""
    head = header(query)
    try:
        asked = question(query) if head.counts[0] else b""
    except Malformed:
        asked = b""
    return _reply_header(head, rcode, 1 if asked else 0, 0) + asked


def answer(query: bytes, kind: int, ttl: int, data: Sequence[bytes]) -> bytes:
    """One record of that type for each piece of data, all of the question's name, and behind everything else.

    Raises Malformed.
    """
    asked = question(query)
    rows = [_TO_QUESTION + _RECORD.pack(kind, IN, ttl, len(each)) + each for each in data]
    return _reply_header(header(query), NOERROR, 1, len(rows)) + asked + b"".join(rows)


def _reply_header(head: Header, rcode: int, questions: int, answers: int) -> bytes:
    # An answer, with the query's opcode and "recursion desired"; recursion is available.
    flags = 0x8000 | head.flags & 0x7900 | 0x0080 | rcode
    return struct.pack("!6H", head.identity, flags, questions, answers, 0, 0)


def truncated(answer: bytes) -> bytes:
    """The same answer without its records, marked as cut off: ask again over TCP."""
    head = header(answer)
    asked = question(answer)
    return struct.pack("!6H", head.identity, head.flags | 0x0200, 1, 0, 0, 0) + asked


@dataclass(frozen=True, slots=True)
class Record:
    """Where in the message a resource record's TTL is, and what the record is. space: its class, or what an
    OPT record has in that place: the bytes that its sender takes in one datagram (RFC 6891)."""

    kind: int
    space: int
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
            kind, space, ttl, length = _RECORD.unpack_from(message, at)
            found.append(Record(kind, space, ttl, at + 4, at + _RECORD.size, length, section))
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
