"""A build context told by its contents, so that only what the engine lacks is sent. Our own calls:

    POST /build/contexts/needs?target=...   body: a Dockerfile    -> {"Paths": [pattern, ...]}
    POST /build/contexts                    body: a line per file -> {"Token": ..., "Missing": [digest, ...]}
    PUT  /build/contexts/<token>            body: the missing contents, one after the other, in that order
    POST /build?context=<token>             the build

An engine that does not know them answers 404, and gets an archive.

A list is known by its digest, the sha256 of its lines, as long as the engine remembers it. When little has
changed since, one call is enough:

    POST /build?context=<digest>&needs=<digest>[&base=<digest>]

needs says for which paths the list was made (`needs_digest`). With base, the digest of an earlier list, the
body is what has changed in it (`difference`), an empty line, and the contents of the files in the new lines
that are not empty, each once, one after the other. The answer is 404 when the engine does not know the list,
lacks a content, or the Dockerfile needs other paths by now; then the calls above are made.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from wherrywire.dockerignore import BadPattern, compile_pattern

#: What a pattern's part must hold to be more than a name.
_SIGNS = "*?[\\"


class Kind(StrEnum):
    FILE = "f"
    DIRECTORY = "d"
    SYMLINK = "l"
    #: A second name of a file that an earlier entry names.
    HARD_LINK = "h"
    FIFO = "p"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """path: below the context, slashes, surrogates for bytes that are no UTF-8. mode: permissions.
    size: bytes of a file. value: digest "sha256:..." of a file, target of a link."""

    kind: Kind
    path: str
    mode: int
    mtime_ns: int
    size: int = 0
    value: str = ""

    def line(self) -> bytes:
        """With the end of the line. All characters are ASCII: surrogates have no UTF-8."""
        fields = [self.kind.value, self.path, self.mode, self.mtime_ns, self.size, self.value]
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


class BadChange(ValueError):  # noqa: N818 - named for what it is
    """Changes that cannot be of this list; str() says why."""


def digest_of(lines: Iterable[bytes]) -> str:
    """Of a list."""
    return "sha256:" + hashlib.sha256(b"".join(lines)).hexdigest()


def needs_digest(patterns: Iterable[str]) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(sorted(patterns)).encode()).hexdigest()


def difference(before: Sequence[bytes], after: Sequence[bytes]) -> list[bytes] | None:
    r"""What makes one list of the other: `=3\n` takes three lines over, `-1\n` leaves one out, others are
    new.

    None when common lines changed their order, which those of a folder do not."""
    old, new = set(before), set(after)
    changes: list[bytes] = []
    at, same, gone = 0, 0, 0

    def told() -> None:
        nonlocal same, gone
        if same:
            changes.append(b"=%d\n" % same)
        if gone:
            changes.append(b"-%d\n" % gone)
        same = gone = 0

    for line in after:
        if line not in old:
            told()
            changes.append(line)
            continue
        while at < len(before) and before[at] not in new:
            if same:
                told()
            at, gone = at + 1, gone + 1
        if at == len(before) or before[at] != line:
            return None
        if gone:
            told()
        at, same = at + 1, same + 1
    told()
    return changes


def changed(before: Sequence[bytes], changes: Iterable[bytes]) -> Iterator[bytes]:
    """The list that `difference` was made of. Raises BadChange."""
    at = 0
    for change in changes:
        if change[:1] not in b"=-":
            yield change
            continue
        text = change[1:].strip()
        if not text.isdigit() or len(text) > 9 or at + int(text) > len(before):
            raise BadChange(f"no such change of a list of {len(before)} lines: {change[:20]!r}")
        if change[:1] == b"=":
            yield from before[at : at + int(text)]
        at += int(text)


class Needs:
    """Which paths a Dockerfile can need: those that a pattern names, all below, and the folders above."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """patterns: as COPY has them, without leading slash; "" or "." means everything."""
        self.patterns = sorted({pattern.strip("/") for pattern in patterns})
        self._split = [_parts(pattern) for pattern in self.patterns]

    @property
    def everything(self) -> bool:
        return any(not parts for parts in self._split)

    @property
    def names(self) -> list[str] | None:
        """The paths themselves; None when a pattern is more than a name, or means everything."""
        if any(not parts or any(_is_pattern(part) for part in parts) for parts in self._split):
            return None
        return ["/".join(parts) for parts in self._split]

    def takes(self, path: str) -> bool:
        names = path.split("/")
        return any(_fits(parts, names) for parts in self._split)

    def takes_all(self, folder: str) -> bool:
        """Whether everything below folder is taken. folder: as a path, "" or with a slash at its end."""
        names = folder.split("/")[:-1]
        return any(len(parts) <= len(names) and _fits(parts, names) for parts in self._split)

    def follows(self, path: str) -> bool:
        """Whether a link at path leads to what is needed: it is a source, or on the way to one. Links below a
        source are copied as they are."""
        names = path.split("/")
        return any(len(names) <= len(parts) and _fits(parts, names) for parts in self._split)


def _parts(pattern: str) -> list[str]:
    """Up to a "**", below which everything counts."""
    parts: list[str] = []
    for part in pattern.split("/"):
        if "**" in part:
            break
        if part not in ("", "."):
            parts.append(part)
    return parts


def _is_pattern(part: str) -> bool:
    return any(sign in part for sign in _SIGNS)


def _fits(parts: list[str], names: list[str]) -> bool:
    for part, name in zip(parts, names, strict=False):
        if part == name:
            continue
        if not _is_pattern(part):
            return False
        try:
            if not compile_pattern(part).fullmatch(name):
                return False
        except BadPattern:
            return True  # the build says what is wrong with it
    return True
