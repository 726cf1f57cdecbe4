"""One process as the monitor keeps it: the container's init, or an exec session. A small state machine.

CREATED --start--> RUNNING --exit--> DRAINING --output ended--> EXITED
   └------exit (killed at the gate)----^
"""

import contextlib
import os
import signal
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from wherryd.errors import Conflict
from wherryd.runtime.loop import Loop
from wherryd.runtime.streams import Ends, ProcessStreams
from wherryd.runtime.types import ExitStatus
from wherryd.sys import terminal

#: Output may be held open by a process outside our reach (a descriptor sent away): not for ever, in seconds.
DRAIN_TIMEOUT_S: Final = 5.0


class Phase(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    DRAINING = "draining"
    EXITED = "exited"


class ManagedProcess:
    """on_exit is called as soon as the process has gone, on_done when its output has been read too."""

    def __init__(
        self, loop: Loop, streams: ProcessStreams, *, is_terminal: bool, size: tuple[int, int] | None
    ) -> None:
        self._loop = loop
        self.streams = streams
        self.is_terminal = is_terminal
        self.phase = Phase.CREATED
        self.pid = 0
        self.pidfd = -1
        self.status: ExitStatus | None = None
        self.on_exit: Callable[[int], None] = lambda _: None
        self.on_done: Callable[[], None] = lambda: None
        self._size = size
        self._master = -1
        self._waiters: list[Callable[[ExitStatus], None]] = []
        streams.on_drained = self._drained

    def launched(self, pid: int, ends: Ends, master: int) -> None:
        """The child is there. Takes over ends; with a terminal they are made from master."""
        self.pid = pid
        # An exec's process may be over, and reaped, before its beginning is known: `exited` follows.
        with contextlib.suppress(ProcessLookupError):
            self.pidfd = os.pidfd_open(pid)
        if master >= 0:
            self._master = os.dup(master)
            ends = Ends(stdin=os.dup(master), stdout=master)
            if self._size is not None:
                terminal.set_size(self._master, *self._size)
        self.streams.open(ends)

    def resize(self, height: int, width: int) -> None:
        """Before the terminal exists the size is kept for it. Raises Conflict without a terminal."""
        if not self.is_terminal:
            raise Conflict("cannot resize: the process has no terminal")
        self._size = (height, width)
        if self._master >= 0:
            terminal.set_size(self._master, height, width)

    def signal(self, signum: int) -> None:
        """Through the pidfd: never to another process with a reused number. Raises Conflict."""
        if self.phase not in (Phase.CREATED, Phase.RUNNING) or self.pidfd < 0:
            raise Conflict("the process is not running")
        try:
            signal.pidfd_send_signal(self.pidfd, signum)
        except ProcessLookupError as error:
            raise Conflict("the process is not running") from error

    def exited(self, exit_code: int) -> None:
        """It was reaped. Its output may still be in the pipes."""
        self.phase = Phase.DRAINING
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        self.on_exit(exit_code)
        if self.streams.ended:
            self._drained()
        else:
            self._loop.later(DRAIN_TIMEOUT_S, self.streams.finish)

    def _drained(self) -> None:
        """All output was read: if the process has gone as well, it is over."""
        if self.phase is not Phase.DRAINING:
            return
        self.phase = Phase.EXITED
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        self.on_done()

    def finished(self, status: ExitStatus) -> None:
        """Tells everybody who waits."""
        self.status = status
        self.phase = Phase.EXITED
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter(status)

    def wait(self, waiter: Callable[[ExitStatus], None]) -> None:
        if self.status is not None:
            waiter(self.status)
        else:
            self._waiters.append(waiter)


def exit_code(wait_status: int) -> int:
    """A wait status as shells and Docker have it: 128 + signal number for a signal."""
    if os.WIFSIGNALED(wait_status):
        return 128 + os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status)
