"""What a writable snapshot adds to its parent, as a layer's archive: the other direction of `unpack/`.

Of a container that has ended for good nothing is archived anywhere: files stay where they lie, headers and
padding go into the recipe (unpack/recipe.py), and the digest of the whole is the layer's diff id. Of one that
lives on the same bytes are streamed to an unpacker. Entries are sorted, times are whole seconds, owners are
numbers: the same files make the same layer.

Source: OCI image-spec, "Image Layer Filesystem Changeset"; Linux, Documentation/filesystems/overlayfs.rst
for how an upper directory says "gone" and "opaque". Whatever is in the directory was chosen by the container,
which may change it meanwhile unless it is paused or has ended.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH101, PTH102, PTH106, PTH108, PTH115, PTH116, PTH208

import errno
import hashlib
import os
import stat
import tarfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from wherryd.errors import InvalidParameter, KernelFault
from wherryd.images.compare import ChangeKind, changed
from wherryd.images.entries import CHUNK_BYTES, END_BYTES, EntryWriter, Sink, encoded
from wherryd.images.unpack.recipe import RecipeWriter
from wherryd.images.unpack.whiteouts import PREFIX
from wherryd.snapshots.protocol import Whiteouts
from wherryd.sys import paths

_OPAQUE = ".wh..wh..opq"
_BENEATH = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Diff:
    """As `Unpacked`: diff_id and tar_bytes of the archive, size_bytes of the regular files in it.
    sockets: paths of those; no archive can hold them."""

    diff_id: str
    tar_bytes: int
    size_bytes: int
    sockets: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing but the archive's end."""
        return self.tar_bytes == END_BYTES


def diff(
    directory: Path,
    whiteouts: Whiteouts,
    below: Sequence[Path],
    sink: Sink,
    *,
    newest_seconds: int | None = None,
    left_out: Collection[str] = (),
) -> tuple[int, list[str]]:
    """The archive of what `directory` adds goes to sink; (bytes of its regular files, paths of sockets).

    below: directories of the layers below, uppermost first. newest_seconds: files that are younger get
    this time, in the archive and on disk. left_out: paths that are no part of the layer. Raises
    InvalidParameter for what no layer can hold.
    """
    writer = _Writer(sink, left_out)
    with _opened(directory) as root:
        if newest_seconds is not None:
            _clamp(root, newest_seconds)
        if whiteouts is Whiteouts.OVERLAY:
            _Upper(root, [*below], writer).run()
        elif below:
            with _opened(below[0]) as old:
                _Copies(root, old, writer, left_out).run()
        else:
            _Upper(root, [], writer).run()
    return writer.finish()


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    with _closed_after(paths.open_root(str(directory))) as fd:
        yield fd


@contextmanager
def _folder(root: int, path: str) -> Iterator[int]:
    """The directory at path below root, no link followed."""
    try:
        fd = paths.openat2(root, path or ".", _DIRECTORY, 0, _BENEATH)
    except KernelFault as exc:
        if exc.errno == errno.ENAMETOOLONG:
            raise InvalidParameter(
                f'a path of the layer is longer than 4095 bytes: "{path[:80]}..."'
            ) from exc
        if path and exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            # A running container has just removed it.
            raise FileNotFoundError(exc.errno, path) from exc
        raise
    with _closed_after(fd):
        yield fd


def _status(folder: int, name: str) -> os.stat_result | None:
    """None when a running container has just removed it."""
    try:
        return os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None


def _open(folder: int, name: str) -> int:
    """A file or folder, never a device: a container that runs could put its own node there between two looks,
    and opening some of them does things."""
    with _closed_after(os.open(name, paths.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)) as fd:
        if stat.S_IFMT(os.fstat(fd).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return os.open(paths.self_fd(fd), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


@contextmanager
def _closed_after(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _names(fd: int) -> list[str]:
    return sorted(os.listdir(fd), key=os.fsencode)


def _clamp(root: int, newest: int) -> None:
    limit = newest * 1_000_000_000
    waiting = [""]
    while waiting:
        path = waiting.pop()
        with _folder(root, path) as fd:
            for name in os.listdir(fd):
                status = os.lstat(name, dir_fd=fd)
                if status.st_mtime_ns > limit and not _is_whiteout(status):
                    os.utime(name, ns=(limit, limit), dir_fd=fd, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(f"{path}/{name}" if path else name)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


class RecipeSink:
    """The files stay where they lie: headers and padding into a recipe, all of it through the digest."""

    def __init__(self, recipe_fd: int) -> None:
        self._recipe = RecipeWriter(recipe_fd)
        self._hash = hashlib.sha256()
        self._length = 0

    def raw(self, data: bytes) -> None:
        self._recipe.raw(data)
        self._hash.update(data)
        self._length += len(data)

    def contents(self, fd: int, path: str, size: int) -> None:
        self._recipe.file(path, 0, size)
        for data in _whole(fd, path, size):
            self._hash.update(data)
        self._length += size

    def finish(self, size_bytes: int, sockets: Sequence[str]) -> Diff:
        self._recipe.finish()
        return Diff("sha256:" + self._hash.hexdigest(), self._length, size_bytes, tuple(sockets))


class StreamSink:
    """The archive itself, in pieces, to whoever takes it. An archive without entries is not sent."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._buffer = bytearray()
        self._length = 0

    def raw(self, data: bytes) -> None:
        self._buffer += data
        self._length += len(data)
        if len(self._buffer) >= CHUNK_BYTES:
            self._flush()

    def contents(self, fd: int, path: str, size: int) -> None:
        for data in _whole(fd, path, size):
            self.raw(data)

    def _flush(self) -> None:
        self._send(bytes(self._buffer))
        self._buffer.clear()

    @property
    def is_empty(self) -> bool:
        """Nothing but the archive's end."""
        return self._length <= END_BYTES

    def finish(self) -> None:
        if not self.is_empty:
            self._flush()


def _whole(fd: int, path: str, size: int) -> Iterator[bytes]:
    """The file's bytes. Raises InvalidParameter when there are fewer."""
    left = size
    while left:
        data = os.read(fd, min(left, CHUNK_BYTES))
        if not data:
            raise InvalidParameter(f'"/{path}" became shorter while it was read (hint: pause the container)')
        left -= len(data)
        yield data


class _Writer:
    """A layer's entries: files, and what says that a file of the layers below is gone."""

    def __init__(self, sink: Sink, left_out: Collection[str]) -> None:
        self._sink = sink
        self._files = EntryWriter(sink, _open)
        self._left_out = left_out

    def leaves_out(self, path: str) -> bool:
        return path in self._left_out

    def whiteout(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        self._empty(f"{folder}/{PREFIX}{name}" if folder else PREFIX + name)

    def opaque(self, path: str) -> None:
        self._empty(f"{path}/{_OPAQUE}")

    def _empty(self, path: str) -> None:
        self._sink.raw(encoded(tarfile.TarInfo(path)))

    def entry(self, folder: int, name: str, path: str, status: os.stat_result) -> None:
        """One file of any kind."""
        if name.startswith(PREFIX):
            raise InvalidParameter(
                f'no layer can hold the file "/{path}": names that begin with ".wh." mean a removal there'
            )
        with suppress(FileNotFoundError):
            self._files.add(folder, name, path, status)

    def finish(self) -> tuple[int, list[str]]:
        """(bytes of all regular files, paths of the sockets, which no archive has)."""
        self._files.end()
        return self._files.size, self._files.sockets


class _Upper:
    """overlayfs's upper directory: everything in it belongs to the layer."""

    def __init__(self, root: int, below: list[Path], writer: _Writer) -> None:
        self._root = root
        self._below = below
        self._writer = writer

    def run(self) -> None:
        waiting = [""]
        while waiting:
            path = waiting.pop()
            with suppress(FileNotFoundError), _folder(self._root, path) as fd:
                waiting += reversed(self._directory(fd, path))

    def _directory(self, fd: int, path: str) -> list[str]:
        folders = []
        if path and self._is_opaque(fd, path):
            self._writer.opaque(path)
        for name in _names(fd):
            child = f"{path}/{name}" if path else name
            status = _status(fd, name)
            if status is None or self._writer.leaves_out(child):
                continue
            if _is_whiteout(status):
                self._writer.whiteout(child)
                continue
            self._writer.entry(fd, name, child, status)
            if stat.S_ISDIR(status.st_mode):
                folders.append(child)
        return folders

    def _is_opaque(self, fd: int, path: str) -> bool:
        """Marked so, and with something below to hide: the kernel marks every new directory."""
        try:
            if os.getxattr(fd, "trusted.overlay.opaque") != b"y":
                return False
        except OSError as exc:
            if exc.errno in (errno.ENODATA, errno.ENOTSUP):
                return False
            raise
        return any(_has(directory, path) for directory in self._below)


def _has(directory: Path, path: str) -> bool:
    with _opened(directory) as root:
        try:
            os.close(paths.openat2(root, path, paths.O_PATH | os.O_NOFOLLOW, 0, _BENEATH))
        except KernelFault as exc:
            if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return False
            raise
    return True


class _Copies:
    """Whole copies (vfs, btrfs): what differs from the parent, and the folders on the way to it."""

    def __init__(self, root: int, old: int, writer: _Writer, left_out: Collection[str]) -> None:
        self._root = root
        self._old = old
        self._writer = writer
        self._changed = changed(root, old, left_out, overlay=False)

    def run(self) -> None:
        waiting = [""]
        while waiting:
            path = waiting.pop()
            with suppress(FileNotFoundError):
                waiting += reversed(self._directory(path))

    def _directory(self, path: str) -> list[str]:
        before: set[str] = set()
        with suppress(FileNotFoundError), _folder(self._old, path) as old:
            before = set(os.listdir(old))
        folders = []
        with _folder(self._root, path) as fd:
            for name in sorted({*os.listdir(fd), *before}, key=os.fsencode):
                child = f"{path}/{name}" if path else name
                kind = self._changed.get(child)
                status = _status(fd, name)
                if kind is None:
                    continue
                if kind is ChangeKind.DELETED or status is None:
                    if name in before:
                        self._writer.whiteout(child)
                    continue
                is_folder = stat.S_ISDIR(status.st_mode)
                if kind is ChangeKind.MODIFIED and is_folder != self._was_folder(child):
                    self._writer.whiteout(child)
                self._writer.entry(fd, name, child, status)
                if is_folder:
                    folders.append(child)
        return folders

    def _was_folder(self, path: str) -> bool:
        try:
            with _folder(self._old, path):
                return True
        except FileNotFoundError:
            return False
