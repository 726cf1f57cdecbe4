"""An exec's child on its way to its program, talked with from the monitor's loop.

It is born in the container's PID namespace: processes of the container can stop it, and its working
directory or program may be on a file system that does not answer. Nothing waits for it here but its own
client: meanwhile the monitor reads output, answers, and can kill the container.

    fork -> READY -> our START -> end of file: it runs
       └------┴----------┴-> FAILED, end of file, or too late: it does not
"""

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Final

from wherryd.errors import EngineError, RuntimeFault
from wherryd.runtime import children
from wherryd.runtime.launch import SETUP_TIMEOUT_S, Launched
from wherryd.runtime.loop import READ, Loop
from wherryd.runtime.messages import ChildMessage, Step

_RESTS: Final = {Step.READY: "it was not set up", Step.START: "its program did not begin"}


class Entering:
    """Calls on_running with the child, or on_failed with why it was killed: one of them, once."""

    def __init__(
        self,
        loop: Loop,
        launched: Launched,
        *,
        on_running: Callable[[Launched], None],
        on_failed: Callable[[EngineError], None],
    ) -> None:
        self._loop = loop
        self._launched = launched
        self._awaited = {Step.READY}
        self._on_running = on_running
        self._on_failed = on_failed
        self._over = False
        self._pidfd = _pidfd(launched.pid)
        launched.peer.socket.setblocking(False)
        loop.watch(launched.peer.socket.fileno(), READ, lambda _: self._heard())
        loop.later(SETUP_TIMEOUT_S, self._too_late)

    def _heard(self) -> None:
        try:
            received = self._launched.peer.receive()
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(RuntimeFault(f"the process that was to enter cannot be heard: {error.strerror}"))
            return
        if received is None:
            self._ended()
            return
        message, fds = received
        try:
            message.raise_if_failed()
        except EngineError as error:
            self._fail(error)
            return
        if message.step is Step.FORKED:
            # Of another runtime (foreign.py): who was talked with has ended, its process is ours now.
            children.status_of(self._launched.pid)
            self._launched.pid = message.pid
            self._close_pidfd()
            self._pidfd = _pidfd(message.pid)
        if message.step is Step.TERMINAL:
            (self._launched.master,) = fds
        self._awaited.discard(message.step)
        if not self._awaited and message.step is Step.READY:
            self._open_gate()

    def _open_gate(self) -> None:
        self._awaited = {Step.START}
        # One that was killed at the gate is told by the end of file.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._launched.peer.send(ChildMessage(step=Step.START))

    def _ended(self) -> None:
        """End of file: exec has closed it, or it has died."""
        if self._awaited != {Step.START}:
            self._fail(RuntimeFault("the process that was to enter ended during its set-up"))
            return
        self._finish()
        self._close_pidfd()
        self._on_running(self._launched)

    def _too_late(self) -> None:
        if not self._over:
            rest = _RESTS[Step.START if self._awaited == {Step.START} else Step.READY]
            self._fail(
                RuntimeFault(
                    f"{rest} within {SETUP_TIMEOUT_S:g} s: a file it needs does not answer, or a process of "
                    "the container holds it up"
                )
            )

    def _fail(self, error: EngineError) -> None:
        if self._over:
            return
        self._finish()
        if self._launched.master >= 0:
            os.close(self._launched.master)
        if self._pidfd >= 0:
            # Stopped or not it dies of this; it is our child, and reaped where all are.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._close_pidfd()
        self._on_failed(error)

    def _finish(self) -> None:
        self._over = True
        self._loop.forget(self._launched.peer.socket.fileno())
        self._launched.peer.close()

    def _close_pidfd(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def _pidfd(pid: int) -> int:
    """-1 when it has been reaped already."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
