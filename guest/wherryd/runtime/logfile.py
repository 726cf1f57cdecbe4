"""The json-file log: one JSON object per line, `log`, `stream`, `time`; rotated by size.

Source: docker's json-file driver. A line is split after 16 KiB; each part but the last has no newline,
so that readers join them again. Unlike the original, a part never ends inside a UTF-8 character.
"""

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from json.encoder import encode_basestring
from pathlib import Path
from typing import Final

from wherryd import clock

MAX_LINE_BYTES: Final = 16 * 1024
_UTF8_LEAD_BYTES: Final = 4
PACKED: Final = ".gz"
#: Of a gzip file; MTIME is the 32-bit number at offset 4. Source: RFC 1952, section 2.3.
HEADER_BYTES: Final = 10
_ORIGIN_AT: Final = 4
_ORIGIN: Final = struct.Struct("<I")
#: A step of packing: some milliseconds in which the container's output is not read.
_BLOCK_BYTES: Final = 64 * 1024


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

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int | None,
        max_files: int,
        compress: bool = False,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """Appends to what is there: a container that is started again goes on in its log.

        compress: rotated files are packed, in small steps: see on_work. attributes: `attrs` of every record.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max(max_files, 1)
        self._compress = compress
        self._packing: Iterator[None] = iter(())
        #: Gets `work`, to be called when there is time, until it says that it is done.
        self.on_work: Callable[[Callable[[], bool]], None] = lambda _: None
        self._attributes = f'"attrs":{json.dumps(dict(attributes))},' if attributes else ""
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
            record = f'{{"log":{text},"stream":"{stream}",{self._attributes}"time":"{time}"}}\n'.encode()
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
        # Names change only when nobody works on them: who writes this fast waits for the packing.
        self.finish_work()
        for number in range(self._max_files - 1, 0, -1):
            self._shift(number)
        os.close(self._fd)
        self._fd = self._open()
        self._size = 0
        if self._compress:
            self._packing = self._pack_all()
            self.on_work(self.work)

    def _shift(self, number: int) -> None:
        """The file before becomes that number's, packed or not."""
        older, newer = self._numbered(number - 1), self._numbered(number)
        for suffix in ("", PACKED):
            _with(newer, suffix).unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                _with(older, suffix).rename(_with(newer, suffix))

    def _pack_all(self) -> Iterator[None]:
        """Also what an earlier monitor did not come to."""
        for number in range(self._max_files - 1, 0, -1):
            if self._numbered(number).exists():
                yield from packing(self._numbered(number))

    def work(self) -> bool:
        """One block of the packing that is due; whether there is more. Raises OSError: ENOSPC, EIO."""
        try:
            next(self._packing)
        except StopIteration:
            return False
        return True

    def finish_work(self) -> None:
        while self.work():
            pass

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def packing(path: Path) -> Iterator[None]:
    """path -> path.gz, a block with every step; given up half-way, nothing has changed.

    The header's time field says which inode it was: so a reader knows it again.
    """
    packed, temporary = _with(path, PACKED), _with(path, ".tmp")
    with path.open("rb") as source, temporary.open("wb") as target:
        origin = origin_of(os.fstat(source.fileno()).st_ino)
        packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)  # 16: with gzip's header
        while block := source.read(_BLOCK_BYTES):
            target.write(packer.compress(block))
            yield
        target.write(packer.flush())
        target.seek(_ORIGIN_AT)
        target.write(_ORIGIN.pack(origin))
        os.fchmod(target.fileno(), 0o640)
    temporary.rename(packed)
    path.unlink()


def origin_of(inode: int) -> int:
    """What a packed file has room for of the inode it was made of."""
    return inode & 0xFFFFFFFF


def packed_origin(header: bytes) -> int | None:
    """The same from a packed file's header; None when it is cut off."""
    return None if len(header) < HEADER_BYTES else int(_ORIGIN.unpack_from(header, _ORIGIN_AT)[0])
