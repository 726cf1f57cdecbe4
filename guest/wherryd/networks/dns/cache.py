"""What upstream servers said, kept for as long as they said. Pure: the caller gives the time."""

import struct
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from wherryd.networks.dns import wire

MAX_ENTRIES = 4096
MAX_BYTES = 4096  # of one answer: what is larger is rare, and not worth the memory
MAX_SECONDS = 3600
#: A "no" for longer than this only hides that a name was made meanwhile.
MAX_NEGATIVE_SECONDS = 60
_SOA = 6


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: bytes
    ttls: tuple[tuple[int, int], ...]  # (offset, seconds) of each TTL in the answer
    stored: float
    expires: float


class AnswerCache:
    """Least recently used goes first. Times: seconds of one monotonic clock."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max = max_entries
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, query: bytes, now: float) -> bytes | None:
        """The answer with the query's id and spelling of the name, and with what is left of each TTL."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.expires:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        age = int(now - entry.stored)
        answer = bytearray(entry.answer)
        answer[:2] = query[:2]
        asked = wire.question(query)
        answer[wire.HEADER_BYTES : wire.HEADER_BYTES + len(asked)] = asked
        for offset, ttl in entry.ttls:
            struct.pack_into("!I", answer, offset, max(0, ttl - age))
        return bytes(answer)

    def put(self, key: Hashable, answer: bytes, now: float) -> None:
        """Keeps it if it may be kept: whole, "yes" or "no" (not a failure), and with a time to live."""
        seconds = lifetime(answer)
        if seconds <= 0 or len(answer) > MAX_BYTES:
            return
        ttls = tuple(
            (record.ttl_offset, record.ttl) for record in wire.records(answer) if record.kind != wire.OPT
        )
        self._entries[key] = _Entry(answer, ttls, now, now + seconds)
        self._entries.move_to_end(key)
        while len(self._entries) > self._max:
            self._entries.popitem(last=False)


def lifetime(answer: bytes) -> int:
    """Seconds, 0 for what must not be kept. Raises wire.Malformed."""
    head = wire.header(answer)
    if head.truncated or head.rcode not in (wire.NOERROR, wire.NXDOMAIN) or head.counts[0] != 1:
        return 0
    records = wire.records(answer)
    answers = [record.ttl for record in records if record.section == 1]
    if head.rcode == wire.NOERROR and answers:
        return min(min(answers), MAX_SECONDS)
    # A "no" counts as long as the zone's SOA says (RFC 2308, section 5); without one not at all.
    limits = [
        min(record.ttl, wire.soa_minimum(answer, record))
        for record in records
        if record.section == 2 and record.kind == _SOA
    ]
    return min(limits[0], MAX_NEGATIVE_SECONDS) if limits else 0
