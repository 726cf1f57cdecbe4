"""RFC 3339 in UTC with nine fractional digits, as the Engine API prints times."""

import time

_second = -1
_prefix = ""


def now() -> str:
    """The current time. Cheap: the date's part is made once a second."""
    return rfc3339(time.time_ns())


def rfc3339(ns: int) -> str:
    """1700000000123456789 -> 2023-11-14T22:13:20.123456789Z"""
    global _second, _prefix  # a cache of one value: the monitor has one thread
    second, fraction = divmod(ns, 1_000_000_000)
    if second != _second:
        _second, _prefix = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{_prefix}.{fraction:09d}Z"
