"""The children of this process: who wants to know how each ends. One process, one set of children.

A process that brings up several containers reaps them all in one place (`reap`), and may come upon a
child before anybody waits for it: while launches are under way such a status is kept.
"""

import os
from collections.abc import Callable

_waiting: dict[int, Callable[[int], None]] = {}
_early: dict[int, int] = {}
_launches = 0


def forget_all() -> None:
    """For a fork of this process: they are not its children."""
    global _launches
    _waiting.clear()
    _early.clear()
    _launches = 0


def begin() -> None:
    """A launch is under way; `end` it."""
    global _launches
    _launches += 1


def end() -> None:
    global _launches
    _launches -= 1
    if not _launches:
        _early.clear()


def wait_for(pid: int, callback: Callable[[int], None]) -> bool:
    """callback gets its wait status, from `reap`. False: it has ended already, and was told at once."""
    status = _early.pop(pid, None)
    if status is None:
        _waiting[pid] = callback
        return True
    callback(status)
    return False


def reap() -> None:
    """All that have ended. As a subreaper we get the containers' orphans too."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        callback = _waiting.pop(pid, None)
        if callback is not None:
            callback(status)
        elif _launches:
            _early[pid] = status


def status_of(pid: int) -> int | None:
    """Waits for the end of a child that is no one's; its wait status. None: it is not known any more."""
    if pid in _early:
        return _early.pop(pid)
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return None
