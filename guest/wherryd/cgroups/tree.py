"""Directories of cgroups: walking, waiting for, killing and removing them. The same for v1 and v2."""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from wherryd.cgroups.files import ids, read
from wherryd.cgroups.manager import REMOVE_TIMEOUT_S
from wherryd.errors import SystemFault

#: Descriptors are limited.
_HELD_AT_ONCE = 256
_POLL_S = 0.001
_POLL_MAX_S = 0.05


def subtree(directory: Path) -> list[Path]:
    """The directory and all below it, children first."""
    return [Path(path) for path, _, _ in os.walk(directory, topdown=False)]


def pids(directory: Path) -> list[int]:
    """Processes in it and below, as numbers of our PID namespace."""
    found: list[int] = []
    for each in subtree(directory):
        found += ids(read(each / "cgroup.procs").split())
    return found


def signal_all(members: Callable[[], Sequence[int]], signum: int) -> int:
    """How many were there. members: reads the group's processes.

    A number may be another process's by the time it is used. So each process is held by a pidfd first, and
    gets the signal when the group, read again, still has its number: then it was a member when it was held.
    """
    targets = members()
    for start in range(0, len(targets), _HELD_AT_ONCE):
        _signal_those(targets[start : start + _HELD_AT_ONCE], members, signum)
    return len(targets)


def _signal_those(targets: Sequence[int], members: Callable[[], Sequence[int]], signum: int) -> None:
    with contextlib.ExitStack() as held:
        pidfds: dict[int, int] = {}
        for pid in targets:
            with contextlib.suppress(ProcessLookupError):
                pidfds[pid] = os.pidfd_open(pid)
                held.callback(os.close, pidfds[pid])
        for pid in pidfds.keys() & set(members()):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfds[pid], signum)


def kill_until_empty(directory: Path, timeout_s: float) -> None:
    """Raises SystemFault when some are left after timeout_s (in uninterruptible sleep)."""
    wait_until(
        lambda: signal_all(lambda: pids(directory), signal.SIGKILL) == 0,
        timeout_s,
        f"kill all of {directory}",
    )


def wait_until(done: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Polls with a growing pause. Raises SystemFault after timeout_s."""
    deadline = time.monotonic() + timeout_s
    pause = _POLL_S
    while not done():
        if time.monotonic() > deadline:
            raise SystemFault(f"{what}: not done after {timeout_s:g} s; see the kernel log for why")
        time.sleep(pause)
        pause = min(pause * 2, _POLL_MAX_S)


def remove(directory: Path) -> None:
    """rmdir of the whole tree; waits a little for a process that is just ending. Done twice is fine."""
    wait_until(lambda: _removed(directory), REMOVE_TIMEOUT_S, f"remove cgroup {directory}")


def _removed(directory: Path) -> bool:
    for each in subtree(directory):
        try:
            each.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            raise SystemFault(f"remove cgroup {each}: {error.strerror}") from error
    return True
