"""Pseudo terminals: the slave by descriptor, the window's size."""

import fcntl
import os
import struct
from typing import Final

# asm-generic/ioctls.h; the same on amd64 and arm64.
TIOCSCTTY: Final = 0x540E
TIOCSWINSZ: Final = 0x5414
TIOCSPTLCK: Final = 0x40045431
TIOCGPTPEER: Final = 0x5441
DEVPTS_SUPER_MAGIC: Final = 0x1CD1


def unlock(master: int) -> None:
    """unlockpt(3). Raises OSError."""
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))


def open_peer(master: int) -> int:
    """The slave of a master, without any path: nothing can be put in its place (CVE-2025-52565)."""
    return fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def set_size(terminal: int, height: int, width: int) -> None:
    """TIOCSWINSZ in characters; the foreground group gets SIGWINCH. Raises OSError."""
    fcntl.ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def make_controlling(terminal: int) -> None:
    """TIOCSCTTY; the caller leads its session and has no terminal yet. Raises OSError."""
    fcntl.ioctl(terminal, TIOCSCTTY, 0)
