"""What a writable snapshot adds to its parent, as a layer's archive: the other direction of `unpack/`.

Nothing is archived anywhere: the files stay where they lie, headers and padding go into the recipe
(unpack/recipe.py), and the digest of the whole is the layer's diff id. Entries are sorted, times are whole
seconds, owners are numbers: the same files make the same layer.

Source: OCI image-spec, "Image Layer Filesystem Changeset"; Linux, Documentation/filesystems/overlayfs.rst
for how an upper directory says "gone" and "opaque". The snapshot's container has ended: nobody else
changes the directory meanwhile, but whatever is in it was chosen by the container.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH101, PTH102, PTH106, PTH108, PTH115, PTH116, PTH208

import errno
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wherryd.errors import InvalidParameter, KernelFault
from wherryd.images.unpack.recipe import RecipeWriter
from wherryd.images.unpack.whiteouts import PREFIX
from wherryd.snapshots.protocol import Whiteouts
from wherryd.sys import paths

_CHUNK_BYTES = 1024 * 1024
_END_BYTES = 2 * tarfile.BLOCKSIZE
_OPAQUE = ".wh..wh..opq"
_XATTR = "SCHILY.xattr."
_BENEATH = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_KINDS = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}
#: What the same file must have in both directories to be unchanged, where whole copies are kept.
_COMPARED = ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_rdev")


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
        return self.tar_bytes == _END_BYTES


def diff(
    directory: Path,
    whiteouts: Whiteouts,
    below: Sequence[Path],
    recipe_fd: int,
    newest_seconds: int | None = None,
) -> Diff:
    """The archive of what `directory` adds; its recipe goes to recipe_fd.

    below: directories of the layers below, uppermost first. newest_seconds: files that are younger get
    this time, in the archive and on disk. Raises InvalidParameter for what no layer can hold.
    """
    writer = _Writer(RecipeWriter(recipe_fd))
    with _opened(directory) as root:
        if newest_seconds is not None:
            _clamp(root, newest_seconds)
        if whiteouts is Whiteouts.OVERLAY:
            _Upper(root, [*below], writer).run()
        elif below:
            with _opened(below[0]) as old:
                _Copies(root, old, writer).run()
        else:
            _Upper(root, [], writer).run()
    return writer.finish()


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    fd = paths.open_root(str(directory))
    try:
        yield fd
    finally:
        os.close(fd)


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
        raise
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


class _Writer:
    """Entries into the recipe, and through the digest."""

    def __init__(self, recipe: RecipeWriter) -> None:
        self._recipe = recipe
        self._hash = hashlib.sha256()
        self._length = 0
        self._size = 0
        self._links: dict[tuple[int, int], str] = {}
        self._sockets: list[str] = []

    def _raw(self, data: bytes) -> None:
        self._recipe.raw(data)
        self._hash.update(data)
        self._length += len(data)

    def whiteout(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        self._empty(f"{folder}/{PREFIX}{name}" if folder else PREFIX + name)

    def opaque(self, path: str) -> None:
        self._empty(f"{path}/{_OPAQUE}")

    def _empty(self, path: str) -> None:
        self._raw(_encoded(tarfile.TarInfo(path)))

    def entry(self, folder: int, name: str, path: str, status: os.stat_result) -> None:
        """One file of any kind. Sockets are left out, as Docker does: they mean nothing without a process."""
        if name.startswith(PREFIX):
            raise InvalidParameter(
                f'no layer can hold the file "/{path}": names that begin with ".wh." mean a removal there'
            )
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            self._sockets.append(path)
            return
        info = tarfile.TarInfo(path)
        info.type, info.mode = kind, stat.S_IMODE(status.st_mode)
        info.uid, info.gid = status.st_uid, status.st_gid
        info.mtime = max(0, int(status.st_mtime_ns // 1_000_000_000))
        if kind == tarfile.SYMTYPE:
            info.linkname = os.readlink(name, dir_fd=folder)
        elif kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        elif kind == tarfile.REGTYPE:
            first = self._links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                info.type, info.linkname = tarfile.LNKTYPE, first
                self._raw(_encoded(info))
                return
        if kind not in (tarfile.REGTYPE, tarfile.DIRTYPE):
            self._raw(_encoded(info))
            return
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=folder)
        try:
            info.pax_headers = _xattrs(fd)
            if kind == tarfile.REGTYPE:
                self._file(info, fd, path, status.st_size)
            else:
                self._raw(_encoded(info))
        finally:
            os.close(fd)

    def _file(self, info: tarfile.TarInfo, fd: int, path: str, size: int) -> None:
        info.size = size
        self._raw(_encoded(info))
        if not size:
            return
        self._recipe.file(path, 0, size)
        left = size
        while left:
            data = os.read(fd, min(left, _CHUNK_BYTES))
            if not data:
                raise InvalidParameter(f'"/{path}" became shorter while it was read')
            self._hash.update(data)
            left -= len(data)
        self._length += size
        self._size += size
        self._raw(bytes(-size % tarfile.BLOCKSIZE))

    def finish(self) -> Diff:
        self._raw(bytes(_END_BYTES))
        self._recipe.finish()
        return Diff("sha256:" + self._hash.hexdigest(), self._length, self._size, tuple(self._sockets))


def _encoded(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _xattrs(fd: int) -> dict[str, str]:
    return {_XATTR + name: os.fsdecode(value) for name, value in _named_xattrs(fd).items()}


def _named_xattrs(file: int | str) -> dict[str, bytes]:
    """The attributes that a layer carries: the same that the unpacker takes (unpack/metadata.py).

    file: a descriptor, or a path whose last component may be a link, which is not followed.
    """
    follow = isinstance(file, int)
    try:
        names = os.listxattr(file, follow_symlinks=follow)
    except OSError as exc:
        if exc.errno == errno.ENOTSUP:
            return {}
        raise
    wanted = [
        name
        for name in sorted(names)
        if name == "security.capability"
        or (name.startswith("user.") and not name.startswith("user.overlay."))
    ]
    return {name: os.getxattr(file, name, follow_symlinks=follow) for name in wanted}


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
            folders = []
            with _folder(self._root, path) as fd:
                if path and self._is_opaque(fd, path):
                    self._writer.opaque(path)
                for name in _names(fd):
                    status = os.lstat(name, dir_fd=fd)
                    child = f"{path}/{name}" if path else name
                    if _is_whiteout(status):
                        self._writer.whiteout(child)
                        continue
                    self._writer.entry(fd, name, child, status)
                    if stat.S_ISDIR(status.st_mode):
                        folders.append(child)
            waiting += reversed(folders)

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
    """Whole copies (vfs): what differs from the parent's directory belongs to the layer."""

    def __init__(self, root: int, old: int, writer: _Writer) -> None:
        self._root = root
        self._old = old
        self._writer = writer

    def run(self) -> None:
        # (path, whether the parent has a directory there too)
        waiting = [("", True)]
        while waiting:
            path, both = waiting.pop()
            waiting += reversed(self._directory(path, both))

    def _directory(self, path: str, both: bool) -> list[tuple[str, bool]]:
        folders = []
        with _folder(self._root, path) as fd, _folder(self._old, path if both else "") as old:
            before = {name: os.lstat(name, dir_fd=old) for name in os.listdir(old)} if both else {}
            names = set(os.listdir(fd))
            for name in sorted({*names, *before}, key=os.fsencode):
                child = f"{path}/{name}" if path else name
                if name not in names:
                    self._writer.whiteout(child)
                    continue
                status, known = os.lstat(name, dir_fd=fd), before.get(name)
                was_folder = known is not None and stat.S_ISDIR(known.st_mode)
                is_folder = stat.S_ISDIR(status.st_mode)
                if known is not None and was_folder != is_folder:
                    self._writer.whiteout(child)
                if (
                    known is None
                    or not _same(status, known)
                    or not _same_xattrs(fd, old, name, status, known)
                ):
                    self._writer.entry(fd, name, child, status)
                if is_folder:
                    folders.append((child, was_folder))
        return folders


def _same_xattrs(fd: int, old: int, name: str, status: os.stat_result, known: os.stat_result) -> bool:
    """Of two files that are the same by everything that stat(2) tells but their change time."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return True
    if (status.st_ino, status.st_ctime_ns) == (known.st_ino, known.st_ctime_ns):
        return True  # a snapshot by the file system keeps both; cp(1) neither
    return _named_xattrs(f"/proc/self/fd/{fd}/{name}") == _named_xattrs(f"/proc/self/fd/{old}/{name}")


def _same(left: os.stat_result, right: os.stat_result) -> bool:
    fields: tuple[str, ...] = _COMPARED
    if stat.S_ISDIR(left.st_mode):
        fields = tuple(field for field in fields if field != "st_size")
    return all(getattr(left, field) == getattr(right, field) for field in fields)
