"""Signals by name and number, as `docker kill --signal` takes them."""

import signal

from wherryd.errors import InvalidParameter

_RTMIN, _RTMAX = int(signal.SIGRTMIN), int(signal.SIGRTMAX)


def number(text: str) -> int:
    """15, "15", "TERM", "SIGTERM", "RTMIN+3". Raises InvalidParameter."""
    name = text.strip().upper()
    if name.isdecimal():
        value = int(name)
        if 1 <= value <= _RTMAX:
            return value
        raise InvalidParameter(f"invalid signal: {text}")
    name = name.removeprefix("SIG")
    for base, sign, origin in (("RTMIN+", 1, _RTMIN), ("RTMAX-", -1, _RTMAX)):
        if name.startswith(base) and name[6:].isdecimal():
            value = origin + sign * int(name[6:])
            if _RTMIN <= value <= _RTMAX:
                return value
    found = signal.Signals.__members__.get(f"SIG{name}")
    if found is None:
        raise InvalidParameter(f"invalid signal: {text}")
    return int(found)
