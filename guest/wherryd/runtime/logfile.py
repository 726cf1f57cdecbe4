"""The json-file log: one JSON object per line, `log`, `stream`, `time`; rotated by size.

Source: docker's json-file driver. A line is split after 16 KiB; each part but the last has no newline,
so that readers join them again. Unlike the original, a part never ends inside a UTF-8 character.
"""

import os
from json.encoder import encode_basestring
from pathlib import Path
from typing import Final

from wherryd import clock

MAX_LINE_BYTES: Final = 16 * 1024
_UTF8_LEAD_BYTES: Final = 4


class LineSplitter:
    r"""Bytes in, log lines out: whole lines with their ``\n``, parts of long ones without."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """What is complete now. A line without its newline yet is held back, up to MAX_LINE_BYTES."""
        *lines, rest = (self._rest + data).split(b"\n")
        found: list[bytes] = []
        for line in lines:
            found += _parts(line + b"\n")
        while len(rest) > MAX_LINE_BYTES:
            cut = _cut(rest)
            found.append(rest[:cut])
            rest = rest[cut:]
        self._rest = rest
        return found

    def finish(self) -> list[bytes]:
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def _parts(line: bytes) -> list[bytes]:
    # The newline is no part of the 16 KiB: a line of just that length is not split.
    if len(line) <= MAX_LINE_BYTES + 1:
        return [line]
    parts = []
    while len(line) > MAX_LINE_BYTES + 1:
        cut = _cut(line)
        parts.append(line[:cut])
        line = line[cut:]
    return [*parts, line]


def _cut(text: bytes) -> int:
    """Where to cut: at most MAX_LINE_BYTES, before a character that would be torn."""
    cut = MAX_LINE_BYTES
    for back in range(_UTF8_LEAD_BYTES):
        if text[cut - back] & 0xC0 != 0x80:
            return cut - back
    return cut  # not UTF-8


class JsonFileLog:
    """The monitor is its only writer. `close` may be called twice."""

    def __init__(self, path: Path, *, max_bytes: int | None, max_files: int) -> None:
        """Appends to what is there: a container that is started again goes on in its log."""
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max(max_files, 1)
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size
        self._splitters: dict[str, LineSplitter] = {}

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def write(self, stream: str, data: bytes) -> None:
        """Raises OSError: ENOSPC, EIO."""
        self._write(stream, self._splitters.setdefault(stream, LineSplitter()).feed(data))

    def finish(self, stream: str) -> None:
        """The stream has ended: writes a last line that had no newline."""
        splitter = self._splitters.pop(stream, None)
        if splitter is not None:
            self._write(stream, splitter.finish())

    def _write(self, stream: str, lines: list[bytes]) -> None:
        time = clock.now()
        batch: list[bytes] = []
        size = 0
        for line in lines:
            text = encode_basestring(line.decode("utf-8", "replace"))
            record = f'{{"log":{text},"stream":"{stream}","time":"{time}"}}\n'.encode()
            if self._max_bytes is not None and self._size + size + len(record) > self._max_bytes:
                self._append(b"".join(batch))
                batch, size = [], 0
                self._rotate()
            batch.append(record)
            size += len(record)
        self._append(b"".join(batch))

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]

    def _rotate(self) -> None:
        """log -> log.1 -> log.2 ...; with one file only, it is begun anew."""
        if self._size == 0:
            return  # one record larger than the limit: there is nothing to make room for
        if self._max_files == 1:
            os.ftruncate(self._fd, 0)
            self._size = 0
            return
        for number in range(self._max_files - 1, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.rename(self._numbered(number))
        os.close(self._fd)
        self._fd = self._open()
        self._size = 0

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
