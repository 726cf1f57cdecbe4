"""Files as entries of a tar archive: one way of writing them for layers, `cp` and `export`.

Times are whole seconds, owners are numbers, PAX where ustar does not suffice: the same files make the same
bytes. Source: POSIX pax, "pax Interchange Format"; OCI image-spec, "Image Layer Filesystem Changeset".
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH115

import errno
import os
import stat
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

CHUNK_BYTES = 1024 * 1024
END_BYTES = 2 * tarfile.BLOCKSIZE
_XATTR = "SCHILY.xattr."
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}
#: POSIX ustar: name, mode, uid, gid, size, mtime, chksum, typeflag, linkname, magic and version; owners'
#: names, device numbers and prefix stay empty.
_HEADER = struct.Struct("100s24s24s8sc100s8s247x")
_NAME_BYTES = 100
_SHORT_LIMIT, _LONG_LIMIT = 8**7, 8**11
_PADDING = bytes(tarfile.BLOCKSIZE)
_ONE_BLOCK_KINDS = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)


class Sink(Protocol):
    """Where the archive goes."""

    def raw(self, data: bytes) -> None:
        """Headers and padding."""

    def contents(self, fd: int, path: str, size: int) -> None:
        """Exactly size bytes of the file, from its beginning."""


class EntryWriter:
    """`add` each file, then `end`. open_: (folder, name) -> a descriptor; of what is no link."""

    def __init__(self, sink: Sink, open_: Callable[[int, str], int] | None = None) -> None:
        self._sink = sink
        self._open = open_ or _open
        self._links: dict[tuple[int, int], str] = {}
        #: What was left out.
        self.sockets: list[str] = []
        #: Bytes of all regular files so far.
        self.size = 0

    def add(self, folder: int, name: str, path: str, status: os.stat_result) -> None:
        """One file of any kind: name in the opened folder, path in the archive.

        Sockets are left out, as Docker does: they mean nothing without a process. Raises OSError when it is
        not, or no longer, what status says.
        """
        if stat.S_ISREG(status.st_mode):
            self._file(folder, name, path, status)
            return
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            self.sockets.append(path)
            return
        if kind == tarfile.DIRTYPE:
            fd = self._opened(folder, name, path, status)
            try:
                attributes = named_xattrs(fd)
            finally:
                os.close(fd)
            self._sink.raw(_header(path, kind, status, attributes=attributes))
        elif kind == tarfile.SYMTYPE:
            self._sink.raw(_header(path, kind, status, os.readlink(name, dir_fd=folder)))
        else:
            info = _info(path, kind, status)
            if kind != tarfile.FIFOTYPE:
                info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
            self._sink.raw(encoded(info))

    def add_file(self, folder: int, name: str, path: str) -> None:
        """As `add`, of what the folder's listing calls a regular file: one look less, and archives have tens
        of thousands."""
        fd = self._open(folder, name)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            if status.st_nlink == 1 or not self._linked(path, status):
                self._contents(fd, path, status)
        finally:
            os.close(fd)

    def _file(self, folder: int, name: str, path: str, status: os.stat_result) -> None:
        if status.st_nlink > 1 and self._linked(path, status):
            return
        fd = self._opened(folder, name, path, status)
        try:
            self._contents(fd, path, status)
        finally:
            os.close(fd)

    def _linked(self, path: str, status: os.stat_result) -> bool:
        """Whether it is the file of an earlier entry; then it is written as a link to that."""
        first = self._links.setdefault((status.st_dev, status.st_ino), path)
        if first != path:
            self._sink.raw(_header(path, tarfile.LNKTYPE, status, first))
        return first != path

    def _contents(self, fd: int, path: str, status: os.stat_result) -> None:
        size = status.st_size
        self._sink.raw(_header(path, tarfile.REGTYPE, status, size=size, attributes=named_xattrs(fd)))
        if size:
            self._sink.contents(fd, path, size)
            self._sink.raw(_PADDING[: -size % tarfile.BLOCKSIZE])
        self.size += size

    def _opened(self, folder: int, name: str, path: str, status: os.stat_result) -> int:
        """A descriptor of just that file or folder."""
        fd = self._open(folder, name)
        found = os.fstat(fd)
        if found.st_ino != status.st_ino or found.st_dev != status.st_dev:
            # Somebody put another file there between the two looks.
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return fd

    def end(self) -> None:
        """The archive's end marker."""
        self._sink.raw(bytes(END_BYTES))


def _open(folder: int, name: str) -> int:
    return os.open(name, _OPEN, dir_fd=folder)


def encoded(info: tarfile.TarInfo) -> bytes:
    """The header's blocks: byte for byte what tarfile makes, and sooner where one block will do."""
    block = b""
    if info.type in _ONE_BLOCK_KINDS and not info.pax_headers:
        owner = info.uid, info.gid
        block = _one_block(info.name, info.type, info.mode, owner, info.size, info.mtime, info.linkname)
    return block or info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _header(
    path: str,
    kind: bytes,
    status: os.stat_result,
    link: str = "",
    *,
    size: int = 0,
    attributes: Mapping[str, bytes] | None = None,
) -> bytes:
    """As `encoded`, without the detour over a TarInfo where it can be done without."""
    block = b""
    if not attributes:
        owner, seconds = (status.st_uid, status.st_gid), _seconds(status)
        block = _one_block(path, kind, status.st_mode, owner, size, seconds, link)
    if not block:
        info = _info(path, kind, status)
        info.linkname, info.size = link, size
        info.pax_headers = {_XATTR + name: os.fsdecode(value) for name, value in (attributes or {}).items()}
        block = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return block


def _info(path: str, kind: bytes, status: os.stat_result) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode = kind, stat.S_IMODE(status.st_mode)
    info.uid, info.gid = status.st_uid, status.st_gid
    info.mtime = _seconds(status)
    return info


def _seconds(status: os.stat_result) -> int:
    return max(0, status.st_mtime_ns // 1_000_000_000)


def _one_block(
    name: str, kind: bytes, mode: int, owner: tuple[int, int], size: int, seconds: float, link: str
) -> bytes:
    """A ustar header; empty when something does not fit into its fields, or is not worth a second way."""
    if kind == tarfile.DIRTYPE and not name.endswith("/"):
        name += "/"
    uid, gid = owner
    if (
        len(name) > _NAME_BYTES
        or len(link) > _NAME_BYTES
        or not name.isascii()
        or not link.isascii()
        or not 0 <= uid < _SHORT_LIMIT
        or not 0 <= gid < _SHORT_LIMIT
        or size >= _LONG_LIMIT
        or seconds >= _LONG_LIMIT
    ):
        return b""
    block = _HEADER.pack(
        name.encode(),
        b"%07o\0%07o\0%07o" % (mode & 0o7777, uid, gid),
        b"%011o\0%011o" % (size, int(seconds)),
        b" " * 8,
        kind,
        link.encode(),
        tarfile.POSIX_MAGIC,
    )
    # Adler-32's lower half is one more than the sum of the bytes, modulo 65521; 512 of ASCII stay below.
    return b"%b%06o\0 %b" % (block[:148], (zlib.adler32(block) & 0xFFFF) - 1, block[156:])


def named_xattrs(file: int | str) -> dict[str, bytes]:
    """The attributes that an archive carries: the same that are taken from one (unpack/metadata.py).

    file: a descriptor, or a path whose last component may be a link, which is not followed.
    """
    follow = isinstance(file, int)
    try:
        names = os.listxattr(file, follow_symlinks=follow)
        if not names:
            return {}
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
