"""Lines of a log that is rotated, and packed, while it is read: each once, in order, from the tail on.

`log` is written, `log.1` is the file before, and so on; a number may be packed (`.gz`). A file is known by
its inode; what was packed says of which one it was made (runtime/logfile.py, `pack`).
"""

import contextlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from wherryd import later
from wherryd.runtime.logfile import HEADER_BYTES, PACKED, origin_of, packed_origin

if TYPE_CHECKING:
    from wherryd.containers import packedlog
else:
    packedlog = later.module("wherryd.containers.packedlog")

Source: TypeAlias = "BinaryIO | packedlog.Unpacked"

_BLOCK = 64 * 1024
#: A record holds at most 16 KiB of output; escaped as JSON that is six times as much.
_MAX_RECORD = 256 * 1024
#: How often a listing that changes under our eyes is taken again.
_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class LogFile:
    path: Path
    number: int
    inode: int

    @property
    def packed(self) -> bool:
        return self.path.name.endswith(PACKED)

    def is_made_of(self, inode: int) -> bool:
        """Whether it is the file with that inode, or what became of it. Somebody must hold that file open."""
        if self.inode == inode:
            return True
        try:
            with self.path.open("rb") as file:
                return self.packed and packed_origin(file.read(HEADER_BYTES)) == origin_of(inode)
        except FileNotFoundError:
            return False

    def open(self) -> "Source | None":
        """None when a rotation or a packing put another one under its name meanwhile."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return None
        if os.fstat(file.fileno()).st_ino != self.inode:
            file.close()
            return None
        return packedlog.Unpacked(file) if self.packed else file


def listing(path: Path) -> list[LogFile]:
    """The log's files, oldest first. Taken until it holds still: a rotation renames file after file."""
    before = _look(path)
    for _ in range(_ATTEMPTS):
        now = _look(path)
        if [each.inode for each in now] == [each.inode for each in before]:
            return now
        before = now
    return before


def _look(path: Path) -> list[LogFile]:
    found: dict[int, LogFile] = {}
    with contextlib.suppress(FileNotFoundError):  # the container's folder is gone
        for entry in os.scandir(path.parent):
            number = _number(entry.name, path.name)
            if number is None:
                continue
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                each = LogFile(Path(entry.path), number, status.st_ino)
                # Both are there for a moment: the packed one is complete.
                if number not in found or each.packed:
                    found[number] = each
    return [found[number] for number in sorted(found, reverse=True)]


def _number(name: str, base: str) -> int | None:
    """0 for the log itself, 2 for `log.2` and `log.2.gz`."""
    if name == base:
        return 0
    if not name.startswith(f"{base}."):
        return None
    text = name.removeprefix(f"{base}.").removesuffix(PACKED)
    return int(text) if text.isascii() and text.isdecimal() else None


class RotatedReader:
    """Complete lines, each once. The current file is held open: a rename loses nothing."""

    def __init__(self, path: Path, tail: int | None) -> None:
        self._path = path
        self._file: Source | None = None
        #: What comes behind _file, while that is being read. Kept here so that `close` reaches it.
        self._next: Source | None = None
        self._pending = b""
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):  # a rotation came in between
                found, start = listing(path), 0
                if tail is not None:
                    found, start = _tail_position(found, tail)
                if found:
                    self._file = _must_open(found[0])
                    self._file.seek(start)
                return

    def close(self) -> None:
        for each in (self._file, self._next):
            if each is not None:
                each.close()

    def lines(self) -> Iterator[bytes]:
        """All lines that are complete now."""
        while True:
            if self._file is None:
                candidates = listing(self._path)
                self._file = candidates[0].open() if candidates else None
            if self._file is None:
                return
            self._next = self._successor(self._file)
            # The successor was looked for first: nothing is written to our file after its rotation.
            yield from self._drain(self._file)
            if self._next is None:
                return
            self._file.close()
            self._file, self._next = self._next, None

    def _drain(self, file: Source) -> Iterator[bytes]:
        while block := file.read(_BLOCK):
            *complete, rest = (self._pending + block).split(b"\n")
            yield from complete
            self._pending = rest if len(rest) <= _MAX_RECORD else b""

    def _successor(self, file: Source) -> "Source | None":
        """The next newer file, when ours is not the newest any more."""
        ours = os.fstat(file.fileno()).st_ino
        for _ in range(_ATTEMPTS):
            candidates = listing(self._path)
            known = [at for at, each in enumerate(candidates) if each.is_made_of(ours)]
            # Rotated away altogether: the oldest that is left is what follows.
            at = known[-1] + 1 if known else 0
            if at >= len(candidates):
                return None
            opened = candidates[at].open()
            if opened is not None:
                return opened
        return None


def _must_open(file: LogFile) -> Source:
    opened = file.open()
    if opened is None:
        raise FileNotFoundError(str(file.path))
    return opened


def _tail_position(found: Sequence[LogFile], count: int) -> tuple[list[LogFile], int]:
    """The files from the one that holds the first wanted line on, and the offset of that line in it."""
    if not found:
        return [], 0
    if count == 0:
        return [found[-1]], found[-1].path.stat().st_size
    missing = count
    for index in range(len(found) - 1, -1, -1):
        seek = _seek_packed if found[index].packed else _seek_back
        with _must_open(found[index]) as file:
            offset, missing = seek(file, missing)
        if missing == 0:
            return list(found[index:]), offset
    return list(found), 0


def _seek_back(file: Source, count: int) -> tuple[int, int]:
    """Offset of the count-th line from the end, and how many lines the file had too few."""
    position = file.seek(0, os.SEEK_END)
    # The newline at the very end closes the last line and begins none.
    seen = -1
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            seen += 1
            if seen == count:
                return position + at + 1, 0
    return 0, count - (seen + 1)


def _seek_packed(file: Source, count: int) -> tuple[int, int]:
    """The same for a file that can only be read forwards."""
    starts: deque[int] = deque(maxlen=count)
    offset, total = 0, 0
    while line := file.readline(_MAX_RECORD):
        starts.append(offset)
        offset += len(line)
        total += 1
    return (starts[0], 0) if total >= count else (0, count - total)
