"""Locks on files: one verb at a time changes a machine, one agent at a time serves it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wherry.errors import MachineProblem
from wherry.host import try_lock

POLL_SECONDS = 0.1


@contextmanager
def held(file: Path, *, wait_seconds: float, busy: str) -> Iterator[None]:
    """Holds the lock for the time of the `with`. The kernel drops it when the process dies.

    busy: the message of the MachineProblem raised when another process still holds it after the wait.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        deadline = time.monotonic() + wait_seconds
        while not try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise MachineProblem(busy)
            time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def is_held(file: Path) -> bool:
    """Whether another process holds the lock now."""
    try:
        descriptor = os.open(file, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)
