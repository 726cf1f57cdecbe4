"""The list of a context's files, as a client sends it: read, bounded and checked before anything is made."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

from wherryd.errors import InvalidParameter
from wherrywire.contextsync import Entry, Kind

#: Bounds against memory use; a kernel's source tree has 90,000 files.
MAX_ENTRIES = 300_000
MAX_LINE_BYTES = 64 * 1024
#: A longer list is read anew each time.
MAX_KEPT_BYTES = 16 * 1024 * 1024
_MAX_MODE = 0o7777
_MAX_SIZE_BYTES = 1 << 42
_MAX_TIME_NS = 1 << 62
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Lines:
    """The lines of the last list and what they say: of the next one, most are the same."""

    def __init__(self) -> None:
        self._last: dict[bytes, Entry] = {}

    def entry(self, line: bytes) -> Entry:
        """Raises InvalidParameter."""
        return self._last.get(line) or _entry(line)

    def keep(self, lines: dict[bytes, Entry]) -> None:
        self._last = lines if sum(map(len, lines)) <= MAX_KEPT_BYTES else {}


async def read(stream: AsyncIterator[bytes], lines: Lines | None = None) -> list[Entry]:
    """The entries, each folder before what is in it. lines: what is known of an earlier list.

    Raises InvalidParameter."""
    lines = lines or Lines()
    checked = _Checked(lines)
    rest = b""
    async for data in stream:
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            checked.add(line)
        if len(rest) > MAX_LINE_BYTES:
            raise InvalidParameter(f"context: a line of more than {MAX_LINE_BYTES} bytes")
    if rest:
        raise InvalidParameter("context: the list of its files was cut off; send it again")
    lines.keep(checked.lines)
    return list(checked.lines.values())


class _Checked:
    """No entry is below anything but a folder: what makes the files follows no link, wherever it leads."""

    def __init__(self, known: Lines) -> None:
        self.lines: dict[bytes, Entry] = {}
        self._known = known
        self._kinds: dict[str, Kind] = {}

    def add(self, line: bytes) -> None:
        entry = self._known.entry(line)
        if len(self.lines) >= MAX_ENTRIES:
            raise InvalidParameter(f"context: more than {MAX_ENTRIES} files")
        if entry.path in self._kinds:
            raise InvalidParameter(f"context: {entry.path!r} comes twice")
        self._check_folders(entry.path)
        if entry.kind is Kind.HARD_LINK and self._kinds.get(entry.value) is not Kind.FILE:
            raise InvalidParameter(f"context: {entry.path!r} is a second name of no file before it")
        self._kinds[entry.path] = entry.kind
        self.lines[line] = entry

    def _check_folders(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        while folder and (kind := self._kinds.get(folder)) is not Kind.DIRECTORY:
            if kind is not None:
                raise InvalidParameter(f"context: {path!r} is below a file or link")
            # A folder that is ignored, with an exception in it, is not told itself.
            self._kinds[folder] = Kind.DIRECTORY
            folder = folder.rpartition("/")[0]


def _entry(line: bytes) -> Entry:
    try:
        fields = json.loads(line)
        kind, path, mode, mtime_ns, size, value = fields
        entry = Entry(kind=Kind(kind), path=path, mode=mode, mtime_ns=mtime_ns, size=size, value=value)
    except (ValueError, TypeError, RecursionError) as exc:
        raise InvalidParameter(f"context: not an entry: {line[:80]!r}") from exc
    if not (isinstance(path, str) and isinstance(value, str)) or not all(
        _number(*each)
        for each in ((mode, _MAX_MODE), (_magnitude(mtime_ns), _MAX_TIME_NS), (size, _MAX_SIZE_BYTES))
    ):
        raise InvalidParameter(f"context: not an entry: {line[:80]!r}")
    if "\0" in path + value or any(part in ("", ".", "..") for part in path.split("/")):
        raise InvalidParameter(f"context: {path!r} is not a path below it")
    if entry.kind is Kind.FILE and not _DIGEST.fullmatch(value):
        raise InvalidParameter(f"context: {path!r} has no digest")
    if entry.kind is Kind.SYMLINK and not value:
        raise InvalidParameter(f"context: {path!r} is a link to nothing")
    return entry


def _magnitude(value: Any) -> Any:
    """Times before 1970 are negative."""
    return abs(value) if type(value) is int else value


def _number(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most
