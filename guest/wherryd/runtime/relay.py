"""Our terminal and the container's, joined: bytes both ways, and the window size. For wherry-runc."""

import contextlib
import fcntl
import os
import select
import signal
import struct
import termios
import tty
from collections.abc import Iterator
from typing import Final

from wherryd.sys import terminal

_CHUNK_BYTES: Final = 32 * 1024


def relay(master: int) -> None:
    """Until the container's side is gone. Our terminal is raw meanwhile, and as before afterwards."""
    with _raw(0):
        _copy_size(master)
        signal.signal(signal.SIGWINCH, lambda *_: _copy_size(master))
        watched = [0, master]
        while True:
            readable, _, _ = select.select(watched, [], [])
            if 0 in readable:
                data = os.read(0, _CHUNK_BYTES)
                if data:
                    _write_all(master, data)
                else:
                    watched.remove(0)
            if master in readable:
                try:
                    data = os.read(master, _CHUNK_BYTES)
                except OSError:  # EIO: the last process with the terminal has gone
                    return
                _write_all(1, data)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _copy_size(master: int) -> None:
    with contextlib.suppress(OSError):  # ours is no terminal
        packed = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
        height, width, _, _ = struct.unpack("HHHH", packed)
        terminal.set_size(master, height, width)


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
