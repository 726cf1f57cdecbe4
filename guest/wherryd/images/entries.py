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
from collections.abc import Callable
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
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s247x")
_NAME_BYTES = 100
_SHORT_LIMIT, _LONG_LIMIT = 8**7, 8**11
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
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            self.sockets.append(path)
            return
        info = self._info(path, kind, status)
        if kind == tarfile.SYMTYPE:
            info.linkname = os.readlink(name, dir_fd=folder)
        elif kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        if kind not in (tarfile.REGTYPE, tarfile.DIRTYPE):
            self._sink.raw(encoded(info))
            return
        if kind == tarfile.REGTYPE and status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                info.type, info.linkname = tarfile.LNKTYPE, first
                self._sink.raw(encoded(info))
                return
        fd = self._open(folder, name)
        try:
            self._opened(info, fd, path, status)
        finally:
            os.close(fd)

    def _info(self, path: str, kind: bytes, status: os.stat_result) -> tarfile.TarInfo:
        info = tarfile.TarInfo(path)
        info.type, info.mode = kind, stat.S_IMODE(status.st_mode)
        info.uid, info.gid = status.st_uid, status.st_gid
        info.mtime = max(0, int(status.st_mtime_ns // 1_000_000_000))
        return info

    def _opened(self, info: tarfile.TarInfo, fd: int, path: str, status: os.stat_result) -> None:
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != (status.st_dev, status.st_ino):
            # Somebody put another file there between the two looks.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        info.pax_headers = _xattrs(fd)
        if info.type == tarfile.DIRTYPE:
            self._sink.raw(encoded(info))
            return
        info.size = status.st_size
        self._sink.raw(encoded(info))
        if info.size:
            self._sink.contents(fd, path, info.size)
            self._sink.raw(bytes(-info.size % tarfile.BLOCKSIZE))
        self.size += info.size

    def end(self) -> None:
        """The archive's end marker."""
        self._sink.raw(bytes(END_BYTES))


def _open(folder: int, name: str) -> int:
    return os.open(name, _OPEN, dir_fd=folder)


def encoded(info: tarfile.TarInfo) -> bytes:
    """The header's blocks: byte for byte what tarfile makes, and sooner where one block will do."""
    return _one_block(info) or info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _one_block(info: tarfile.TarInfo) -> bytes:
    """A ustar header; empty when something does not fit into its fields, or is not worth a second way."""
    name = info.name
    if info.type == tarfile.DIRTYPE and not name.endswith("/"):
        name += "/"
    plain = (
        info.type in _ONE_BLOCK_KINDS
        and not info.pax_headers
        and name.isascii()
        and info.linkname.isascii()
        and max(len(name), len(info.linkname)) <= _NAME_BYTES
        and min(info.uid, info.gid) >= 0
        and max(info.uid, info.gid) < _SHORT_LIMIT
        and max(info.size, info.mtime) < _LONG_LIMIT
    )
    if not plain:
        return b""
    block = _HEADER.pack(
        name.encode(),
        b"%07o" % (info.mode & 0o7777),
        b"%07o" % info.uid,
        b"%07o" % info.gid,
        b"%011o" % info.size,
        b"%011o" % int(info.mtime),
        b" " * 8,
        info.type,
        info.linkname.encode(),
        tarfile.POSIX_MAGIC,
    )
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])


def _xattrs(fd: int) -> dict[str, str]:
    return {_XATTR + name: os.fsdecode(value) for name, value in named_xattrs(fd).items()}


def named_xattrs(file: int | str) -> dict[str, bytes]:
    """The attributes that an archive carries: the same that are taken from one (unpack/metadata.py).

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
