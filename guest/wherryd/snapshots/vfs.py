"""Whole copies: works on every file system, costs a copy per snapshot (a cheap one where reflinks are)."""

import subprocess

from wherryd.errors import InvalidParameter, SystemFault
from wherryd.snapshots.driver import DirectoryDriver
from wherryd.snapshots.index import Record
from wherryd.snapshots.protocol import Kind, Whiteouts
from wherryd.spec.mount import Mount


class VfsDriver(DirectoryDriver):
    name = "vfs"
    whiteouts = Whiteouts.APPLY

    def _create(self, record: Record) -> None:
        super()._create(record)
        if record.kind is not Kind.ACTIVE or not record.parent:
            return
        source = self._index.files(self._index.committed(record.parent))
        # cp keeps owners, modes, times, hard links, holes, devices and extended attributes, and follows
        # no link of the copied tree.
        copy = subprocess.run(
            ["cp", "-a", "--reflink=auto", "--", f"{source}/.", str(self._index.files(record))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        if copy.returncode:
            reason = copy.stderr.decode(errors="replace").strip().splitlines()
            raise SystemFault(
                f"cannot copy the file system of {record.parent}: {reason[-1] if reason else 'cp failed'}"
            )

    def _mounts(self, record: Record) -> tuple[Mount, ...]:
        if record.kind is Kind.COMMITTED:
            raise InvalidParameter(f'snapshot "{record.key}" is committed; make a view of it')
        if record.kind is Kind.VIEW and record.parent:
            return self._bind(self._index.committed(record.parent), writable=False)
        return self._bind(record, writable=record.kind is Kind.ACTIVE)
