"""One engine per folder: an advisory lock that the kernel drops when the process ends, however it ends.

And the file that says which process that is.
"""

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


@contextmanager
def pidfile(path: Path | None) -> Iterator[None]:
    """Holds our pid while we run."""
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{os.getpid()}\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
