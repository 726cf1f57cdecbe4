"""Contexts that wait for their build: announced by a client, completed by what was missing, taken once."""

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wherryd.builder.contexts import manifest
from wherryd.builder.contexts.blobs import BlobStore
from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter, NotFound, SystemFault
from wherryd.sys import paths
from wherrywire.contextsync import Entry, Kind

#: Contexts that no build has taken yet, and how long one waits for its build or for more of its contents.
_MAX_WAITING = 64
_PATIENCE_SECONDS = 600.0
_EMPTY = digests.of(b"")

#: Device and inode of a file of ours -> digest of its content: who hashes it need not read it.
Known = dict[tuple[int, int], str]


@dataclass(slots=True)
class _Waiting:
    entries: Sequence[Entry]
    missing: tuple[tuple[str, int], ...]
    digests: frozenset[str]
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    busy: bool = False


class SyncedContexts:
    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._waiting: dict[str, _Waiting] = {}
        self._lines = manifest.Lines()

    def leased(self) -> set[str]:
        """Digests that a build is about to use."""
        return set().union(*(each.digests for each in self._waiting.values()))

    async def announce(self, stream: AsyncIterator[bytes]) -> tuple[str, list[str]]:
        """(token, digests that are to be sent, in order). stream: the list. Raises InvalidParameter."""
        entries = await manifest.read(stream, self._lines)
        if len(self._waiting) >= _MAX_WAITING:
            raise InvalidParameter("too many contexts wait for their build; try again in a minute")
        wanted = {each.value: each.size for each in entries if each.kind is Kind.FILE and each.size}
        token = secrets.token_urlsafe(24)
        # Leased before it is looked for: what is there now must not go before the build comes.
        self._waiting[token] = waiting = _Waiting(entries, (), frozenset(wanted))
        try:
            waiting.missing = await asyncio.to_thread(self._missing, wanted)
        except BaseException:
            del self._waiting[token]
            raise
        self._wait(token)
        return token, [digest for digest, _ in waiting.missing]

    def _missing(self, wanted: dict[str, int]) -> tuple[tuple[str, int], ...]:
        return tuple((digest, size) for digest, size in wanted.items() if not self._blobs.has(digest, size))

    def _wait(self, token: str) -> None:
        waiting = self._waiting[token]
        waiting.busy = False
        loop = asyncio.get_running_loop()
        waiting.timer = loop.call_later(_PATIENCE_SECONDS, self.forget, token)

    def _begin(self, token: str) -> _Waiting:
        waiting = self._waiting.get(token)
        if waiting is None or waiting.busy:
            raise NotFound("context: it was taken, is too old or never was (hint: build again)")
        waiting.busy = True
        if waiting.timer is not None:
            waiting.timer.cancel()
        return waiting

    def forget(self, token: str) -> None:
        """Also a token that is not known."""
        if (waiting := self._waiting.pop(token, None)) and waiting.timer is not None:
            waiting.timer.cancel()

    async def receive(self, token: str, stream: AsyncIterator[bytes]) -> None:
        """What was missing. Raises NotFound, InvalidParameter, SystemFault."""
        waiting = self._begin(token)
        try:
            await self._blobs.receive(waiting.missing, stream)
            waiting.missing = ()
        finally:
            self._wait(token)

    async def take(self, token: str, folder: Path) -> Known:
        """The context's files into folder, an empty one of ours. Raises NotFound, InvalidParameter."""
        waiting = self._begin(token)
        cancelled = threading.Event()
        work = asyncio.ensure_future(asyncio.to_thread(self._make, waiting.entries, folder, cancelled))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # The folder goes next; nobody may be making files in it then.
            cancelled.set()
            await asyncio.wait({work})
            raise
        finally:
            self.forget(token)

    def _make(self, entries: Sequence[Entry], folder: Path, cancelled: threading.Event) -> Known:
        root = paths.open_root(str(folder))
        maker = _Maker(self._blobs, root)
        try:
            for entry in entries:
                if cancelled.is_set():
                    break
                maker.make(entry)
            maker.finish()
        except FileNotFoundError as exc:
            raise InvalidParameter("context: some of its contents were not sent; build again") from exc
        except OSError as exc:
            raise SystemFault(
                f"cannot make the build context: {exc.strerror}; free space and build again"
            ) from exc
        finally:
            maker.close()
            os.close(root)
        return maker.known


class _Maker:
    """Makes entries that `manifest` has checked, in a folder where nobody else makes any."""

    def __init__(self, blobs: BlobStore, root: int) -> None:
        self._blobs = blobs
        self._root = root
        self._folder, self._folder_fd = "", os.dup(root)
        self._directories: list[Entry] = []
        self._seen: set[str] = set()
        self.known: Known = {}

    def close(self) -> None:
        os.close(self._folder_fd)

    def make(self, entry: Entry) -> None:
        folder, _, name = entry.path.rpartition("/")
        if folder != self._folder:
            fd = paths.mkdir_in_root(self._root, folder)
            os.close(self._folder_fd)
            self._folder, self._folder_fd = folder, fd
        at = self._folder_fd
        when = (entry.mtime_ns, entry.mtime_ns)
        match entry.kind:
            case Kind.DIRECTORY:
                os.mkdir(name, 0o755, dir_fd=at)  # noqa: PTH102 - relative to a descriptor
                self._directories.append(entry)
            case Kind.SYMLINK:
                os.symlink(entry.value, name, dir_fd=at)
                os.utime(name, ns=when, dir_fd=at, follow_symlinks=False)
            case Kind.HARD_LINK:
                os.link(entry.value, name, src_dir_fd=self._root, dst_dir_fd=at, follow_symlinks=False)
            case Kind.FIFO:
                os.mkfifo(name, dir_fd=at)
                self._finish(name, entry, at)
            case Kind.FILE:
                self._file(entry, at, name)

    def _file(self, entry: Entry, at: int, name: str) -> None:
        if entry.size:
            # A second file with the same content is one of its own: COPY would keep a hard link.
            inode = self._blobs.link(entry, at, name, copied=entry.value in self._seen)
            self._seen.add(entry.value)
            digest = entry.value
        else:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, dir_fd=at))
            self._finish(name, entry, at)
            status = os.lstat(name, dir_fd=at)
            inode, digest = (status.st_dev, status.st_ino), _EMPTY
        self.known[inode] = digests.encoded(digest)

    def _finish(self, name: str, entry: Entry, at: int) -> None:
        os.chmod(name, entry.mode, dir_fd=at)  # noqa: PTH101 - relative to a descriptor
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=at)

    def finish(self) -> None:
        """Folders last: what was made in them changed their times, and some may not be written to."""
        for entry in reversed(self._directories):
            self._finish(entry.path, entry, self._root)
