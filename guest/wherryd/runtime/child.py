"""What every child does between fork and exec: let go of the parent's things, take its own streams.

A child never returns into its parent's code: `run_child` ends the process, whatever happens.
"""

import contextlib
import gc
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from wherryd.runtime.messages import Peer, failure
from wherryd.sys import keyring, process, terminal

#: A child that could not become the program: its parent has been told why over the pair.
CHILD_FAILED: Final = 125

#: The first descriptor that is not a standard stream.
FIRST_FREE: Final = 3

#: Signals Python or the monitor has changed; exec would hand down an ignored one.
_CHANGED: Final = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGCHLD,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGWINCH,
)


@dataclass(frozen=True, slots=True)
class ChildStreams:
    """The child's ends. A terminal has none: it is opened inside the root."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1

    def fds(self) -> tuple[int, ...]:
        return tuple(fd for fd in (self.stdin, self.stdout, self.stderr) if fd >= 0)


def run_child(peer: Peer, action: Callable[[], None]) -> NoReturn:
    """Runs action and never comes back; an error is sent to the parent."""
    status = CHILD_FAILED
    gc.disable()  # no collection between fork and exec
    try:
        action()
        status = 0
    except BaseException as error:
        try:
            peer.send(failure(error))
        except OSError:  # the parent has gone, as wherry-runc create has by now: tell whoever reads stderr
            os.write(2, f"{error}\n".encode(errors="replace"))
    finally:
        os._exit(status)


def let_go(keep: Iterable[int], *, new_keyring: bool = True) -> None:
    """Closes every descriptor above 2 but those, leaves the engine's keys, gives signals their defaults."""
    close_others(keep)
    if new_keyring:
        keyring.join_new_session_keyring()
    signal.set_wakeup_fd(-1)
    for number in _CHANGED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    process.prctl(process.PR_SET_DUMPABLE, 0)


def close_others(keep: Iterable[int]) -> None:
    first = 3
    for fd in sorted({fd for fd in keep if fd >= 3}):
        if fd > first:
            process.close_range(first, fd - 1)
        first = fd + 1
    process.close_range(first)


def hand_down(count: int) -> None:
    """The program gets the first so many descriptors after its streams, and no other one."""
    for fd in range(FIRST_FREE, FIRST_FREE + count):
        os.set_inheritable(fd, True)
    process.close_range(FIRST_FREE + count, flags=process.CLOSE_RANGE_CLOEXEC)


def take_streams(streams: ChildStreams, uid: int) -> None:
    """The streams become 0, 1 and 2; pipes belong to the user, so that /dev/stdout can be opened again."""
    for target, fd in enumerate((streams.stdin, streams.stdout, streams.stderr)):
        if fd < 0:
            continue
        os.dup2(fd, target, inheritable=True)
        if fd != target:
            os.close(fd)
        if uid and stat.S_ISFIFO(os.fstat(target).st_mode):
            os.fchown(target, uid, -1)


def take_terminal(slave: int, uid: int) -> None:
    """The terminal becomes 0, 1, 2 and the session's controlling one. The caller leads a new session."""
    terminal.make_controlling(slave)
    for target in range(3):
        os.dup2(slave, target, inheritable=True)
    if slave > 2:
        os.close(slave)
    if uid:
        os.fchown(0, uid, -1)


def flush_streams() -> None:
    """Before a fork: what Python has buffered must not be written twice."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.flush()
