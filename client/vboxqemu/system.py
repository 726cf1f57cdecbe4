"""The platform's locks, processes and control socket: `_posix` or `_windows`, same functions."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from vboxqemu._windows import (
        STATE_BY_DESCRIPTOR,
        acquire,
        children_s,
        connect_control,
        control_door,
        is_held,
        kill,
        release,
        search_domains,
        send_with_descriptor,
        spawn,
    )
else:
    from vboxqemu._posix import (
        STATE_BY_DESCRIPTOR,
        acquire,
        children_s,
        connect_control,
        control_door,
        is_held,
        kill,
        release,
        search_domains,
        send_with_descriptor,
        spawn,
    )

__all__ = [
    "STATE_BY_DESCRIPTOR",
    "acquire",
    "children_s",
    "connect_control",
    "control_door",
    "is_held",
    "kill",
    "release",
    "search_domains",
    "send_with_descriptor",
    "spawn",
]
