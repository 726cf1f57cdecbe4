"""Terminals on macOS and Linux: termios, SIGWINCH, and a reader that can be stopped."""

import sys

assert sys.platform != "win32"  # noqa: S101 - the type checker's way to know the platform

import contextlib  # noqa: E402
import os  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import termios  # noqa: E402
import tty  # noqa: E402
from collections.abc import Callable, Iterator, Mapping  # noqa: E402

#: Signals that --sig-proxy hands to the container, by the name the API wants. Those that stop or resume
#: this very process (TSTP, TTIN, CONT) stay ours.
FORWARDED: Mapping[int, str] = {
    getattr(signal, f"SIG{name}"): name for name in ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM")
}


def forced(signum: int) -> bool:
    """Whether pressing it again and again means "let me out"."""
    return signum in {signal.SIGINT, signal.SIGTERM}


@contextlib.contextmanager
def raw_mode(fd: int) -> Iterator[Callable[[], None]]:
    """Keys arrive one by one and unechoed. Yields `restore`, which may be called early and twice."""
    before = termios.tcgetattr(fd)
    restored = False

    def restore() -> None:
        nonlocal restored
        if not restored:
            restored = True
            # TCSANOW: waiting for output to drain would hang on a terminal that was stopped with ctrl-s.
            termios.tcsetattr(fd, termios.TCSANOW, before)

    tty.setraw(fd, termios.TCSANOW)
    try:
        yield restore
    finally:
        restore()


@contextlib.contextmanager
def watch_size(changed: Callable[[], None]) -> Iterator[None]:
    """Calls changed (in a signal handler: it must be quick) whenever the window changes."""
    before = signal.signal(signal.SIGWINCH, lambda *_: changed())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


class InputReader:
    """Reads a descriptor in one thread and can be stopped from another, so that no key is swallowed after."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._wake_read, self._wake_write = os.pipe()

    def read(self, size: int) -> bytes | None:
        """Bytes; b"" at the end; None once stopped."""
        # select, not poll: poll does not know terminals on macOS.
        ready, _, _ = select.select([self._fd, self._wake_read], [], [])
        if self._wake_read in ready:
            return None
        try:
            return os.read(self._fd, size)
        except OSError:
            # EIO: the terminal has gone (hang-up), which is an end like any other.
            return b""

    def stop(self) -> None:
        os.write(self._wake_write, b".")

    def close(self) -> None:
        """After the reading thread has ended."""
        os.close(self._wake_read)
        os.close(self._wake_write)
