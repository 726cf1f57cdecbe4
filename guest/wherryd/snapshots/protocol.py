"""What every snapshot driver does; `tests/contract/test_snapshots_contract.py` runs on each of them.

Words, as in containerd: an *active* snapshot has a `key` and can be written; a *committed* one has a
`name`, never changes again and can be the parent of others; a *view* has a key and is read-only.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from wherryd.spec.mount import Mount


class Kind(StrEnum):
    ACTIVE = "active"
    VIEW = "view"
    COMMITTED = "committed"


class Whiteouts(StrEnum):
    """What an unpacker does with an OCI whiteout (".wh.name") in this driver's directory."""

    OVERLAY = "overlay"  # turn it into overlayfs's own form: device 0:0, opaque attribute
    APPLY = "apply"  # remove the file: the directory holds the parent's files too


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """key: name of a committed snapshot, key of any other. parent: a committed name, or ""."""

    key: str
    parent: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Usage:
    """What a snapshot adds to its parent. size_bytes: allocated on disk, hard links counted once."""

    size_bytes: int
    inodes: int


@dataclass(frozen=True, slots=True)
class UnpackTarget:
    """Where a layer's files go while its snapshot is active."""

    directory: Path
    whiteouts: Whiteouts


class Snapshotter(Protocol):
    """Blocking calls; safe from several threads. Raises NotFound, Conflict (key or name taken, has children,
    wrong kind), InvalidParameter (a key that could not be a file name's source), SystemFault."""

    name: str

    @property
    def independent_layers(self) -> bool:
        """Whether a layer's directory holds only that layer's files: then several are unpacked at once."""

    @property
    def prepares_at_once(self) -> bool:
        """Whether `prepare` and `view` are a few system calls, however much the parent holds: quicker than
        to have a thread do it."""

    def prepare(self, key: str, parent: str) -> tuple[Mount, ...]:
        """Makes a writable snapshot on the committed `parent` ("" = empty)."""

    def view(self, key: str, parent: str) -> tuple[Mount, ...]:
        """Makes a read-only snapshot of the committed `parent`."""

    def commit(self, key: str, name: str, parent: str | None = None) -> None:
        """Turns the active `key` into the committed `name`, durably. The key is gone afterwards.

        parent: puts it on this committed snapshot instead of the one it was prepared on; only where
        `independent_layers` holds.
        """

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """The mounts of an active snapshot or a view, again."""

    def remove(self, key: str) -> None:
        """Removes a snapshot of any kind. Conflict while it has children; NotFound if there is none."""

    def set_aside(self, key: str) -> Callable[[], None] | None:
        """As `remove`, where that takes only some system calls: from then on nobody finds the snapshot. The
        callable frees its space, in a thread, at any time; if it is never called, the next start does it.
        None where nothing is gained: `remove` is to be called."""

    def stat(self, key: str) -> SnapshotInfo:
        """Raises NotFound."""

    def usage(self, key: str) -> Usage:
        """Walks the directory: proportional to the number of files."""

    def walk(self) -> Iterator[SnapshotInfo]:
        """All snapshots, parents before their children."""

    def unpack_target(self, key: str) -> UnpackTarget:
        """The directory behind an active snapshot, for the unpacker alone."""

    def layer_directory(self, name: str) -> Path:
        """The directory of a committed snapshot in which its own files can be found, for reading."""

    def place(self, name: str) -> Path:
        """Where that directory is or would be, for people who look at the disk; nothing is mounted for it."""
