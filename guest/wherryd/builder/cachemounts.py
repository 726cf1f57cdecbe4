"""Folders of `RUN --mount=type=cache`: they outlive a build and are in no layer.

<root>/<hash of the id>/files     mounted into RUN steps
<root>/<hash of the id>/id        the id; its time is when a step used the cache last
"""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from wherryd import clock
from wherryd.builder.dockerfile.instructions import RunMount, Sharing
from wherryd.builder.usage import Kind, Record
from wherryd.snapshots.driver import directory_usage
from wherryd.sys import paths

#: Makes the folder `files` in the folder it is given.
Fill = Callable[[Path], Awaitable[None]]


class CacheMounts:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[str, asyncio.Lock] = {}
        self._making: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def use(self, mount: RunMount, content: str, fill: Fill) -> AsyncIterator[Path]:
        """The folder of a cache mount while a RUN uses it.

        locked: one RUN at a time. private: a RUN that comes while another uses it gets one of its own.
        content: digest of what a new one begins with, "" for nothing; caches with other contents are others.
        """
        name = _name(mount, content)
        lock = self._locks.setdefault(name, asyncio.Lock())
        if mount.sharing is Sharing.LOCKED:
            async with lock, self._counted(name):
                yield await self._folder(name, mount, content, fill)
            return
        if mount.sharing is Sharing.PRIVATE and self._users.get(name):
            number = 1
            while self._users.get(f"{name}-{number}"):
                number += 1
            name = f"{name}-{number}"
        async with self._counted(name):
            yield await self._folder(name, mount, content, fill)

    @asynccontextmanager
    async def _counted(self, name: str) -> AsyncIterator[None]:
        self._users[name] = self._users.get(name, 0) + 1
        try:
            yield
        finally:
            self._users[name] -= 1

    async def _folder(self, name: str, mount: RunMount, content: str, fill: Fill) -> Path:
        folder = self._root / name
        # Two steps may come at once, and the first one's copy takes its time.
        async with self._making.setdefault(name, asyncio.Lock()):
            if not (folder / "files").exists():
                await self._make(folder, mount, content, fill)
        (folder / "id").write_text(mount.id or mount.target)
        if content or not mount.source:
            return folder / "files"
        return await asyncio.to_thread(_inside, folder / "files", mount)

    async def _make(self, folder: Path, mount: RunMount, content: str, fill: Fill) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if content:
            await fill(folder)
            return
        files = folder / "files"
        files.mkdir()
        os.chown(files, mount.uid or 0, mount.gid or 0)
        files.chmod(0o755 if mount.mode is None else mount.mode)

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


def _name(mount: RunMount, content: str) -> str:
    text = mount.id or mount.target
    if content:
        text = json.dumps([text, content, mount.source])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _inside(files: Path, mount: RunMount) -> Path:
    """`source` of a cache that begins empty: a folder in it, made when it is missing; links stay inside."""
    root = paths.open_root(str(files))
    try:
        fd = paths.mkdir_in_root(root, mount.source)
        try:
            return Path(paths.self_fd(fd)).readlink()
        finally:
            os.close(fd)
    finally:
        os.close(root)
