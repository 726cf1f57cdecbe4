"""The user's terminal: raw mode, size, signals. One module per platform, the same names in both."""

import os
import sys

if sys.platform == "win32":
    from wherry.cli.terminal._windows import (
        FORWARDED,
        InputReader,
        forced,
        raw_mode,
        watch_size,
    )
else:
    from wherry.cli.terminal._posix import (
        FORWARDED,
        InputReader,
        forced,
        raw_mode,
        watch_size,
    )

__all__ = [
    "FORWARDED",
    "STDERR",
    "STDIN",
    "STDOUT",
    "InputReader",
    "forced",
    "is_terminal",
    "raw_mode",
    "size",
    "watch_size",
    "write_all",
]

STDIN, STDOUT, STDERR = 0, 1, 2


def is_terminal(fd: int) -> bool:
    """Whether fd is a terminal; a closed fd is none."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def size() -> tuple[int, int] | None:
    """(height, width) of the terminal on standard output; None if there is none or it has no size."""
    try:
        found = os.get_terminal_size(STDOUT)
    except OSError:
        return None
    return (found.lines, found.columns) if found.lines and found.columns else None


def write_all(fd: int, data: bytes) -> None:
    """All of data, however often it takes. Raises OSError (EPIPE if the reader has gone)."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
