"""The beginning of a blob that comes from elsewhere, for whoever goes on with it after an interruption.

Nothing in it is trusted: its bytes may be anything after a power cut. Who reads it hashes it with the rest,
and throws it away when the digest of all is wrong.
"""

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from wherryd.errors import SystemFault

log = logging.getLogger(__name__)

#: So much is lost at most by an interruption, and smaller blobs are not kept at all.
KEPT_FROM_BYTES = 1024 * 1024


class Partial:
    """`close` keeps it, `discard` removes it; either may come again. One user at a time."""

    def __init__(self, path: Path, on_close: Callable[[], None]) -> None:
        self._path = path
        self._on_close: Callable[[], None] | None = on_close
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._file: BinaryIO | None = None
        self._full: OSError | None = None

    def read(self, offset: int) -> bytes:
        """Some of what is there from offset on, written or not; b"" at its end."""
        written = 0
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(offset)
            if data := file.read(KEPT_FROM_BYTES):
                return data
            written = os.fstat(file.fileno()).st_size
        return b"".join(self._waiting)[max(0, offset - written) :]

    def add(self, data: bytes) -> bool:
        """data comes behind what is there. Whether it is time to `flush`."""
        if self._full is None:
            self._waiting.append(data)
            self._waiting_bytes += len(data)
        return self._waiting_bytes >= KEPT_FROM_BYTES

    def flush(self) -> None:
        """Blocks. A disk that is full ends the keeping, and is no error of who downloads."""
        try:
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
            for data in self._waiting:
                view = memoryview(data)
                while view:
                    view = view[self._file.write(view) or 0 :]
        except OSError as exc:
            log.warning("%s: %s; the download goes on without being kept", self._path, exc.strerror)
            self._full = exc
        self._waiting.clear()
        self._waiting_bytes = 0

    def check(self) -> None:
        """Raises SystemFault when the disk was full: `read` has not got all that was added."""
        if self._full is not None:
            raise SystemFault(
                f"cannot put a layer aside: {self._full.strerror} (hint: free some disk space)"
            ) from self._full

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._on_close is not None:
            self._on_close()
            self._on_close = None

    def empty(self) -> None:
        """From the first byte again."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._path.unlink(missing_ok=True)
        self._waiting.clear()
        self._waiting_bytes = 0

    def discard(self) -> None:
        self.empty()
        self.close()
