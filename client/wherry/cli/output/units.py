"""Sizes, durations and times in Docker's words (those of its go-units)."""

import re
import time
from datetime import UTC, datetime

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def size(count: float, precision: int = 4) -> str:
    """1981952 -> 1.982MB (precision: significant digits). Decimal units, as Docker shows images."""
    return _scaled(count, 1000, _DECIMAL, precision)


def binary_size(count: float, precision: int = 4) -> str:
    """25276000000 -> 23.54GiB, as Docker shows memory."""
    return _scaled(count, 1024, _BINARY, precision)


def _scaled(count: float, base: int, units: tuple[str, ...], precision: int) -> str:
    place = 0
    while count >= base and place < len(units) - 1:
        count /= base
        place += 1
    return f"{count:.{precision}g}{units[place]}"


def duration(seconds: float) -> str:
    """3.2 -> 3 seconds; 4000 -> About an hour; 1e6 -> 11 days."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = whole // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    days = hours // 24
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    if days < 730:
        return f"{days // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def ago(unix_seconds: float, now: float | None = None) -> str:
    return duration((time.time() if now is None else now) - unix_seconds) + " ago"


def timestamp(unix_seconds: float) -> str:
    """2026-11-24 04:14:33 +0000 UTC, in the user's time zone: how Go prints a time."""
    local = datetime.fromtimestamp(unix_seconds, UTC).astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S %z} {local.tzname()}"


_RFC3339 = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$")


#: Units of durations below a second.
_SMALL = (("ms", 10**6), ("µs", 10**3), ("ns", 1))


def go_time(rfc3339: str) -> str:
    """2025-05-30T12:07:14.5Z -> 2025-05-30 12:07:14.5 +0000 UTC, how Go prints a time; other text stays."""
    match = _RFC3339.match(rfc3339)
    if match is None:
        return rfc3339
    day, clock, fraction, zone = match.groups()
    shown = "+0000 UTC" if zone == "Z" else f"{zone.replace(':', '')} {zone.replace(':', '')}"
    return f"{day} {clock}{(fraction or '').rstrip('0').rstrip('.')} {shown}"


def go_duration(nanoseconds: int) -> str:
    """90000000000 -> 1m30s, 1500000 -> 1.5ms, how Go prints a duration."""
    sign, left = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if 0 < left < 10**9:
        name, size = next((name, size) for name, size in _SMALL if left >= size)
        return f"{sign}{left / size:.9f}".rstrip("0").rstrip(".") + name
    minutes, seconds = divmod(left, 60 * 10**9)
    text = f"{seconds // 10**9}.{seconds % 10**9:09}".rstrip("0").rstrip(".") + "s"
    if minutes >= 60:
        text = f"{minutes // 60}h{minutes % 60}m{text}"
    elif minutes:
        text = f"{minutes}m{text}"
    return sign + text


def ctime(rfc3339: str) -> str:
    """2025-05-30T12:07:14.000000000+00:00 -> Fri May 30 12:07:14 2025; other text stays as it is."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", rfc3339)
    if match is None:
        return rfc3339
    moment = datetime.fromisoformat(match[1])
    return f"{moment:%a %b} {moment.day:>2} {moment:%H:%M:%S %Y}"
