"""What the sources of a COPY are, as one digest: names, kinds, modes and contents, but not times.

Times differ in every checkout. Owners count where they are taken over: those of a context's files never are.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH115, PTH116, PTH208

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from types import MappingProxyType

from wherryd.builder.copying import sources
from wherryd.builder.copying.attributes import is_copied
from wherryd.builder.copying.errors import CopyError
from wherryd.errors import KernelFault
from wherryd.sys import paths
from wherrywire.dockerignore import Matcher

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_DEPTH = 500


def of_sources(
    root: int,
    patterns: tuple[str, ...],
    excludes: tuple[str, ...],
    known: Mapping[tuple[int, int], str] = MappingProxyType({}),
    *,
    parents: bool = False,
    context: bool = True,
    owners: bool = False,
) -> tuple[str, int]:
    """("sha256:...", number of sources). Raises CopyError.

    parents: with --parents the whole path of a source counts, and not only its name. context: whether root
    is the build context, for the words of the error. owners: whether they count.
    known: device and inode of a file -> digest of its content, which then need not be read; such a file has
    no attributes.
    """
    excluded = Matcher(excludes) if excludes else None
    hasher = _Hasher(excluded, known, owners=owners)
    files = sources.OnDisk(root)
    found = [
        path
        for pattern in patterns
        for path in sources.find(files, pattern, context=context, deep=parents, excluded=excluded)
    ]
    for path in found:
        hasher.source(root, path, prefix=f"{path}/" if parents else "")
    return hasher.digest(), len(found)


class _Hasher:
    def __init__(
        self, excluded: Matcher | None, known: Mapping[tuple[int, int], str], *, owners: bool
    ) -> None:
        self._hash = hashlib.sha256()
        self._excluded = excluded
        self._known = known
        self._owners = owners

    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def _add(self, *fields: object) -> None:
        self._hash.update(json.dumps(fields).encode() + b"\n")

    def _mode(self, status: os.stat_result) -> list[int]:
        """With the owner where that counts."""
        owner = [status.st_uid, status.st_gid] if self._owners else []
        return [stat.S_IMODE(status.st_mode), *owner]

    def source(self, root: int, path: str, prefix: str) -> None:
        """A source that is a link is what it leads to. prefix: before the names of what it is and holds."""
        fd = paths.open_in_root(root, path, paths.O_PATH)
        status = os.fstat(fd)
        os.close(fd)
        name = prefix + path.rpartition("/")[2]
        if stat.S_ISDIR(status.st_mode):
            self._add("source", prefix, "directory", *self._mode(status))
            with sources.opened_directory(root, path) as directory:
                self._contents(directory, "", 0)
        elif stat.S_ISREG(status.st_mode) and (content := self._known.get((status.st_dev, status.st_ino))):
            self._add("source", name, "file", *self._mode(status), content, "")
        elif stat.S_ISREG(status.st_mode):
            file = paths.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                self._add("source", name, "file", *self._mode(status), _content(file), _attributes(file))
            finally:
                os.close(file)
        else:
            self._add("source", name, stat.S_IFMT(status.st_mode), *self._mode(status), status.st_rdev)

    def _contents(self, folder: int, prefix: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise CopyError(f"{prefix[:80]}...: folders are nested more than {_MAX_DEPTH} deep")
        for name in sorted(os.listdir(folder), key=os.fsencode):
            path = prefix + name
            status = os.lstat(name, dir_fd=folder)
            kind, mode = stat.S_IFMT(status.st_mode), self._mode(status)
            if self._excluded and self._excluded.skips(path, folder=kind == stat.S_IFDIR):
                continue
            if kind == stat.S_IFDIR:
                self._add(path, "directory", *mode)
                fd = os.open(name, _READ | os.O_DIRECTORY, dir_fd=folder)
                try:
                    self._contents(fd, path + "/", depth + 1)
                finally:
                    os.close(fd)
            elif kind == stat.S_IFREG and (content := self._known.get((status.st_dev, status.st_ino))):
                self._add(path, "file", *mode, content, "")
            elif kind == stat.S_IFREG:
                fd = os.open(name, _READ, dir_fd=folder)
                try:
                    self._add(path, "file", *mode, _content(fd), _attributes(fd))
                finally:
                    os.close(fd)
            elif kind == stat.S_IFLNK:
                self._add(path, "link", os.readlink(name, dir_fd=folder), *mode[1:])
            else:
                self._add(path, kind, *mode, status.st_rdev)


def _content(fd: int) -> str:
    # isolates the file from the engine's own position; the descriptor stays the caller's
    with open(os.dup(fd), "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").hexdigest()


def _attributes(fd: int) -> str:
    """Those that are copied, "" without any."""
    try:
        names = [name for name in sorted(os.listxattr(fd)) if is_copied(name)]
        return " ".join(f"{name}={os.getxattr(fd, name).hex()}" for name in names)
    except OSError as exc:
        if exc.errno == errno.ENOTSUP:
            return ""
        raise KernelFault("getxattr", "a source's attributes", exc.errno or errno.EIO) from exc
