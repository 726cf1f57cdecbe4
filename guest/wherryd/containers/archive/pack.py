"""Files of a view -> an archive on a pipe.

The container may run meanwhile: what vanishes is left out, what grows is cut off at the size its header says,
and what shrinks is filled with zeroes up to it, as GNU tar does.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH208

import errno
import os
import posixpath
import stat
from collections.abc import Callable

from isal import isal_zlib

from wherryd.containers.archive import lookup
from wherryd.errors import KernelFault
from wherryd.images.entries import CHUNK_BYTES, EntryWriter
from wherryd.sys import paths

_BENEATH = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
#: Content coding -> window bits of zlib: with gzip's head, and without any, as the reference daemon sends it.
_WINDOW_BITS = {"gzip": 31, "deflate": -15}
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
#: What the engine mounts there is the kernel's, or goes with the container's process: of these only the
#: directories themselves are in the archive of something above them, as with Docker.
_OWN_MOUNTS = frozenset({"/proc", "/sys", "/dev"})


#: Up to here a file is gathered with its header. Larger ones go from file to pipe inside the kernel, which
#: costs a change to the reader and back for each.
_SMALL_BYTES = 256 * 1024


class PipeSink:
    """Headers and small files are gathered, so that the reader has much to take at a time."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray()

    def raw(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= CHUNK_BYTES:
            self.flush()

    def contents(self, fd: int, path: str, size: int) -> None:  # noqa: ARG002 - of the interface
        left = size
        if size <= _SMALL_BYTES:
            while left and (data := os.read(fd, left)):
                self.raw(data)
                left -= len(data)
        else:
            self.flush()
        while left and (sent := _send(self._fd, fd, min(left, CHUNK_BYTES))):
            left -= sent
        while left:
            self.raw(bytes(min(left, CHUNK_BYTES)))
            left -= min(left, CHUNK_BYTES)

    def flush(self) -> None:
        write_all(self._fd, self._buffer)
        self._buffer.clear()

    def finish(self) -> None:
        self.flush()


class PackedSink:
    """The same, compressed on the way."""

    def __init__(self, fd: int, coding: str) -> None:
        self._fd = fd
        self._compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, _WINDOW_BITS[coding])

    def raw(self, data: bytes) -> None:
        write_all(self._fd, self._compressor.compress(data))

    def contents(self, fd: int, path: str, size: int) -> None:  # noqa: ARG002 - of the interface
        left = size
        while left:
            data = os.read(fd, min(left, CHUNK_BYTES)) or bytes(min(left, CHUNK_BYTES))
            self.raw(data)
            left -= len(data)

    def finish(self) -> None:
        write_all(self._fd, self._compressor.flush())


def _send(pipe: int, fd: int, size: int) -> int:
    """How much went; 0 at the file's end."""
    try:
        return os.sendfile(pipe, fd, None, size)
    except OSError as exc:
        # EINVAL: a file system without pages to hand over.
        if exc.errno != errno.EINVAL:
            raise
    data = os.read(fd, size)
    write_all(pipe, data)
    return len(data)


def write_all(fd: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def pack(root: int, path: str, target: int, writer: EntryWriter) -> None:
    """What is at path, under its last name; the root's and "."'s as Docker names them. target: its
    O_PATH descriptor."""
    name = lookup.base_name(path)
    prefix = "/" if name == "/" else f"{name}/"
    status = os.fstat(target)
    if stat.S_ISDIR(status.st_mode):
        real = lookup.resolved(root, path)
        top = paths.openat2(target, ".", os.O_RDONLY | os.O_DIRECTORY, 0, _BENEATH)
        try:
            writer.add(top, ".", name, os.fstat(top))
            tree(top, writer, prefix, lambda below: posixpath.join(real, below) in _OWN_MOUNTS)
        finally:
            os.close(top)
    else:
        folder = paths.open_in_root(root, posixpath.dirname(path), paths.O_PATH | os.O_DIRECTORY)
        try:
            writer.add(folder, name, name, status)
        finally:
            os.close(folder)
    writer.end()


def tree(top: int, writer: EntryWriter, prefix: str, closed: Callable[[str], bool]) -> None:
    """Everything below top, sorted, folders before what is in them. prefix: before each name, with its slash.
    closed(path): of this folder only itself."""
    waiting = [""]
    while waiting:
        path = waiting.pop()
        if closed(path):
            continue
        try:
            folder = paths.openat2(top, path or ".", _DIRECTORY, 0, _BENEATH)
        except KernelFault as exc:
            if exc.errno in _GONE:
                continue
            raise
        try:
            folders = _entries(folder, path, writer, prefix)
        finally:
            os.close(folder)
        waiting += reversed(folders)


def _entries(folder: int, path: str, writer: EntryWriter, prefix: str) -> list[str]:
    folders = []
    with os.scandir(folder) as listed:
        entries = sorted(listed, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        name = entry.name
        below = f"{path}/{name}" if path else name
        try:
            if entry.is_file(follow_symlinks=False):
                writer.add_file(folder, name, prefix + below)
                continue
            status = os.lstat(name, dir_fd=folder)
            writer.add(folder, name, prefix + below, status)
        except OSError as exc:
            if exc.errno in _GONE:
                continue
            raise
        if stat.S_ISDIR(status.st_mode):
            folders.append(below)
    return folders
