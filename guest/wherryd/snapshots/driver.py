"""What the drivers share that keep each snapshot in a directory of its own."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

from wherryd.errors import InvalidParameter
from wherryd.snapshots.index import Record, SnapshotIndex, remove_tree
from wherryd.snapshots.protocol import Kind, SnapshotInfo, UnpackTarget, Usage, Whiteouts
from wherryd.spec.mount import Mount
from wherryd.sys.filesystems import syncfs


class DirectoryDriver(ABC):
    """Implements `Snapshotter` but for the way a directory is filled and mounted."""

    name: str
    whiteouts: Whiteouts

    @property
    def independent_layers(self) -> bool:
        return self.whiteouts is Whiteouts.OVERLAY

    @property
    def prepares_at_once(self) -> bool:
        return False

    def __init__(self, root: Path, *, remove: Callable[[Path], None] = remove_tree) -> None:
        """remove: takes away what `_create` made, and what an interrupted step may have left in its place."""
        self._index = SnapshotIndex(root, remove)

    def _create(self, record: Record) -> None:
        """Makes the snapshot's directory, with what it starts with."""
        # Mode by mkdir would be cut by the process's umask.
        self._index.files(record).mkdir()
        self._index.files(record).chmod(0o755)

    @abstractmethod
    def _mounts(self, record: Record) -> tuple[Mount, ...]: ...

    def prepare(self, key: str, parent: str) -> tuple[Mount, ...]:
        return self._make(key, parent, Kind.ACTIVE)

    def view(self, key: str, parent: str) -> tuple[Mount, ...]:
        return self._make(key, parent, Kind.VIEW)

    def _make(self, key: str, parent: str, kind: Kind) -> tuple[Mount, ...]:
        record = self._index.add(key, parent, kind)
        try:
            self._create(record)
            mounts = self._mounts(record)
            self._index.save(record)
        except BaseException:
            self._index.discard(record)
            raise
        return mounts

    def commit(self, key: str, name: str, parent: str | None = None) -> None:
        record = self._index.active(key)
        if parent is not None and not self.independent_layers:
            raise InvalidParameter(f"{self.name} cannot put a snapshot on another parent")
        # One syncfs for all files of a layer: after a power cut the layer is either whole or not there.
        descriptor = os.open(self._index.files(record), os.O_RDONLY | os.O_DIRECTORY)
        try:
            syncfs(descriptor, str(self._index.files(record)))
        finally:
            os.close(descriptor)
        self._index.commit(key, name, parent)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        return self._mounts(self._index.get(key))

    def remove(self, key: str) -> None:
        self._index.remove(key)

    def set_aside(self, key: str) -> Callable[[], None] | None:  # noqa: ARG002
        return None

    def stat(self, key: str) -> SnapshotInfo:
        return self._index.get(key).info

    def usage(self, key: str) -> Usage:
        return directory_usage(self._index.files(self._index.get(key)))

    def walk(self) -> Iterator[SnapshotInfo]:
        return self._index.walk()

    def unpack_target(self, key: str) -> UnpackTarget:
        return UnpackTarget(self._index.files(self._index.active(key)), self.whiteouts)

    def place(self, name: str) -> Path:
        return self._index.files(self._index.committed(name))

    def layer_directory(self, name: str) -> Path:
        return self._index.files(self._index.committed(name))

    def _bind(self, record: Record, *, writable: bool) -> tuple[Mount, ...]:
        source = str(self._index.files(record))
        return (Mount("bind", source, "", ("rbind", "rw" if writable else "ro")),)


def directory_usage(top: Path) -> Usage:
    """Allocated bytes and inodes below `top`; a file that vanishes meanwhile does not count."""
    size, seen = 0, set()
    pending = [str(top)]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except FileNotFoundError:
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if status.st_ino in seen:
                continue
            seen.add(status.st_ino)
            size += status.st_blocks * 512
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
    return Usage(size, len(seen))


def added_usage(top: Path, parent: Path) -> Usage:
    """What of top is not in parent, of which top is a snapshot: a file keeps its inode number and change time
    until it is changed."""
    size, seen = 0, set()
    pending = [""]
    while pending:
        folder = pending.pop()
        for entry in os.scandir(top / folder if folder else top):
            path = f"{folder}/{entry.name}" if folder else entry.name
            status = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)
            try:
                old = (parent / path).lstat()
            except (FileNotFoundError, NotADirectoryError):
                old = None
            if old is not None and (old.st_ino, old.st_ctime_ns) == (status.st_ino, status.st_ctime_ns):
                continue
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                size += status.st_blocks * 512
    return Usage(size, len(seen))
