"""A terminal (or pipe) joined to a container's streams: what run, exec, attach and start -a share.

Two threads copy, a third does the small calls (resize, kill); the main thread waits for events and owns
signals and the terminal. Everything it starts ends in `__exit__`, and the terminal is restored there in
any case, or as soon as the output has ended, so that messages come out well.
"""

import contextlib
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

import click

from wherry.cli import terminal
from wherry.cli.detach_keys import DetachKeys
from wherry.errors import EngineProblem, WherryError
from wherrywire.rawstream import Decoder, FramingError, StreamId

if TYPE_CHECKING:
    from wherry.engine.hijack import HijackedStream

READ_BYTES = 32 * 1024
#: Seconds between looks at pending signals while the main thread waits. Python runs handlers between its
#: own steps: a signal that comes just before the thread goes to sleep on a lock does not wake it, and on
#: Windows none does.
WAIT_SLICE_SECONDS = 0.25
#: Seconds to wait for a thread at the end; each has been told to end, so this only guards against a stall.
JOIN_SECONDS = 2.0
#: Docker gives up on a container that does not go after so many of them.
FORCED_AFTER = 3


class Outcome(Enum):
    ENDED = "the output has ended"
    DETACHED = "the user left with the detach keys"


@dataclass(frozen=True, slots=True)
class Exited:
    """The container's process has ended."""

    status: int


Event = Outcome | Exited | BaseException
Events = queue.SimpleQueue[Event]


@dataclass(frozen=True, slots=True)
class Wiring:
    """Which of the user's streams to join, and how. Without stdout and stderr, stdin's end is the end."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool
    detach_keys: bytes


class Session:
    """Copies between the user and one hijacked stream, from `with` to the end."""

    def __init__(self, stream: "HijackedStream", wiring: Wiring, events: Events | None = None) -> None:
        """events: a queue of the caller's, which may get other events too; then `wait` is not for him."""
        self._stream = stream
        self._wiring = wiring
        self._events: Events = queue.SimpleQueue() if events is None else events
        self._undo = contextlib.ExitStack()
        self._restore: Callable[[], None] = lambda: None
        self._reader: terminal.InputReader | None = None
        self._threads: list[threading.Thread] = []
        self._closing = False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            undo.callback(self._stream.close)
            if self._wiring.stdin:
                if self._wiring.tty and terminal.is_terminal(terminal.STDIN):
                    undo.enter_context(_ending_signals())
                    self._restore = undo.enter_context(terminal.raw_mode(terminal.STDIN))
                self._reader = terminal.InputReader(terminal.STDIN)
                self._start("input", self._copy_input)
            if self._wiring.stdout or self._wiring.stderr:
                self._start("output", self._copy_output)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing = True
        if self._reader is not None:
            self._reader.stop()
        self._undo.close()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
        if self._reader is not None and not any(thread.is_alive() for thread in self._threads):
            self._reader.close()

    def wait(self) -> Event:
        """The next event; afterwards the terminal is the user's again. Raises what stopped a copy."""
        event = wait_for(self._events)
        if isinstance(event, BaseException):
            raise event
        if isinstance(event, Outcome):
            self._restore()
        return event

    # --- the threads -----------------------------------------------------------------------------

    def _start(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _copy_output(self) -> None:
        try:
            if self._wiring.tty:
                while data := self._stream.recv(READ_BYTES):
                    terminal.write_all(terminal.STDOUT, data)
            else:
                copy_frames(self._chunks(), stdout=self._wiring.stdout, stderr=self._wiring.stderr)
        except (OSError, WherryError) as exc:
            if not self._closing:
                self._events.put(exc)
            return
        self._events.put(Outcome.ENDED)

    def _chunks(self) -> Iterator[bytes]:
        while data := self._stream.recv(READ_BYTES):
            yield data

    def _copy_input(self) -> None:
        keys = DetachKeys(self._wiring.detach_keys) if self._wiring.tty else None
        reader = self._reader
        try:
            while reader is not None and (data := reader.read(READ_BYTES)):
                detached = False
                if keys is not None:
                    data, detached = keys.feed(data)
                self._stream.sendall(data)
                if detached:
                    self._events.put(Outcome.DETACHED)
                    return
            if not self._closing:
                self._stream.close_write()
        except OSError:
            # The container no longer takes input. Its output, still being read, tells the rest.
            pass
        if not (self._wiring.stdout or self._wiring.stderr):
            self._events.put(Outcome.ENDED)


def wait_for(events: Events) -> Event:
    """The next event; signals are served while waiting, on every platform."""
    while True:
        try:
            return events.get(timeout=WAIT_SLICE_SECONDS)
        except queue.Empty:
            continue


def copy_frames(chunks: Iterator[bytes], *, stdout: bool = True, stderr: bool = True) -> None:
    """Docker's frames -> this process's stdout and stderr. Raises EngineProblem, OSError."""
    decoder = Decoder()
    try:
        for chunk in chunks:
            for frame in decoder.feed(chunk):
                if frame.stream is StreamId.SYSTEM_ERROR:
                    raise EngineProblem(
                        f"error from daemon in stream: {frame.payload.decode(errors='replace')}"
                    )
                if frame.stream is StreamId.STDERR:
                    if stderr:
                        terminal.write_all(terminal.STDERR, frame.payload)
                elif stdout:
                    terminal.write_all(terminal.STDOUT, frame.payload)
    except FramingError as exc:
        raise EngineProblem(f"the container's output cannot be read: {exc}; see the engine's log") from exc


class Errands:
    """Small calls to the engine that must not hold up copying: one thread does them in order."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="errands", daemon=True)
        #: Set when the session is over; an errand that tries again and again looks at it.
        self.over = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        self._tasks.put(None)
        self._thread.join(JOIN_SECONDS)

    def do(self, task: Callable[[], Any]) -> None:
        """Safe in a signal handler (SimpleQueue.put is reentrant)."""
        self._tasks.put(task)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except WherryError:
                # A resize or signal that comes when the container has just ended. The main thread learns
                # of the end by itself, and of a lost engine by its broken stream.
                continue


@contextlib.contextmanager
def forwarded_signals(errands: Errands, kill: Callable[[str], Any]) -> Iterator[None]:
    """While inside, signals go to the container. The third ctrl-c in a row ends this process instead."""
    presses = 0

    def handle(signum: int, frame: object) -> None:  # noqa: ARG001
        nonlocal presses
        presses += terminal.forced(signum)
        if presses >= FORCED_AFTER:
            raise EngineProblem(f"got {FORCED_AFTER} SIGTERM/SIGINTs, forcefully exiting")
        errands.do(lambda: kill(terminal.FORWARDED[signum]))

    before = {signum: signal.signal(signum, handle) for signum in terminal.FORWARDED}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def _ending_signals() -> Iterator[None]:
    """While inside, signals that would end this process at once unwind it instead: the terminal is raw."""

    def end(signum: int, frame: object) -> None:  # noqa: ARG001
        raise SystemExit(128 + signum)

    before = {
        signum: signal.signal(signum, end)
        for signum in terminal.FORWARDED
        if signal.getsignal(signum) is signal.SIG_DFL
    }
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def followed_size(errands: Errands, resize: Callable[[int, int], Any]) -> Iterator[None]:
    """While inside, the container's terminal has the size of the user's, beginning now."""

    def tell() -> None:
        size = terminal.size()
        if size is not None:
            resize(*size)

    errands.do(lambda: _insistently(tell, errands.over))
    with terminal.watch_size(lambda: errands.do(tell)):
        try:
            yield
        finally:
            errands.over.set()


def _insistently(tell: Callable[[], None], over: threading.Event) -> None:
    """The first resize may come before the process has its terminal: tried for half a second."""
    for attempt in range(1, 11):
        try:
            tell()
        except EngineProblem:
            # Not there yet, or ended already: the second is what `over` is for.
            if over.wait(attempt * 0.01):
                return
        else:
            return
    click.echo("failed to resize tty, using default size\r", err=True)
