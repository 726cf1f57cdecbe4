"""Time as the Engine API writes it (RFC 3339, UTC, nanoseconds), and the moments and ages its filters take.

Every moment is in nanoseconds since 1970. Imports little: monitors write their logs with it.
"""

import re
import time
from datetime import datetime

from wherryd.errors import InvalidParameter

#: What the Engine API prints for "never".
ZERO = "0001-01-01T00:00:00Z"

_SECOND = 1_000_000_000
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_UNIX = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9}))?")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)")
_UNIT = {"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}

_last = (-1, "")  # one second and its text; one tuple, so that threads see both or neither


def now() -> str:
    """The current time. Cheap, as each log line has it: the date's part is made once a second."""
    return from_nanoseconds(time.time_ns())


def from_nanoseconds(value: int) -> str:
    """1 -> 1970-01-01T00:00:00.000000001Z"""
    global _last
    second, fraction = divmod(value, _SECOND)
    known, text = _last
    if second != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _last = (second, text)
    return f"{text}.{fraction:09d}Z"


def to_nanoseconds(text: str) -> int:
    """1970-01-01T01:00:00.5+01:00 -> 500000000. Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    moment = datetime.fromisoformat(match[1] + ("+00:00" if match[3] == "Z" else match[3]))
    return round(moment.timestamp()) * _SECOND + int((match[2] or "").ljust(9, "0"))


def to_seconds(text: str) -> int:
    """Whole seconds since 1970. Raises ValueError."""
    return to_nanoseconds(text) // _SECOND


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration ("1h30m", "1.5s", "0"). Raises InvalidParameter."""
    if text == "0":
        return 0
    total, position = 0.0, 0
    for match in _DURATION_PART.finditer(text):
        if match.start() != position:
            break
        total += float(match[1]) * _UNIT[match[2]]
        position = match.end()
    if not text or position != len(text):
        raise InvalidParameter(f'invalid duration "{text}"; write it like "30s" or "1h30m"')
    return round(total)


def parse_moment(text: str, field: str) -> int | None:
    """`since` and `until`: unix seconds with an optional fraction, or RFC 3339; None when empty or 0.

    Raises InvalidParameter.
    """
    if not text or text == "0":
        return None
    match = _UNIX.fullmatch(text)
    if match is not None:
        return int(match[1]) * _SECOND + int((match[2] or "").ljust(9, "0"))
    try:
        return to_nanoseconds(text)
    except ValueError as exc:
        raise InvalidParameter(f'{field}: "{text}" is neither unix seconds nor an RFC 3339 time') from exc


def parse_until(text: str) -> int:
    """The filter `until`: unix seconds, RFC 3339, a date, or an age ("24h"). Raises InvalidParameter."""
    if _UNIX.fullmatch(text):
        return parse_moment(text, "until") or 0
    try:
        return to_nanoseconds(text if "T" in text else text + "T00:00:00Z")
    except ValueError:
        pass
    try:
        return time.time_ns() - parse_duration(text)
    except InvalidParameter as exc:
        raise InvalidParameter(f'until: "{text}" is neither a time nor an age like 24h') from exc
