"""Makes files of a list in a folder of a build, some now and some later."""
# Files are made relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH101, PTH102

import os
import threading
from collections.abc import Iterable

from wherryd.builder.contexts.blobs import BlobStore
from wherryd.builder.contexts.tree import ContextTree
from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter, SystemFault
from wherryd.sys import paths
from wherrywire.contextsync import Entry, Kind

_EMPTY = digests.of(b"")

#: Device and inode of a file of ours -> digest of its content: who hashes it need not read it.
Known = dict[tuple[int, int], str]


class Maker:
    """Of entries that `manifest` has checked, in a folder where nobody else makes any. For threads, one at a
    time; `cancelled` ends it early."""

    def __init__(self, blobs: BlobStore, folder: str, tree: ContextTree) -> None:
        self._blobs = blobs
        self._place = folder
        self._tree = tree
        #: Paths that were made, some of which may have gone since.
        self._made: set[str] = set()
        self._seen: set[str] = set()
        self.known: Known = {}
        self.cancelled = threading.Event()

    def make(self, entries: Iterable[Entry]) -> None:
        """Those that are not there yet; each file before its second names. Raises InvalidParameter when a
        content is gone, SystemFault."""
        work = _Work(paths.open_root(self._place))
        try:
            for entry in entries:
                if self.cancelled.is_set():
                    break
                self._make(work, entry)
            work.finish()
        except FileNotFoundError as exc:
            raise InvalidParameter("context: some of its contents were not sent; build again") from exc
        except OSError as exc:
            raise SystemFault(
                f"cannot make the build context: {exc.strerror}; free space and build again"
            ) from exc
        finally:
            work.close()

    def _make(self, work: "_Work", entry: Entry) -> None:
        if entry.path in self._made:
            return
        self._made.add(entry.path)
        folder, _, name = entry.path.rpartition("/")
        if folder not in self._made and (above := self._tree.entry(folder)) is not None:
            self._make(work, above)
        if folder and (above := self._tree.entry(folder)) is not None:
            work.directories[folder] = above  # its time changes now
        first = self._tree.entry(entry.value) if entry.kind is Kind.HARD_LINK else None
        if first is not None:
            self._make(work, first)
        at = work.folder(folder)
        match entry.kind:
            case Kind.DIRECTORY:
                os.mkdir(name, 0o755, dir_fd=at)
                work.directories[entry.path] = entry
            case Kind.SYMLINK:
                os.symlink(entry.value, name, dir_fd=at)
                os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=at, follow_symlinks=False)
            case Kind.HARD_LINK:
                os.link(entry.value, name, src_dir_fd=work.root, dst_dir_fd=at, follow_symlinks=False)
            case Kind.FIFO:
                os.mkfifo(name, dir_fd=at)
                work.dress(name, entry, at)
            case Kind.FILE:
                self._file(work, entry, at, name)

    def _file(self, work: "_Work", entry: Entry, at: int, name: str) -> None:
        if entry.size:
            # A second file with the same content is one of its own: COPY would keep a hard link.
            inode = self._blobs.link(entry, at, name, copied=entry.value in self._seen)
            self._seen.add(entry.value)
            digest = entry.value
        else:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, dir_fd=at))
            work.dress(name, entry, at)
            status = os.lstat(name, dir_fd=at)
            inode, digest = (status.st_dev, status.st_ino), _EMPTY
        self.known[inode] = digests.encoded(digest)


class _Work:
    """Descriptors, and what is done last, of one `make`. root: becomes its own."""

    def __init__(self, root: int) -> None:
        self.root = root
        self._path, self._fd = "", os.dup(root)
        self.directories: dict[str, Entry] = {}

    def close(self) -> None:
        os.close(self._fd)
        os.close(self.root)

    def folder(self, path: str) -> int:
        if path != self._path:
            fd = paths.mkdir_in_root(self.root, path)
            os.close(self._fd)
            self._path, self._fd = path, fd
        return self._fd

    def dress(self, name: str, entry: Entry, at: int) -> None:
        os.chmod(name, entry.mode, dir_fd=at)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=at)

    def finish(self) -> None:
        """Folders last: what was made in them changed their times, and some may not be written to."""
        for entry in reversed(self.directories.values()):
            self.dress(entry.path, entry, self.root)
