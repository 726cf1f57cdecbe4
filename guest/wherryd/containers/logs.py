"""Reading a container's log: json-file records, across rotated files, from the tail, following.

The monitor writes `<id>-json.log` and rotates it to `.1`, `.2`, ... One record per line:
{"log": "...", "stream": "stdout", "time": "RFC 3339"}. A record without a newline at its end is a part
of a longer line. Source: Engine API, ContainerLogs; the json-file format of the reference daemon.
"""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wherryd import clock
from wherryd.containers.logwatch import LogWatcher
from wherrywire.rawstream import StreamId

_BLOCK = 64 * 1024
#: A record holds at most 16 KiB of output; escaped as JSON that is six times as much.
_MAX_RECORD = 256 * 1024
#: How often a listing that changes under our eyes is taken again.
_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class LogEntry:
    stream: StreamId
    payload: bytes
    time_ns: int
    #: As written; printed with nine digits.
    time: str
    #: Whether a line begins here, so that a timestamp belongs in front.
    starts_line: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """tail: number of records from the end, None for all. since, until: nanoseconds since 1970."""

    stdout: bool
    stderr: bool
    follow: bool = False
    tail: int | None = None
    since: int | None = None
    until: int | None = None


def files_of(path: Path) -> list[Path]:
    """The log's files that exist, oldest first."""
    return [name for name, _ in _listing(path)]


def _listing(path: Path) -> list[tuple[Path, int]]:
    """(file, inode), oldest first. Taken until it holds still: a rotation renames file after file."""
    before = _look(path)
    for _ in range(_ATTEMPTS):
        now = _look(path)
        if now == before:
            break
        before = now
    return before


def _look(path: Path) -> list[tuple[Path, int]]:
    found = []
    with contextlib.suppress(FileNotFoundError):  # the container's folder is gone
        for entry in os.scandir(path.parent):
            number = entry.name.removeprefix(path.name).removeprefix(".")
            if entry.name == path.name or (entry.name.startswith(f"{path.name}.") and number.isdecimal()):
                found.append((int(number or 0), Path(entry.path), entry.inode()))
    return [(name, inode) for _, name, inode in sorted(found, reverse=True)]


def parse(line: bytes, continues: dict[StreamId, bool]) -> LogEntry | None:
    """One record; None for a line cut off by a power failure. Notes open lines in `continues`."""
    try:
        document = json.loads(line)
        stream = StreamId.STDERR if document["stream"] == "stderr" else StreamId.STDOUT
        payload = document["log"].encode("utf-8", "surrogateescape")
        nanoseconds = clock.to_nanoseconds(document["time"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    starts = not continues.get(stream, False)
    continues[stream] = not payload.endswith(b"\n")
    return LogEntry(stream, payload, nanoseconds, clock.from_nanoseconds(nanoseconds), starts)


async def read(
    path: Path,
    query: LogQuery,
    watcher: LogWatcher,
    ended: Callable[[], bool],
    on_exit: Callable[[Callable[[], None]], None],
) -> AsyncIterator[LogEntry]:
    """Entries in the order they were written. With follow it goes on until `ended` and all is read.

    on_exit: has a callable called at the next exit of the container, when `ended` is to be asked again.
    """
    continues: dict[StreamId, bool] = {}
    reader = _Reader(path, query.tail)
    try:
        with watcher.watch(path.parent) as written:
            while True:
                written.clear()
                on_exit(written.set)
                # Asked before reading: what is written before the end is then certainly read.
                last = not query.follow or ended()
                for line in reader.lines():
                    entry = parse(line, continues)
                    if entry is None or not _wanted(entry, query):
                        continue
                    if query.until is not None and entry.time_ns > query.until:
                        return
                    yield entry
                if last:
                    return
                await written.wait()
    finally:
        reader.close()


def _wanted(entry: LogEntry, query: LogQuery) -> bool:
    if query.since is not None and entry.time_ns < query.since:
        return False
    return query.stdout if entry.stream is StreamId.STDOUT else query.stderr


class _Reader:
    """Complete lines of a rotating file, each once. The current file is held open: a rename loses nothing."""

    def __init__(self, path: Path, tail: int | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._pending = b""
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):  # a rotation came in between
                found, start = files_of(path), 0
                if tail is not None:
                    found, start = _tail_position(found, tail)
                if found:
                    self._file = found[0].open("rb")
                    self._file.seek(start)
                return

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def lines(self) -> Iterator[bytes]:
        """All lines that are complete now."""
        while True:
            if self._file is None:
                candidates = _listing(self._path)
                self._file = _open_same(*candidates[0]) if candidates else None
            if self._file is None:
                return
            successor = self._successor(self._file)
            # The successor was looked for first: nothing is written to our file after its rotation.
            yield from self._drain(self._file)
            if successor is None:
                return
            self._file.close()
            self._file = successor

    def _drain(self, file: BinaryIO) -> Iterator[bytes]:
        while block := file.read(_BLOCK):
            *complete, rest = (self._pending + block).split(b"\n")
            yield from complete
            self._pending = rest if len(rest) <= _MAX_RECORD else b""

    def _successor(self, file: BinaryIO) -> BinaryIO | None:
        """The next newer file, when ours is not the newest any more."""
        ours = os.fstat(file.fileno()).st_ino
        for _ in range(_ATTEMPTS):
            candidates = _listing(self._path)
            inodes = [inode for _, inode in candidates]
            # Rotated away altogether: the oldest that is left is what follows.
            at = inodes.index(ours) + 1 if ours in inodes else 0
            if at >= len(candidates):
                return None
            opened = _open_same(*candidates[at])
            if opened is not None:
                return opened
        return None


def _open_same(path: Path, inode: int) -> BinaryIO | None:
    """The file, unless a rotation put another one under its name meanwhile."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if os.fstat(file.fileno()).st_ino == inode:
        return file
    file.close()
    return None


def _tail_position(found: list[Path], count: int) -> tuple[list[Path], int]:
    """The files from the one that holds the first wanted line on, and the offset of that line in it."""
    if not found:
        return [], 0
    if count == 0:
        return found[-1:], found[-1].stat().st_size
    missing = count
    for index in range(len(found) - 1, -1, -1):
        offset, missing = _seek_back(found[index], missing)
        if missing == 0:
            return found[index:], offset
    return found, 0


def _seek_back(path: Path, count: int) -> tuple[int, int]:
    """Offset of the count-th line from the end, and how many lines the file had too few."""
    with path.open("rb") as file:
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
