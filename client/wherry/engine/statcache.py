"""Digests of a folder's files from the last time, so that a file that did not change is not read again.

<root>/<hash of the folder's path>.json   {"version": 1, "files": {name: [size, mtime, ctime, inode, digest]}}

A file is taken to be the same when all four agree. One that was changed shortly before it was read is read
again next time: a second change within the clock's step would not show (git's "racy" entries).
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from wherry.engine.buildcontext import Found
from wherry.errors import UsageProblem

_VERSION = 1
#: FAT keeps times in steps of two seconds.
_STEP_NS = 2_000_000_000
_MAX_FOLDERS = 64
_READERS = 4

_Record = list[int | str]


class StatCache:
    """Of one folder."""

    def __init__(self, root: Path, folder: Path) -> None:
        name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
        self._path = root / f"{name}.json"

    def digests(self, files: Iterable[Found]) -> dict[str, str]:
        """Name -> "sha256:..."; what had to be read is kept. Raises UsageProblem for what cannot be read."""
        before = self._load()
        found: dict[str, str] = {}
        unknown: list[Found] = []
        kept: dict[str, _Record] = {}
        now = time.time_ns()
        for file in files:
            record = before.get(file.name)
            if record is not None and record[:4] == _identity(file.status):
                found[file.name], kept[file.name] = str(record[4]), record
            else:
                unknown.append(file)
        for file, digest in zip(unknown, _read_all(unknown), strict=True):
            found[file.name] = digest
            if max(file.status.st_mtime_ns, file.status.st_ctime_ns) < now - _STEP_NS:
                kept[file.name] = [*_identity(file.status), digest]
        if kept != before:
            self._store({**before, **kept})
        return found

    def _load(self) -> dict[str, _Record]:
        try:
            document = json.loads(self._path.read_bytes())
            files: dict[str, _Record] = document["files"] if document["version"] == _VERSION else {}
            # Half a file, or somebody else's, is no reason not to build.
            return {name: record for name, record in files.items() if len(record) == 5}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _store(self, files: dict[str, _Record]) -> None:
        """A cache: what cannot be written is read again next time."""
        data = json.dumps({"version": _VERSION, "files": files}, separators=(",", ":")).encode()
        fresh = self._path.with_name(f"{self._path.name}.{os.urandom(4).hex()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                fresh.write_bytes(data)
                fresh.replace(self._path)
            finally:
                fresh.unlink(missing_ok=True)
            self._forget_old()

    def _forget_old(self) -> None:
        others = sorted(self._path.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in others[:-_MAX_FOLDERS]:
            path.unlink()


def _identity(status: os.stat_result) -> _Record:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _read_all(files: list[Found]) -> list[str]:
    """Several at a time; one alone needs no threads, whose library takes as long to load as a small file."""
    if len(files) < _READERS:
        return [_digest(file) for file in files]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(_digest, files))


def _digest(file: Found) -> str:
    try:
        with file.path.open("rb") as opened:
            return "sha256:" + hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as exc:
        raise UsageProblem(
            f"unable to prepare context: cannot read {file.path}: {exc.strerror}; "
            "correct its permissions, or name it in .dockerignore"
        ) from exc
