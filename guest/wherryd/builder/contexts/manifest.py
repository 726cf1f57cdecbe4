"""The list of a context's files, as a client sends it: read, bounded and checked before anything is made.

A list is known by its digest (wherrywire.contextsync): a client may name one that is here, or say what is
different in its own.
"""

import json
import os
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import cached_property
from typing import Any

from wherryd.builder.contexts.tree import ContextTree
from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter
from wherrywire.contextsync import BadChange, Entry, Kind, changed

#: Bounds against memory use; a kernel's source tree has 90,000 files.
MAX_ENTRIES = 300_000
MAX_LINE_BYTES = 64 * 1024
#: Of all lists that are kept for the next builds.
MAX_KEPT_BYTES = 16 * 1024 * 1024
MAX_KEPT = 8
#: Of the lines of a change, and of what comes with it in one piece.
MAX_CHANGE_BYTES = 16 * 1024 * 1024
_MAX_MODE = 0o7777
_MAX_SIZE_BYTES = 1 << 42
_MAX_TIME_NS = 1 << 62
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Manifest:
    """A list that was checked: each folder comes before what is in it. lines: as they were sent, each with
    what it says."""

    def __init__(self, lines: dict[bytes, Entry]) -> None:
        self.lines = lines
        data = b"".join(lines)
        self.digest = digests.of(data)
        self.size_bytes = len(data)

    @property
    def entries(self) -> Sequence[Entry]:
        return list(self.lines.values())

    @cached_property
    def tree(self) -> ContextTree:
        return ContextTree(self.lines.values())

    @cached_property
    def contents(self) -> dict[str, int]:
        """Digest -> bytes, of all files that are not empty."""
        return {each.value: each.size for each in self.lines.values() if each.kind is Kind.FILE and each.size}

    @cached_property
    def links(self) -> Sequence[Entry]:
        """Symbolic ones."""
        return [each for each in self.lines.values() if each.kind is Kind.SYMLINK]

    def derived(self, lines: dict[bytes, Entry]) -> "Manifest":
        """Another one, most of which is the same: what is known of this one's files serves it, too."""
        made = Manifest(lines)
        if "tree" in self.__dict__:
            different = [entry.path for line, entry in lines.items() if line not in self.lines]
            different += [entry.path for line, entry in self.lines.items() if line not in lines]
            made.tree.inherit(self.tree, different)
        return made


class Manifests:
    """The lists of the last builds: of the next one, most lines are the same."""

    def __init__(self) -> None:
        #: By digest, the longest unused first.
        self._kept: dict[str, Manifest] = {}

    def get(self, digest: str) -> Manifest | None:
        found = self._kept.pop(digest, None)
        if found is not None:
            self._kept[digest] = found
        return found

    def keep(self, manifest: Manifest) -> Manifest:
        """The one that is here, if it is the same. One that is too long is not kept."""
        kept = self.get(manifest.digest) or manifest
        if kept.size_bytes > MAX_KEPT_BYTES:
            return kept
        self._kept[kept.digest] = kept
        while len(self._kept) > MAX_KEPT or self._size_bytes() > MAX_KEPT_BYTES:
            del self._kept[next(iter(self._kept))]
        return kept

    def _size_bytes(self) -> int:
        return sum(each.size_bytes for each in self._kept.values())

    async def read(self, stream: AsyncIterator[bytes]) -> Manifest:
        """A whole list. Raises InvalidParameter."""
        return self.keep(Manifest(_checked([line async for line in _lines(stream)], self._likely())))

    def change(self, base: Manifest, changes: Sequence[bytes]) -> Manifest:
        """changes: lines as `wherrywire.contextsync.difference` makes them. Raises InvalidParameter."""
        try:
            lines = list(changed(list(base.lines), changes))
        except BadChange as exc:
            raise InvalidParameter(f"context: {exc}") from exc
        return self.keep(base.derived(_checked(lines, base.lines)))

    def _likely(self) -> dict[bytes, Entry]:
        """Lines of the list that was used last."""
        return self._kept[next(reversed(self._kept))].lines if self._kept else {}


async def read_changes(stream: AsyncIterator[bytes]) -> tuple[list[bytes], AsyncIterator[bytes]]:
    """(the lines up to the empty one, the bytes after it). Raises InvalidParameter."""
    data = b"\n"  # an empty line may be the first
    while (end := data.find(b"\n\n")) < 0:
        more = await anext(stream, b"")
        if not more:
            raise InvalidParameter("context: the list of what has changed was cut off; build again")
        data += more
        if len(data) > MAX_CHANGE_BYTES:
            raise InvalidParameter(f"context: changes of more than {MAX_CHANGE_BYTES} bytes")
    lines = [line + b"\n" for line in data[1:end].split(b"\n")] if end else []
    return lines, _after(data[end + 2 :], stream)


async def _after(data: bytes, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if data:
        yield data
    async for more in stream:
        yield more


async def _lines(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """With their ends. Raises InvalidParameter."""
    rest, count = b"", 0
    async for data in stream:
        *whole, rest = (rest + data).split(b"\n")
        count += len(whole)
        if count > MAX_ENTRIES:
            raise InvalidParameter(f"context: more than {MAX_ENTRIES} files")
        for line in whole:
            yield line + b"\n"
        if len(rest) > MAX_LINE_BYTES:
            raise InvalidParameter(f"context: a line of more than {MAX_LINE_BYTES} bytes")
    if rest:
        raise InvalidParameter("context: the list of its files was cut off; send it again")


def _checked(lines: Iterable[bytes], known: dict[bytes, Entry]) -> dict[bytes, Entry]:
    """known: lines that were read before. No entry is below anything but a folder: what makes the files
    follows no link, wherever it leads. Raises InvalidParameter."""
    found: dict[bytes, Entry] = {}
    kinds: dict[str, Kind] = {}
    for line in lines:
        entry = known.get(line) or _entry(line)
        path = entry.path
        if path in kinds:
            raise InvalidParameter(f"context: {path!r} comes twice")
        folder = path.rpartition("/")[0]
        if folder and kinds.get(folder) is not Kind.DIRECTORY:
            _imply(folder, path, kinds)
        if entry.kind is Kind.HARD_LINK and kinds.get(entry.value) is not Kind.FILE:
            raise InvalidParameter(f"context: {path!r} is a second name of no file before it")
        kinds[path] = entry.kind
        found[line] = entry
    if len(found) > MAX_ENTRIES:
        raise InvalidParameter(f"context: more than {MAX_ENTRIES} files")
    return found


def _imply(folder: str, path: str, kinds: dict[str, Kind]) -> None:
    """A folder that is ignored, with an exception in it, is not told itself."""
    while folder and (kind := kinds.get(folder)) is not Kind.DIRECTORY:
        if kind is not None:
            raise InvalidParameter(f"context: {path!r} is below a file or link")
        kinds[folder] = Kind.DIRECTORY
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
    try:
        os.fsencode(path + value)
    except UnicodeEncodeError as exc:
        raise InvalidParameter(f"context: {path!r} can be no file's name") from exc
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
