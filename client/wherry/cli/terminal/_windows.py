"""Consoles on Windows: modes through kernel32, the size by looking often.

Needs Windows 10 or newer (virtual terminal sequences).
"""

import sys

assert sys.platform == "win32"  # noqa: S101 - the type checker's way to know the platform

import contextlib  # noqa: E402
import ctypes  # noqa: E402
import io  # noqa: E402
import msvcrt  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import threading  # noqa: E402
from collections.abc import Callable, Iterator, Mapping  # noqa: E402
from ctypes import wintypes  # noqa: E402

#: Seconds between two looks at the window's size; Docker's client uses the same.
SIZE_POLL_SECONDS = 0.25

FORWARDED: Mapping[int, str] = {signal.SIGINT: "INT", signal.SIGTERM: "TERM"}

# consoleapi.h, "SetConsoleMode"
ENABLE_PROCESSED_INPUT = 0x0001
ENABLE_LINE_INPUT = 0x0002
ENABLE_ECHO_INPUT = 0x0004
ENABLE_VIRTUAL_TERMINAL_INPUT = 0x0200
ENABLE_PROCESSED_OUTPUT = 0x0001
ENABLE_VIRTUAL_TERMINAL_PROCESSING = 0x0004
DISABLE_NEWLINE_AUTO_RETURN = 0x0008
CODE_PAGE_UTF8 = 65001

_STDOUT, _STDERR = 1, 2

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_kernel32.GetConsoleMode.argtypes = (wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD))
_kernel32.SetConsoleMode.argtypes = (wintypes.HANDLE, wintypes.DWORD)


def forced(signum: int) -> bool:
    """Whether pressing it again and again means "let me out"."""
    return signum in FORWARDED


def _mode(fd: int) -> int:
    mode = wintypes.DWORD()
    if not _kernel32.GetConsoleMode(msvcrt.get_osfhandle(fd), ctypes.byref(mode)):
        raise ctypes.WinError(ctypes.get_last_error())
    return mode.value


def _set_mode(fd: int, mode: int) -> None:
    if not _kernel32.SetConsoleMode(msvcrt.get_osfhandle(fd), mode):
        raise ctypes.WinError(ctypes.get_last_error())


def _is_console(fd: int) -> bool:
    """isatty says so of NUL, too."""
    try:
        _mode(fd)
    except OSError:
        return False
    return True


def _flush(stream: io.TextIOWrapper) -> None:
    with contextlib.suppress(OSError):  # the reader has gone; who flushes last tells
        stream.flush()


@contextlib.contextmanager
def plain_output() -> Iterator[None]:
    """What is printed is UTF-8 with bare line feeds, as elsewhere; consoles show it, and escape sequences.

    Python would write the system's code page into files and pipes, where a name in another script is an
    error, and `wherry ps -q | xargs wherry rm` of Git Bash would find carriage returns.
    """
    with contextlib.ExitStack() as undo:
        consoles = [fd for fd in (_STDOUT, _STDERR) if _is_console(fd)]
        for fd in consoles:
            mode = _mode(fd)
            undo.callback(_set_mode, fd, mode)
            _set_mode(fd, mode | ENABLE_PROCESSED_OUTPUT | ENABLE_VIRTUAL_TERMINAL_PROCESSING)
        if consoles:
            # The output of containers goes past Python's text layer.
            undo.callback(_kernel32.SetConsoleOutputCP, _kernel32.GetConsoleOutputCP())
            _kernel32.SetConsoleOutputCP(CODE_PAGE_UTF8)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(encoding="utf-8", newline="\n")
                undo.callback(_flush, stream)  # before the console is as it was
        yield


@contextlib.contextmanager
def raw_mode(fd: int) -> Iterator[Callable[[], None]]:
    """Keys arrive one by one, as escape sequences, unechoed; output understands escape sequences.

    Yields `restore`, which may be called early and twice.
    """
    with contextlib.ExitStack() as undo:
        before = _mode(fd)
        undo.callback(_set_mode, fd, before)
        cooked = ENABLE_PROCESSED_INPUT | ENABLE_LINE_INPUT | ENABLE_ECHO_INPUT
        _set_mode(fd, (before & ~cooked) | ENABLE_VIRTUAL_TERMINAL_INPUT)
        if _is_console(_STDOUT):
            output = _mode(_STDOUT)
            undo.callback(_set_mode, _STDOUT, output)
            wanted = (
                ENABLE_PROCESSED_OUTPUT | ENABLE_VIRTUAL_TERMINAL_PROCESSING | DISABLE_NEWLINE_AUTO_RETURN
            )
            _set_mode(_STDOUT, output | wanted)
            page = _kernel32.GetConsoleOutputCP()
            undo.callback(_kernel32.SetConsoleOutputCP, page)
            _kernel32.SetConsoleOutputCP(CODE_PAGE_UTF8)
        yield undo.close


@contextlib.contextmanager
def watch_size(changed: Callable[[], None]) -> Iterator[None]:
    """Calls changed whenever the window's size differs from the last look."""
    ended = threading.Event()

    def look() -> None:
        last = os.get_terminal_size(_STDOUT)
        while not ended.wait(SIZE_POLL_SECONDS):
            size = os.get_terminal_size(_STDOUT)
            if size != last:
                last = size
                changed()

    thread = threading.Thread(target=look, name="window size", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class InputReader:
    """Reads a descriptor. A blocked console read cannot be stopped; it dies with the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._stopped = False

    def read(self, size: int) -> bytes | None:
        """Bytes; b"" at the end; None once stopped."""
        data = os.read(self._fd, size)
        return None if self._stopped else data

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        """Nothing to close."""
