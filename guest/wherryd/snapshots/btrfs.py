"""btrfs: a snapshot is a subvolume, made from its parent's in one step and removed in one.

A subvolume holds the parent's files too, so whiteouts are applied while a layer is unpacked. Blocks that
nobody changed are shared by all of them.
"""

import errno
from pathlib import Path

from wherryd.errors import InvalidParameter, KernelFault
from wherryd.snapshots.driver import DirectoryDriver, added_usage
from wherryd.snapshots.index import Record, remove_tree
from wherryd.snapshots.protocol import Kind, Usage, Whiteouts
from wherryd.spec.mount import Mount
from wherryd.sys import btrfs


class BtrfsDriver(DirectoryDriver):
    name = "btrfs"
    whiteouts = Whiteouts.APPLY

    def __init__(self, root: Path) -> None:
        super().__init__(root, remove=remove_subvolume)

    def _create(self, record: Record) -> None:
        files = self._index.files(record)
        if record.kind is Kind.VIEW:
            super()._create(record)
        elif record.parent:
            btrfs.create_snapshot(self._index.files(self._index.committed(record.parent)), files)
        else:
            btrfs.create_subvolume(files)
            files.chmod(0o755)

    def _mounts(self, record: Record) -> tuple[Mount, ...]:
        if record.kind is Kind.COMMITTED:
            raise InvalidParameter(f'snapshot "{record.key}" is committed; make a view of it')
        if record.kind is Kind.VIEW and record.parent:
            return self._bind(self._index.committed(record.parent), writable=False)
        return self._bind(record, writable=record.kind is Kind.ACTIVE)

    def commit(self, key: str, name: str, parent: str | None = None) -> None:
        # A snapshot of this one would have an empty directory in such a place.
        if btrfs.holds_subvolumes(self._index.files(self._index.active(key))):
            raise InvalidParameter(
                "a btrfs subvolume was made inside; a layer cannot hold one: copy its files into a directory"
            )
        super().commit(key, name, parent)

    def usage(self, key: str) -> Usage:
        """Of the files that are not the parent's any more: changed blocks are not told apart from the
        unchanged ones of the same file."""
        record = self._index.get(key)
        if record.kind is Kind.VIEW or not record.parent:
            return super().usage(key)
        return added_usage(self._index.files(record), self._index.files(self._index.committed(record.parent)))


def remove_subvolume(path: Path) -> None:
    """Of whatever an interrupted step may have left: a subvolume, one with others inside, or a directory."""
    try:
        btrfs.destroy_subvolume(path)
    except KernelFault as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EINVAL, errno.ENOTDIR, errno.ENOTTY):
            raise
        remove_tree(path)  # rmdir(2) takes an empty subvolume
