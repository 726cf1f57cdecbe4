"""What the builder keeps for the next build, as the Engine API's BuildCache records; and which of it may go.

Source: Engine API, SystemDataUsage ("BuildCache") and BuildPrune; docker builder prune reference.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wherryd import clock
from wherryd.errors import InvalidParameter


class Kind(StrEnum):
    """In BuildKit's words."""

    STEP = "regular"
    CACHE_MOUNT = "exec.cachemount"
    CONTEXT = "source.local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """id: of the step's image, of the cache mount's folder, or "contexts". in_use: by a build.
    shared: a step that an image with a name stands on: it counts as that image's."""

    id: str
    kind: Kind
    description: str
    size_bytes: int
    used_at: str
    parent: str = ""
    in_use: bool = False
    shared: bool = False
    created_at: str = ""

    @property
    def may_go(self) -> bool:
        return not self.in_use and not self.shared

    def document(self) -> dict[str, Any]:
        return {
            "ID": self.id,
            "Parents": [self.parent] if self.parent else [],
            "Type": self.kind.value,
            "Description": self.description,
            "InUse": self.in_use,
            "Shared": self.shared,
            "Size": self.size_bytes,
            "CreatedAt": self.created_at or self.used_at,
            "LastUsedAt": self.used_at,
            "UsageCount": 0,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What a prune shall reach, each 0 where nothing is said: at most so much is kept, so much is free on the
    disk; but reserved_bytes stay in any case. Source: Engine API, BuildPrune."""

    reserved_bytes: int = 0
    most_bytes: int = 0
    free_bytes: int = 0

    def keep_bytes(self, used: int, free: int) -> int:
        """How much of what may go is kept, 0 for nothing. used: by that; free: on the disk."""
        kept = self.most_bytes
        if self.free_bytes:
            enough = max(0, used - max(0, self.free_bytes - free))
            kept = min(kept, enough) if kept else enough
        return max(kept, self.reserved_bytes)


@dataclass(frozen=True, slots=True)
class Pruning:
    """Which records go: all that match, the longest unused first, until no more than keep_bytes are left."""

    filters: Mapping[str, Sequence[str]]
    keep_bytes: int = 0

    def __post_init__(self) -> None:
        """Raises InvalidParameter."""
        for key in self.filters:
            if key not in _FILTERS:
                raise InvalidParameter(f"invalid filter '{key}' (hint: one of {', '.join(sorted(_FILTERS))})")
        self.before_ns()

    def before_ns(self) -> int | None:
        """Only what was used last before this moment."""
        texts = [text for key in ("until", "unused-for") for text in self.filters.get(key, ())]
        return min((clock.parse_until(text) for text in texts), default=None)

    def chosen(self, records: Sequence[Record]) -> list[Record]:
        before = self.before_ns()
        left = sum(record.size_bytes for record in records if record.may_go)
        found = []
        for record in sorted(records, key=lambda record: record.used_at):
            if left <= self.keep_bytes and self.keep_bytes:
                break
            if not record.may_go or not self._matches(record):
                continue
            if before is None or clock.to_nanoseconds(record.used_at) < before:
                found.append(record)
                left -= record.size_bytes
        return found

    def _matches(self, record: Record) -> bool:
        return all(
            any(_FILTERS[key](record, text) for text in texts) for key, texts in self.filters.items() if texts
        )


def _truth(text: str) -> bool:
    return text.lower() not in ("0", "false", "no")


_FILTERS: dict[str, Callable[[Record, str], bool]] = {
    "until": lambda _record, _text: True,
    "unused-for": lambda _record, _text: True,
    "id": lambda record, text: record.id.removeprefix("sha256:").startswith(text.removeprefix("sha256:")),
    "parent": lambda record, text: record.parent.removeprefix("sha256:").startswith(
        text.removeprefix("sha256:")
    ),
    "parents": lambda record, text: _FILTERS["parent"](record, text),
    "type": lambda record, text: record.kind == text,
    "description": lambda record, text: text in record.description,
    "inuse": lambda record, text: record.in_use == _truth(text),
    "shared": lambda record, text: record.shared == _truth(text),
    "private": lambda record, text: record.shared != _truth(text),
    # `system prune --filter label=...` gives its filters to everything; a record has no labels.
    "label": lambda _record, _text: False,
    "label!": lambda _record, _text: True,
}
