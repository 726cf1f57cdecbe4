"""What is known of a folder from its last build, so that a file that did not change is not read again.

<root>/<hash of the folder's path and the Dockerfile's>.json
    {"version": 2, "engine": address, "asked": digest, "paths": [pattern, ...],
     "records": [[name, size, mtime, ctime, inode, mode, line], ...]}

records are in the order of the list that the engine was told (wherrywire.contextsync), line is theirs. A file
is taken to be the same when all of size, times, inode and mode agree. One that was changed shortly before it
was looked at is read again next time: a second change within the clock's step would not show (git's "racy"
entries).
asked stands for the question which paths are needed, and paths for its answer.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from wherry.renaming import replace

_VERSION = 2
_MAX_FOLDERS = 64

#: [name, size, mtime_ns, ctime_ns, inode, mode, line]; one that is not to be trusted has zeros.
Record = list[Any]


@dataclass(frozen=True)
class Last:
    """engine: whom the list was told to, "" for nobody."""

    engine: str = ""
    asked: str = ""
    paths: Sequence[str] = ()
    records: list[Record] = field(default_factory=list)

    @cached_property
    def by_name(self) -> dict[str, Record]:
        return {record[0]: record for record in self.records}

    @property
    def lines(self) -> list[bytes]:
        return [record[6].encode() + b"\n" for record in self.records]


class StatCache:
    """Of one folder and one Dockerfile."""

    def __init__(self, root: Path, folder: Path, dockerfile: str = "") -> None:
        place = os.fsencode(folder.resolve()) + b"\0" + dockerfile.encode("utf-8", "surrogateescape")
        self._path = root / f"{hashlib.sha256(place).hexdigest()[:32]}.json"

    def load(self) -> Last:
        """Nothing, if there is half a file, or somebody else's: that is no reason not to build."""
        try:
            document = json.loads(self._path.read_bytes())
            if document["version"] != _VERSION:
                return Last()
            records = document["records"]
            if not all(len(record) == 7 and isinstance(record[6], str) for record in records):
                return Last()
            return Last(str(document["engine"]), str(document["asked"]), list(document["paths"]), records)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Last()

    def store(self, last: Last) -> None:
        """A cache: what cannot be written is read again next time."""
        document = {
            "version": _VERSION,
            "engine": last.engine,
            "asked": last.asked,
            "paths": list(last.paths),
            "records": last.records,
        }
        data = json.dumps(document, separators=(",", ":")).encode()
        fresh = self._path.with_name(f"{self._path.name}.{os.urandom(4).hex()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                fresh.write_bytes(data)
                replace(fresh, self._path)
            finally:
                fresh.unlink(missing_ok=True)
            self._forget_old()

    def _forget_old(self) -> None:
        others = sorted(self._path.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in others[:-_MAX_FOLDERS]:
            path.unlink()
