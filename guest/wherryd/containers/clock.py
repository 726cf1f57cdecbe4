"""Time as the Engine API prints it: RFC 3339, UTC, nanoseconds."""

import re
import time
from datetime import UTC, datetime

from wherryd.errors import InvalidParameter

#: What the Engine API prints for "never".
ZERO = "0001-01-01T00:00:00Z"

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_UNIX = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9}))?")


def now() -> str:
    return from_nanoseconds(time.time_ns())


def from_nanoseconds(value: int) -> str:
    """1 -> 1970-01-01T00:00:00.000000001Z"""
    seconds, fraction = divmod(value, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def to_nanoseconds(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time. Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    moment = datetime.fromisoformat(match[1] + ("+00:00" if match[3] == "Z" else match[3]))
    return int(moment.timestamp()) * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def to_seconds(text: str) -> int:
    return to_nanoseconds(text) // 1_000_000_000


def parse_moment(text: str, field: str) -> int | None:
    """`since` and `until`: unix seconds with an optional fraction, or RFC 3339; None when empty or 0.

    Returns nanoseconds since 1970. Raises InvalidParameter.
    """
    if not text or text == "0":
        return None
    match = _UNIX.fullmatch(text)
    if match is not None:
        fraction = int((match[2] or "").ljust(9, "0"))
        return int(match[1]) * 1_000_000_000 + fraction
    try:
        return to_nanoseconds(text)
    except ValueError as exc:
        raise InvalidParameter(f'{field}: "{text}" is neither unix seconds nor an RFC 3339 time') from exc


_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|m|s|ms))+")
_UNIT_NS = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000}


def parse_until(text: str) -> int:
    """`until` of prune filters: a moment, or how long ago (`24h`, `1h30m`). Raises InvalidParameter."""
    if _DURATION.fullmatch(text):
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
        return time.time_ns() - int(sum(float(number) * _UNIT_NS[unit] for number, unit in parts))
    moment = parse_moment(text, "until")
    if moment is None:
        raise InvalidParameter(f'until: "{text}" is neither a time nor a duration like 24h')
    return moment
