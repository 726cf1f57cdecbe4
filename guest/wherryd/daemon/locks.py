"""One engine per folder: an advisory lock that the kernel drops when the process ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wherryd.errors import Conflict


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Raises Conflict when another engine holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another wherryd uses {path.parent} "
                "(hint: stop it, or give another --data-root and --exec-root)"
            ) from None
        yield
    finally:
        os.close(descriptor)
