"""Folders of `RUN --mount=type=cache`: they outlive a build and are in no layer.

<root>/<hash of the id>/files     mounted into RUN steps
<root>/<hash of the id>/id        the id; its time is when a step used the cache last
"""

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wherryd import clock
from wherryd.builder.dockerfile.instructions import RunMount, Sharing
from wherryd.builder.usage import Kind, Record
from wherryd.snapshots.driver import directory_usage


class CacheMounts:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def use(self, mount: RunMount) -> AsyncIterator[Path]:
        """The folder of a cache mount while a RUN uses it.

        locked: one RUN at a time. private: a RUN that comes while another uses it gets an empty one.
        """
        name = hashlib.sha256((mount.id or mount.target).encode()).hexdigest()[:32]
        lock = self._locks.setdefault(name, asyncio.Lock())
        if mount.sharing is Sharing.LOCKED:
            async with lock:
                with_folder = self._folder(name, mount)
                async with self._counted(name):
                    yield with_folder
            return
        if mount.sharing is Sharing.PRIVATE and self._users.get(name):
            number = 1
            while self._users.get(f"{name}-{number}"):
                number += 1
            name = f"{name}-{number}"
        async with self._counted(name):
            yield self._folder(name, mount)

    @asynccontextmanager
    async def _counted(self, name: str) -> AsyncIterator[None]:
        self._users[name] = self._users.get(name, 0) + 1
        try:
            yield
        finally:
            self._users[name] -= 1

    def _folder(self, name: str, mount: RunMount) -> Path:
        folder = self._root / name / "files"
        if not folder.exists():
            folder.mkdir(parents=True)
            os.chown(folder, mount.uid or 0, mount.gid or 0)
            folder.chmod(0o755 if mount.mode is None else mount.mode)
        (self._root / name / "id").write_text(mount.id or mount.target)
        return folder

    def records(self) -> list[Record]:
        found = []
        for folder in sorted(self._root.iterdir()) if self._root.exists() else ():
            mark = folder / "id"
            used_ns = (mark if mark.exists() else folder).stat().st_mtime_ns
            name = mark.read_text(errors="replace") if mark.exists() else folder.name
            found.append(
                Record(
                    id=folder.name,
                    kind=Kind.CACHE_MOUNT,
                    description=f"mount / from exec, cache {name}",
                    size_bytes=directory_usage(folder).size_bytes,
                    used_at=clock.from_nanoseconds(used_ns),
                    in_use=bool(self._users.get(folder.name)),
                )
            )
        return found

    def remove(self, name: str) -> int | None:
        """Bytes freed; None when a RUN uses it by now."""
        if self._users.get(name):
            return None
        folder = self._root / name
        size = directory_usage(folder).size_bytes
        shutil.rmtree(folder)
        return size
