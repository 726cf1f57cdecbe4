"""Time as the Engine API writes it, and the ages its filters take."""

import re
import time
from datetime import UTC, datetime

from wherryd.errors import InvalidParameter

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)")
_UNIT_NS = {"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}
ZERO = "0001-01-01T00:00:00Z"


def now() -> str:
    """RFC 3339 in UTC with nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def to_ns(text: str) -> int:
    """Nanoseconds since the epoch. Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if not match:
        raise ValueError(f'"{text}" is no RFC 3339 time')
    whole, fraction, zone = match.groups()
    moment = datetime.fromisoformat(whole + ("+00:00" if zone == "Z" else zone))
    return round(moment.timestamp()) * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


def unix_seconds(text: str) -> int:
    """As image lists show it; an absent or unreadable time of a foreign image is 0001-01-01, as in Docker."""
    try:
        return to_ns(text) // 1_000_000_000
    except ValueError:
        return to_ns(ZERO) // 1_000_000_000


def duration_ns(text: str) -> int:
    """A Go duration ("1h30m", "1.5s", "0"). Raises InvalidParameter."""
    if text == "0":
        return 0
    total, position = 0.0, 0
    for match in _DURATION_PART.finditer(text):
        if match.start() != position:
            break
        total += float(match[1]) * _UNIT_NS[match[2]]
        position = match.end()
    if not text or position != len(text):
        raise InvalidParameter(f'invalid duration "{text}"; write it like "30s" or "1h30m"')
    return round(total)


def until_ns(text: str) -> int:
    """The `until` filter: unix seconds, RFC 3339, a date, or an age. Raises InvalidParameter."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return round(float(text) * 1e9)
    try:
        return to_ns(text if "T" in text else text + "T00:00:00Z")
    except ValueError:
        return time.time_ns() - duration_ns(text)
