"""What a context's list says of its files, asked as one asks a folder: no file need be there for it.

A COPY's digest is the one that `copying.digest` makes of the files themselves, so that it is the same step
however its context came. Links that would have to be followed are the kernel's to follow: `Unclear`.
"""

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from json.encoder import encode_basestring_ascii as quoted

from wherryd.builder.copying import sources
from wherryd.content import digest as digests
from wherrywire.contextsync import Entry, Kind, Needs
from wherrywire.dockerignore import Matcher

#: A folder that no entry is about is made with this mode, and so is the context's own.
FOLDER_MODE = 0o755
_EMPTY = digests.encoded(digests.of(b""))
_MAX_DEPTH = 500
_MAX_KNOWN = 64

#: (patterns, excludes, paths that are not there after all, parents) of a COPY.
_Asked = tuple[tuple[str, ...], tuple[str, ...], frozenset[str], bool]


class Unclear(Exception):  # noqa: N818 - says what it is, and is no error
    """The list alone cannot tell."""


class ContextTree:
    """Of entries that `manifest` has checked."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries: dict[str, Entry] = {}
        #: Of each folder, "" is the context's own.
        self._names: dict[str, list[str]] = {"": []}
        self._known: dict[_Asked, tuple[str, int]] = {}
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        folder, _, name = entry.path.rpartition("/")
        if folder not in self._names:
            self._add(Entry(kind=Kind.DIRECTORY, path=folder, mode=FOLDER_MODE, mtime_ns=0))
        self._names[folder].append(name)
        self._entries[entry.path] = entry
        if entry.kind is Kind.DIRECTORY:
            self._names[entry.path] = []

    def inherit(self, before: "ContextTree", different: Collection[str]) -> None:
        """before: of a list that has the same entries, but for those at some paths."""
        for asked, known in before._known.items():
            needs = Needs(map(sources.clean, asked[0]))
            if not needs.everything and not any(map(needs.takes, different)):
                self._known[asked] = known

    def entry(self, path: str) -> Entry | None:
        """None for the root and for what is missing. A folder that no entry is about has one of its own."""
        return self._entries.get(path)

    def digest(
        self, patterns: tuple[str, ...], excludes: tuple[str, ...], hidden: frozenset[str], *, parents: bool
    ) -> tuple[str, int]:
        """As `copying.digest.of_sources` has it. hidden: paths that are not there after all.

        Raises CopyError, BadPattern, Unclear."""
        asked = (patterns, excludes, hidden, parents)
        if asked not in self._known:
            while len(self._known) >= _MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[asked] = _View(self, hidden).digest(patterns, excludes, parents=parents)
        return self._known[asked]

    def names(self, folder: str) -> list[str] | None:
        return self._names.get(folder)

    def below(self, path: str) -> Iterator[Entry]:
        """The entry at path, if there is one, and all below it; second names may come before the first."""
        waiting = [path]
        while waiting:
            path = waiting.pop()
            if (entry := self._entries.get(path)) is not None:
                yield entry
            waiting += [f"{path}/{name}" for name in reversed(self._names.get(path, ()))]


class _View:
    """The tree without what is hidden; as `sources.Files`."""

    def __init__(self, tree: ContextTree, hidden: frozenset[str]) -> None:
        self._tree = tree
        self._hidden = hidden
        self._lines: list[str] = []

    # as sources.Files

    def exists(self, path: str) -> bool:
        return path == "" or self._resolved(path) is not None

    def is_folder(self, path: str) -> bool:
        return path == "" or ((found := self._resolved(path)) is not None and found.kind is Kind.DIRECTORY)

    def names(self, folder: str) -> list[str] | None:
        if not self.is_folder(folder):
            return None
        prefix = f"{folder}/" if folder else ""
        names = self._tree.names(folder) or []
        if not self._hidden:
            return names
        return [name for name in names if prefix + name not in self._hidden]

    def folders(self, folder: str) -> list[str] | None:
        names = self.names(folder)
        prefix = f"{folder}/" if folder else ""
        return names and [name for name in names if self._tree.names(prefix + name) is not None]

    def _resolved(self, path: str) -> Entry | None:
        """Raises Unclear when a link leads to it, or away from it."""
        if path in self._hidden:
            return None
        entry = self._tree.entry(path)
        if entry is not None:
            if entry.kind is Kind.SYMLINK:
                raise Unclear(path)
            return entry
        while path := path.rpartition("/")[0]:
            above = self._tree.entry(path)
            if above is not None and above.kind is Kind.SYMLINK:
                raise Unclear(path)
        return None

    # the digest

    def digest(
        self, patterns: tuple[str, ...], excludes: tuple[str, ...], *, parents: bool
    ) -> tuple[str, int]:
        excluded = Matcher(excludes) if excludes else None
        found = [
            path
            for pattern in patterns
            for path in sources.find(self, pattern, context=True, deep=parents, excluded=excluded)
        ]
        for path in found:
            self._source(path, f"{path}/" if parents else "", excluded)
        data = "".join(self._lines).encode()
        return "sha256:" + hashlib.sha256(data).hexdigest(), len(found)

    def _source(self, path: str, prefix: str, excluded: Matcher | None) -> None:
        if self.is_folder(path):
            entry = self._tree.entry(path)
            mode = FOLDER_MODE if entry is None else entry.mode
            self._lines.append(json.dumps(("source", prefix, "directory", mode)) + "\n")
            self._contents(path, "", excluded, 0)
            return
        entry = self._resolved(path)
        if entry is None:
            raise Unclear(path)  # the files themselves say what is wrong
        name = prefix + path.rpartition("/")[2]
        if entry.kind is Kind.FIFO:
            fields: tuple[object, ...] = ("source", name, stat.S_IFIFO, entry.mode, 0)
        else:
            file = self._file(entry)
            fields = ("source", name, "file", file.mode, _content(file), "")
        self._lines.append(json.dumps(fields) + "\n")

    def _contents(self, folder: str, prefix: str, excluded: Matcher | None, depth: int) -> None:
        """Most of the time of a large context goes by here."""
        if depth > _MAX_DEPTH:
            raise Unclear(folder)
        root = f"{folder}/" if folder else ""
        add, tree = self._lines.append, self._tree
        for name in sorted(self.names(folder) or (), key=os.fsencode):
            path = prefix + name
            entry = tree.entry(root + name)
            assert entry is not None, "each name has one"  # noqa: S101
            kind = entry.kind
            if excluded and excluded.skips(path, folder=kind is Kind.DIRECTORY):
                continue
            if kind is Kind.FILE or kind is Kind.HARD_LINK:
                file = self._file(entry)
                add(f'[{quoted(path)}, "file", {file.mode}, "{_content(file)}", ""]\n')
            elif kind is Kind.DIRECTORY:
                add(f'[{quoted(path)}, "directory", {entry.mode}]\n')
                self._contents(root + name, path + "/", excluded, depth + 1)
            elif kind is Kind.SYMLINK:
                add(f'[{quoted(path)}, "link", {quoted(entry.value)}]\n')
            else:
                add(json.dumps((path, stat.S_IFIFO, entry.mode, 0)) + "\n")

    def _file(self, entry: Entry) -> Entry:
        """The entry of the first name of a file."""
        if entry.kind is Kind.HARD_LINK:
            first = self._tree.entry(entry.value)
            assert first is not None, "it was checked"  # noqa: S101
            return first
        return entry


def _content(file: Entry) -> str:
    return digests.encoded(file.value) if file.size else _EMPTY
