"""Makes paths of the destination what they are in the source, also if that means: not there.

The layers of a squashed image name every path that may differ from its base. Nothing here follows a link:
a layer's paths are literal.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH102, PTH108, PTH115, PTH116, PTH208

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from wherryd.builder.copying.tree import Copier
from wherryd.errors import KernelFault
from wherryd.sys import paths

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def read_list(data: bytes) -> list[str]:
    return [os.fsdecode(name) for name in data.split(b"\0") if name]


def write_list(names: Iterable[str]) -> bytes:
    return b"\0".join(map(os.fsencode, names))


@dataclass(frozen=True, slots=True)
class Merge:
    """copier: of the destination, with owners kept. source: the other root."""

    copier: Copier
    source: int

    def run(self, names: Iterable[str]) -> None:
        """names: paths without a leading slash; folders also if only what is in them changed."""
        for name in sorted(set(names), key=lambda path: path.split("/")):
            self._one(name)

    def _one(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        origin = _opened(self.source, folder)
        if origin is None:
            return  # a folder above it has gone or is none any more, which its own entry says
        try:
            target = self._folder(folder)
            try:
                self._equal(origin, target, name, path)
            finally:
                os.close(target)
        finally:
            os.close(origin)

    def _folder(self, path: str) -> int:
        """The destination's folder; one that no layer names, but that is in the source, is made."""
        fd = _opened(self.copier.root, path)
        if fd is None:
            self._one(path)
            fd = paths.openat2(self.copier.root, path, _DIRECTORY, 0, paths.RESOLVE_NO_SYMLINKS)
        self.copier.keep_time(path, fd)
        return fd

    def _equal(self, origin: int, target: int, name: str, path: str) -> None:
        there = _status(target, name)
        try:
            status = os.lstat(name, dir_fd=origin)
        except FileNotFoundError:
            if there is not None:
                _remove(target, name, there)
            return
        if not stat.S_ISDIR(status.st_mode):
            if there is not None:
                _remove(target, name, there)
            self.copier.entry(origin, target, name, path, status)
            return
        if there is not None and not stat.S_ISDIR(there.st_mode):
            _remove(target, name, there)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=target)
        self._emptied(origin, target, name)
        self.copier.folder_like(origin, target, name, path, status)

    def _emptied(self, origin: int, target: int, name: str) -> None:
        """A folder that was replaced has nothing of the one that was in its place."""
        there, wanted = os.open(name, _DIRECTORY, dir_fd=target), os.open(name, _DIRECTORY, dir_fd=origin)
        try:
            for each in set(os.listdir(there)) - set(os.listdir(wanted)):
                _remove(there, each, os.lstat(each, dir_fd=there))
        finally:
            os.close(there)
            os.close(wanted)


def _opened(root: int, folder: str) -> int | None:
    try:
        return paths.openat2(root, folder or ".", _DIRECTORY, 0, paths.RESOLVE_NO_SYMLINKS)
    except KernelFault as exc:
        if exc.errno in _GONE:
            return None
        raise


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None


def _remove(folder: int, name: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)
