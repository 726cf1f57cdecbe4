"""The folders below a driver's root, and which snapshot owns which of them.

    <root>/m/<id>      symbolic link whose text is "kind|key|parent": the snapshot's record
    <root>/l/<id>      the directory with the snapshot's files
    <root>/w/<id>      scratch directory of the kernel (overlay's workdir), for who needs one
    <root>/trash/<id>  being removed; <id>.w is what was in w/

An id is a short number in base 36: mount(2) takes at most a page of options, and a container on 127
layers names each of their directories in them.

A record is a link and not a file because making and renaming a link is one journaled step of the file
system: it can be neither half-written nor empty after a power cut, without an fsync per container.
A folder without a record is left-over of an interrupted step and is removed when the index opens.
"""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wherryd.errors import Conflict, InvalidParameter, NotFound, SystemFault
from wherryd.snapshots.protocol import Kind, SnapshotInfo
from wherryd.sys import durable, filesystems

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,199}")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Record:
    id: str
    key: str
    parent: str
    kind: Kind

    @property
    def info(self) -> SnapshotInfo:
        return SnapshotInfo(self.key, self.parent, self.kind)


def _spread(folder: Path) -> None:
    """ext4 puts files near their directory, and a directory near the one it is in: layers that are unpacked
    at the same time would look for free inodes in the same block group, and those that a removed image gave
    back are gone through first. With the hint a pull of 50,000 small files took a third less or better."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        filesystems.spread_subdirectories(descriptor)
    finally:
        os.close(descriptor)


def read_records(root: Path) -> Iterator[Record]:
    """The records below a driver's root, whoever has it open; changes nothing."""
    for link in (root / "m").iterdir():
        if not link.name.endswith(".new"):
            kind, key, parent = str(link.readlink()).split("|")
            yield Record(link.name, key, parent, Kind(kind))


class SnapshotIndex:
    """All records in memory, each change on disk first. Any thread."""

    def __init__(self, root: Path, remove: Callable[[Path], None] | None = None) -> None:
        """remove: how a folder goes."""
        self._remove_folder = remove or remove_tree
        self.root = root
        self.lock = threading.RLock()
        for name in ("m", "l", "w", "trash"):
            (root / name).mkdir(parents=True, exist_ok=True)
        # Files of images are below: nobody but the engine may walk in, whatever their own modes say.
        root.chmod(0o700)
        _spread(root / "l")
        self._records = {record.key: record for record in self._read()}
        self._next = 1 + max((int(name, 36) for name in self._used_ids()), default=0)
        self._sweep()

    def _read(self) -> Iterator[Record]:
        for link in (self.root / "m").glob("*.new"):
            link.unlink()  # a commit that did not come to its rename
        return read_records(self.root)

    def _used_ids(self) -> Iterator[str]:
        for name in ("m", "l", "w", "trash"):
            yield from (entry.name.removesuffix(".w") for entry in (self.root / name).iterdir())

    def _sweep(self) -> None:
        owned = {record.id for record in self._records.values()}
        for name in ("l", "w", "trash"):
            for folder in (self.root / name).iterdir():
                if name == "trash" or folder.name not in owned:
                    self._remove_folder(folder)

    # names of folders

    def files(self, record: Record) -> Path:
        return self.root / "l" / record.id

    def work(self, record: Record) -> Path:
        return self.root / "w" / record.id

    # looking up

    def get(self, key: str) -> Record:
        with self.lock:
            record = self._records.get(key)
        if record is None:
            raise NotFound(f'no such snapshot: "{key}"')
        return record

    def committed(self, name: str) -> Record:
        record = self.get(name)
        if record.kind is not Kind.COMMITTED:
            raise Conflict(f'snapshot "{name}" is {record.kind}; only a committed one can be a parent')
        return record

    def chain(self, parent: str) -> list[Record]:
        """The committed `parent` and everything below it, uppermost first."""
        chain = []
        while parent:
            record = self.committed(parent)
            chain.append(record)
            parent = record.parent
        return chain

    def walk(self) -> Iterator[SnapshotInfo]:
        with self.lock:
            waiting = dict(self._records)
        done: set[str] = {""}
        while waiting:
            ready = [record for record in waiting.values() if record.parent in done]
            if not ready:
                raise SystemFault(
                    f"snapshots below {self.root} lost a parent: {', '.join(sorted(waiting)[:5])}"
                )
            for record in ready:
                del waiting[record.key]
                done.add(record.key)
                yield record.info

    # changing

    def add(self, key: str, parent: str, kind: Kind) -> Record:
        """Reserves an id; the record itself is written by `save`, after the folders are there."""
        if not _KEY.fullmatch(key):
            raise InvalidParameter(
                f'invalid snapshot key "{key[:60]}": use letters, digits, ":", ".", "_" and "-"'
            )
        with self.lock:
            if key in self._records:
                raise Conflict(f'snapshot "{key}" exists already; remove it first')
            if parent:
                self.committed(parent)
            number, self._next = self._next, self._next + 1
            return Record(_base36(number), key, parent, kind)

    def save(self, record: Record) -> None:
        link = self.root / "m" / record.id
        with self.lock:
            if record.key in self._records:
                raise Conflict(f'snapshot "{record.key}" exists already; remove it first')
            if record.parent:
                self.committed(record.parent)
            link.symlink_to(f"{record.kind}|{record.key}|{record.parent}")
            self._records[record.key] = record

    def commit(self, key: str, name: str, parent: str | None = None) -> None:
        """The record under its new name, on its new parent if one is given; the files must be on disk."""
        with self.lock:
            if not _KEY.fullmatch(name):
                raise InvalidParameter(f'invalid snapshot name "{name[:60]}"')
            if name in self._records:
                raise Conflict(f'snapshot "{name}" exists already')
            old = self.active(key)
            if parent:
                self.committed(parent)
            new = Record(old.id, name, old.parent if parent is None else parent, Kind.COMMITTED)
            link = self.root / "m" / f"{old.id}.new"
            link.symlink_to(f"{new.kind}|{new.key}|{new.parent}")
            link.rename(self.root / "m" / old.id)
            durable.sync_folder(self.root / "m")
            del self._records[key]
            self._records[name] = new

    def active(self, key: str) -> Record:
        record = self.get(key)
        if record.kind is not Kind.ACTIVE:
            raise Conflict(f'snapshot "{key}" is {record.kind}, not active')
        return record

    def remove(self, key: str) -> None:
        self.set_aside(key)()

    def set_aside(self, key: str) -> Callable[[], None]:
        """As the drivers' (protocol.py)."""
        with self.lock:
            record = self.get(key)
            child = next((other.key for other in self._records.values() if other.parent == key), None)
            if child is not None:
                raise Conflict(f'snapshot "{key}" is the parent of "{child}"; remove that one first')
            (self.root / "m" / record.id).unlink()
            del self._records[key]
        return partial(self._remove_folders, self._to_trash(record))

    def discard(self, record: Record) -> None:
        """Removes a record's folders, whether or not the record was ever saved."""
        self._remove_folders(self._to_trash(record))

    def _to_trash(self, record: Record) -> list[Path]:
        moved = []
        for folder, place in ((self.files(record), record.id), (self.work(record), f"{record.id}.w")):
            with contextlib.suppress(FileNotFoundError):
                moved.append(folder.rename(self.root / "trash" / place))
        return moved

    def _remove_folders(self, folders: Iterable[Path]) -> None:
        for folder in folders:
            self._remove_folder(folder)


def remove_tree(folder: Path) -> None:
    """rm -r. An image may nest directories deeper than Python recurses (up to 3.12), or holds open at a time
    (from 3.13)."""
    try:
        shutil.rmtree(folder)
    except (RecursionError, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno not in (errno.EMFILE, errno.ENAMETOOLONG):
            raise
        subprocess.run(["rm", "-rf", "--one-file-system", "--", str(folder)], check=True)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits
