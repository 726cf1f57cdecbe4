"""What a container changed (`docker diff`): its writable snapshot against the layers below.

The rules are dockerd's: a folder is modified when its own mode or owner changed, or something in it did;
times of folders say nothing; of a folder that is gone only itself is told, of a new one everything in it.
Source: Engine API, "GET /containers/{id}/changes". Whatever is in the directory was chosen by the container.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH116, PTH208

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from wherryd import later
from wherryd.errors import KernelFault
from wherryd.runtime import mounting
from wherryd.snapshots.protocol import Whiteouts
from wherryd.sys import paths

if TYPE_CHECKING:
    from wherryd.images import entries
else:
    entries = later.module("wherryd.images.entries")

_BENEATH = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class ChangeKind(IntEnum):
    MODIFIED = 0
    ADDED = 1
    DELETED = 2


Changes = list[tuple[str, ChangeKind]]


def compare(
    directory: Path, whiteouts: Whiteouts, below: Sequence[Path], left_out: Collection[str]
) -> Changes:
    """Absolute paths with what happened to them, folders before what is in them.

    below: directories of the layers below, uppermost first. left_out: paths that the container did not make.
    """
    with _opened(paths.open_root(str(directory))) as new, _opened(_layers(whiteouts, below)) as old:
        found = changed(new, old, left_out, overlay=whiteouts is Whiteouts.OVERLAY)
    return [
        (f"/{path}", found[path]) for path in sorted(found, key=lambda path: os.fsencode(path).split(b"/"))
    ]


def changed(new: int, old: int, left_out: Collection[str], *, overlay: bool) -> dict[str, ChangeKind]:
    """The same between two directories by descriptor, without an order; paths without a slash at the front.
    overlay: new has what was changed alone; otherwise it is a whole copy. old: -1 = there was nothing."""
    found = _Comparison(new, old, overlay, left_out).run()
    for path in list(found):
        folder = path.rpartition("/")[0]
        while folder:
            found.setdefault(folder, ChangeKind.MODIFIED)
            folder = folder.rpartition("/")[0]
    return found


@contextmanager
def _opened(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        if fd >= 0:
            os.close(fd)


def _layers(whiteouts: Whiteouts, below: Sequence[Path]) -> int:
    """A descriptor of what was there before, -1 for nothing."""
    if not below:
        return -1
    if whiteouts is Whiteouts.OVERLAY and len(below) > 1:
        return mounting.read_only_overlay([str(each) for each in below])
    return paths.open_root(str(below[0]))


class _Comparison:
    def __init__(self, new: int, old: int, overlay: bool, left_out: Collection[str]) -> None:
        self._new = new
        self._old = old
        self._overlay = overlay
        self._left_out = left_out
        self._found: dict[str, ChangeKind] = {}

    def run(self) -> dict[str, ChangeKind]:
        # (path, whether there was a folder too)
        waiting = [("", self._old >= 0)]
        while waiting:
            waiting += self._folder(*waiting.pop())
        return self._found

    def _folder(self, path: str, was_folder: bool) -> list[tuple[str, bool]]:
        try:
            new = paths.openat2(self._new, path or ".", _FOLDER, 0, _BENEATH)
        except KernelFault as exc:
            if exc.errno in _GONE:
                return []  # a running container removed it
            raise
        with _opened(new), _opened(self._before(path) if was_folder else -1) as old:
            names = os.listdir(new)
            if old >= 0 and not self._shows_below(new, path):
                self._gone(path, names, os.listdir(old))
            return [each for name in names for each in self._entry(path, name, new, old)]

    def _before(self, path: str) -> int:
        return paths.openat2(self._old, path or ".", _FOLDER, 0, _BENEATH)

    def _shows_below(self, new: int, path: str) -> bool:
        """Whether what is not in this folder is still there, out of the layers below."""
        if not self._overlay:
            return False
        try:
            return not path or os.getxattr(new, "trusted.overlay.opaque") != b"y"
        except OSError as exc:
            if exc.errno in (errno.ENODATA, errno.ENOTSUP):
                return True
            raise

    def _gone(self, path: str, names: Collection[str], before: Collection[str]) -> None:
        for name in {*before} - {*names}:
            self._found[f"{path}/{name}" if path else name] = ChangeKind.DELETED

    def _entry(self, path: str, name: str, new: int, old: int) -> list[tuple[str, bool]]:
        """What is still to be looked at below it."""
        child = f"{path}/{name}" if path else name
        if child in self._left_out:
            return []
        status, before = _status(new, name), _status(old, name) if old >= 0 else None
        if status is None:
            return []
        if self._overlay and stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            self._found[child] = ChangeKind.DELETED
            return []
        if before is None:
            self._found[child] = ChangeKind.ADDED
        elif _differs(status, before) or not _same_xattrs(new, old, name, status, before):
            self._found[child] = ChangeKind.MODIFIED
        if not stat.S_ISDIR(status.st_mode):
            return []
        return [(child, before is not None and stat.S_ISDIR(before.st_mode))]


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _differs(new: os.stat_result, old: os.stat_result) -> bool:
    fields = ["st_mode", "st_uid", "st_gid", "st_rdev"]
    if not stat.S_ISDIR(old.st_mode):
        fields += ["st_size", "st_mtime_ns"]
    return any(getattr(new, field) != getattr(old, field) for field in fields)


def _same_xattrs(fd: int, old: int, name: str, status: os.stat_result, known: os.stat_result) -> bool:
    """Of two files that are the same by everything that stat(2) tells but their change time."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return True
    if (status.st_ino, status.st_ctime_ns) == (known.st_ino, known.st_ctime_ns):
        return True  # a snapshot by the file system keeps both; cp(1) neither
    try:
        return entries.named_xattrs(f"/proc/self/fd/{fd}/{name}") == entries.named_xattrs(
            f"/proc/self/fd/{old}/{name}"
        )
    except FileNotFoundError:
        return True  # a running container has just removed it
