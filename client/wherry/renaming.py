"""Putting a finished file in the place of an older one."""

import sys
import time
from pathlib import Path

#: How long who reads the older file may take, on Windows: 1 s in all.
_TRIES, _WAIT_SECONDS = 20, 0.05


def replace(fresh: Path, target: Path, *, windows: bool = sys.platform == "win32") -> None:
    """As Path.replace, at once for whoever looks.

    Windows refuses it while another process has the target open, as a client or the agent may have for a
    moment to read it; that is waited for. Raises OSError.
    """
    for _ in range(_TRIES if windows else 0):
        try:
            fresh.replace(target)
            return
        except PermissionError:
            time.sleep(_WAIT_SECONDS)
    fresh.replace(target)
