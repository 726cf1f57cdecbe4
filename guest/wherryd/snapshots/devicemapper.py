"""devicemapper: a snapshot is a thin device with an ext4 file system, mounted at its folder.

It is mounted when somebody needs its files and stays mounted until it is removed or becomes a layer, also
while no engine runs; after a reboot it is mounted again when asked for. What users of the folder see is a
bind of it, as with whole copies: the file system holds the parent's files too, and whiteouts are applied.
"""

import errno
import os
from pathlib import Path

from wherryd.errors import InvalidParameter, KernelFault
from wherryd.snapshots.driver import DirectoryDriver, added_usage
from wherryd.snapshots.index import Record, remove_tree
from wherryd.snapshots.protocol import Kind, UnpackTarget, Usage, Whiteouts
from wherryd.snapshots.thinpool import PoolSizes, ThinPool
from wherryd.spec.mount import Mount
from wherryd.sys import mounts
from wherryd.sys.filesystems import syncfs


class DevicemapperDriver(DirectoryDriver):
    name = "devicemapper"
    whiteouts = Whiteouts.APPLY

    def __init__(self, root: Path, sizes: PoolSizes | None = None) -> None:
        """Raises SystemFault, KernelFault when there can be no pool."""
        root.mkdir(parents=True, exist_ok=True)
        self._pool = ThinPool(root, sizes or PoolSizes())
        self._pool.open()
        super().__init__(root, remove=self._remove_device)

    def _create(self, record: Record) -> None:
        # First, so that what an interrupted step leaves in the pool has a folder to be found by.
        super()._create(record)
        if record.kind is Kind.VIEW and record.parent:
            return
        origin = {"origin": _number(self._index.committed(record.parent))} if record.parent else {}
        self._pool.create(_number(record), **origin)

    def _mounts(self, record: Record) -> tuple[Mount, ...]:
        if record.kind is Kind.COMMITTED:
            raise InvalidParameter(f'snapshot "{record.key}" is committed; make a view of it')
        if record.kind is Kind.VIEW and record.parent:
            record = self._index.committed(record.parent)
        self._mount(record)
        return self._bind(record, writable=record.kind is Kind.ACTIVE)

    def unpack_target(self, key: str) -> UnpackTarget:
        self._mount(self._index.active(key))
        return super().unpack_target(key)

    def layer_directory(self, name: str) -> Path:
        self._mount(self._index.committed(name))
        return super().layer_directory(name)

    def commit(self, key: str, name: str, parent: str | None = None) -> None:
        record = self._index.active(key)
        if parent is not None:
            raise InvalidParameter(f"{self.name} cannot put a snapshot on another parent")
        self._mount(record)
        files = self._index.files(record)
        descriptor = os.open(files, os.O_RDONLY | os.O_DIRECTORY)
        try:
            syncfs(descriptor, str(files))  # also makes the pool write its own metadata
        finally:
            os.close(descriptor)
        self._index.commit(key, name, parent)
        # From now on nobody writes: a layer's file system is mounted again, read-only, when it is read.
        self._unmount(files)

    def remove(self, key: str) -> None:
        files = self._index.files(self._index.get(key))
        child = next((info.key for info in self._index.walk() if info.parent == key), None)
        if child is None:
            self._unmount(files)
        super().remove(key)

    def usage(self, key: str) -> Usage:
        record = self._index.get(key)
        if record.kind is Kind.VIEW:
            return Usage(0, 0)
        self._mount(record)
        if not record.parent:
            return super().usage(key)
        parent = self._index.committed(record.parent)
        self._mount(parent)
        return added_usage(self._index.files(record), self._index.files(parent))

    def _mount(self, record: Record) -> None:
        """Idempotent."""
        files = self._index.files(record)
        with self._index.lock:
            if _is_mounted(files):
                return
            node = self._pool.activate(_number(record))
            read_only = mounts.MS_RDONLY if record.kind is Kind.COMMITTED else 0
            mounts.mount(str(node), str(files), "ext4", read_only)

    def _unmount(self, files: Path) -> None:
        """And takes the device out of the kernel; idempotent."""
        with self._index.lock:
            while _is_mounted(files):
                mounts.umount2(str(files), mounts.MNT_DETACH)
            self._pool.deactivate(int(files.name, 36))

    def _remove_device(self, path: Path) -> None:
        """Of a folder in l/ or trash/: whatever an interrupted step may have left."""
        while _is_mounted(path):
            mounts.umount2(str(path), mounts.MNT_DETACH)
        try:
            self._pool.deactivate(int(path.name, 36))
            self._pool.delete(int(path.name, 36))
        except KernelFault as exc:
            if exc.errno == errno.EBUSY:
                return  # somebody's mount namespace still has it: the next start finds it in the trash
            raise
        remove_tree(path)


def _number(record: Record) -> int:
    return int(record.id, 36)


def _is_mounted(folder: Path) -> bool:
    try:
        return folder.stat().st_dev != folder.parent.stat().st_dev
    except FileNotFoundError:
        return False
