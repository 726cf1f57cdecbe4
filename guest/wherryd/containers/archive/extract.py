"""An archive's entries -> files below one directory of a view.

Names in the archive cannot lead out of that directory by "..". Links that are in the container already are
followed inside its root, as its own processes would (/var/run -> /run). The container may run and change
things meanwhile: every file is made whole under a name of its own and then renamed into its place, so nobody
sees half of it, and an archive that ends early leaves nothing half-written.

Source: Engine API, "PUT /containers/{id}/archive"; dockerd's rules for what replaces what.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH101, PTH102, PTH103, PTH104, PTH106, PTH108, PTH115, PTH116

import errno
import os
import posixpath
import secrets
import stat
import tarfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from wherryd.containers.archive.errors import CopyFault, Fault, wish
from wherryd.errors import KernelFault
from wherryd.images.unpack.directories import clean
from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.extract import printable
from wherryd.images.unpack.files import write_all
from wherryd.images.unpack.members import members
from wherryd.images.unpack.metadata import modified_ns, owner, wanted_xattrs
from wherryd.images.unpack.order import Limits
from wherryd.images.unpack.reader import TarReader
from wherryd.images.unpack.remove import remove
from wherryd.sys import paths
from wherryd.sys.filesystems import KERNEL_FILESYSTEMS, statfs_type

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KEEP_OPEN = 64
#: Before a file's random temporary name.
TEMPORARY = ".wherry-cp-"


@dataclass(frozen=True, slots=True)
class Target:
    """root: of the view. path: of the directory, absolute, no link in it; shown: as the client named it."""

    root: int
    path: str
    shown: str


@dataclass(slots=True)
class Extraction:
    """`run` once. owner: for everything, None = as the archive has it."""

    target: Target
    reader: TarReader
    no_overwrite: bool = False
    owner: tuple[int, int] | None = None
    limits: Limits = field(default_factory=Limits)
    _open: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _times: dict[str, int] = field(default_factory=dict)
    _entries: int = 0

    def run(self) -> None:
        """Raises ArchiveError and CopyFault, naming the entry, and OSError."""
        try:
            for member in members(self.reader, self.limits.trailing_bytes):
                self._entry(member)
        finally:
            self._forget()
            self._set_directory_times()

    def _entry(self, member: tarfile.TarInfo) -> None:
        self._entries += 1
        try:
            if self._entries > self.limits.entries:
                raise ArchiveError(f"more than {self.limits.entries} entries, which is the limit")
            parts = clean(member.name)
            if not parts:
                if not member.isdir():
                    raise ArchiveError("it is not a directory, but its name is one")
                return  # the directory itself stays as it is
            self._make(member, self._parent("/".join(parts[:-1])), "/".join(parts))
        except ArchiveError as exc:
            raise ArchiveError(f'entry "{printable(member.name)}": {exc}') from None
        except OSError as exc:
            raise OSError(exc.errno, f'entry "{printable(member.name)}": {exc.strerror}') from exc
        except KernelFault as exc:
            raise OSError(exc.errno, f'entry "{printable(member.name)}": {os.strerror(exc.errno)}') from exc

    # folders

    def _parent(self, path: str) -> int:
        """The folder at path below the target, made where it is missing; kept open for the next entries."""
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        fd = self._folder(posixpath.join(self.target.path, path))
        self._open[path] = fd
        if len(self._open) > _KEEP_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return fd

    def _folder(self, path: str) -> int:
        try:
            fd = paths.mkdir_in_root(self.target.root, path)
        except KernelFault as exc:
            if exc.errno in (errno.ENOTDIR, errno.EEXIST):
                raise ArchiveError("a part of its path is not a directory") from None
            raise
        try:
            if statfs_type(fd) in KERNEL_FILESYSTEMS:
                raise CopyFault(Fault.READ_ONLY, f"{path} belongs to the kernel: nothing can be copied there")
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _forget(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    # entries

    def _make(self, member: tarfile.TarInfo, parent: int, path: str) -> None:
        name = path.rpartition("/")[2]
        if member.isdir():
            self._directory(member, parent, name, path)
            return
        self._check_place(member, parent, name, path)
        temporary = TEMPORARY + secrets.token_hex(8)
        try:
            self._make_temporary(member, parent, temporary)
            self._put_in_place(parent, temporary, name, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent)

    def _check_place(self, member: tarfile.TarInfo, parent: int, name: str, path: str) -> None:
        there = _mode(parent, name)
        if self.no_overwrite and there is not None and stat.S_ISDIR(there) != member.isdir():
            what, by = (
                ("directory", "non-directory") if stat.S_ISDIR(there) else ("non-directory", "directory")
            )
            raise wish(
                f'cannot overwrite {what} "{posixpath.join(self.target.path, path)}" with {by} '
                f'"{self.target.shown}"'
            )

    def _directory(self, member: tarfile.TarInfo, parent: int, name: str, path: str) -> None:
        self._check_place(member, parent, name, path)
        there = _mode(parent, name)
        if there is not None and not stat.S_ISDIR(there):
            os.unlink(name, dir_fd=parent)
            there = None
        if there is None:
            os.mkdir(name, 0o700, dir_fd=parent)
            self._forget_below(path)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            self._own(member, fd)
            os.fchmod(fd, member.mode & 0o7777)
            _set_xattrs(member, fd)
        finally:
            os.close(fd)
        self._times[path] = modified_ns(member)

    def _make_temporary(self, member: tarfile.TarInfo, parent: int, name: str) -> None:
        if member.isreg():
            self._file(member, parent, name)
        elif member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
            self._own_name(member, parent, name)
        elif member.islnk():
            self._hard_link(member, parent, name)
        elif member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
            self._own_name(member, parent, name)
        elif member.ischr() or member.isblk():
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(name, kind | 0o600, os.makedev(member.devmajor, member.devminor), dir_fd=parent)
            self._own_name(member, parent, name)
        else:
            raise ArchiveError(f"entries of type {member.type!r} are not known")

    def _file(self, member: tarfile.TarInfo, parent: int, name: str) -> None:
        fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            self._contents(member, fd)
            self._own(member, fd)
            os.fchmod(fd, member.mode & 0o7777)  # after chown, which takes the set-id bits away
            _set_xattrs(member, fd)
            when = modified_ns(member)
            os.utime(fd, ns=(when, when))
        finally:
            os.close(fd)

    def _contents(self, member: tarfile.TarInfo, fd: int) -> None:
        # typeshed says bytes; tarfile keeps (offset, size) of each piece that is no hole.
        sparse = cast("list[tuple[int, int]] | None", member.sparse)
        stored = 0
        for offset, size in [(0, member.size)] if sparse is None else sparse:
            if offset < 0 or size < 0 or offset + size > member.size:
                raise ArchiveError("its map of holes does not fit its size")
            if sparse is not None:
                os.lseek(fd, offset, os.SEEK_SET)
            self.reader.payload(size, lambda piece: write_all(fd, piece))
            stored += size
        if sparse is not None:
            os.ftruncate(fd, member.size)
        self.reader.read(-stored % tarfile.BLOCKSIZE)

    def _hard_link(self, member: tarfile.TarInfo, parent: int, name: str) -> None:
        parts = clean(member.linkname)
        if not parts:
            raise ArchiveError(f'hard link to "{printable(member.linkname)}", which is no file')
        try:
            source = self._parent("/".join(parts[:-1]))
            os.link(parts[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, PermissionError) as exc:
            raise ArchiveError(f'hard link to "{printable(member.linkname)}": {exc.strerror}') from None

    def _put_in_place(self, parent: int, temporary: str, name: str, path: str) -> None:
        there = _mode(parent, name)
        if there is not None and stat.S_ISDIR(there):
            remove(parent, name, name, _ignore)
            self._forget_below(path)
        elif there is not None and stat.S_ISLNK(there):
            self._forget_below(path)
        try:
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError as exc:
            if exc.errno != errno.EBUSY or there is None or not stat.S_ISREG(there):
                raise
            # Something is mounted on the very file (-v file:file): only what is in it can be replaced.
            _overwrite(parent, temporary, name)

    def _forget_below(self, path: str) -> None:
        """What stood at path was replaced: folders that were found through it may be others now."""
        for known in [each for each in self._open if each == path or each.startswith(f"{path}/")]:
            os.close(self._open.pop(known))

    # owners and times

    def _ids(self, member: tarfile.TarInfo) -> tuple[int, int]:
        return self.owner or owner(member)

    def _own(self, member: tarfile.TarInfo, fd: int) -> None:
        self._chown(member, lambda uid, gid: os.fchown(fd, uid, gid))

    def _own_name(self, member: tarfile.TarInfo, parent: int, name: str) -> None:
        """Of what is neither file nor directory. The name is random and was just made."""
        self._chown(member, lambda u, g: os.chown(name, u, g, dir_fd=parent, follow_symlinks=False))
        if not member.issym():
            os.chmod(name, member.mode & 0o7777, dir_fd=parent)
        when = modified_ns(member)
        os.utime(name, ns=(when, when), dir_fd=parent, follow_symlinks=False)

    def _chown(self, member: tarfile.TarInfo, change: Callable[[int, int], None]) -> None:
        uid, gid = self._ids(member)
        try:
            change(uid, gid)
        except OSError as exc:
            if exc.errno in (errno.EINVAL, errno.EOVERFLOW):
                raise ArchiveError(f"this container has no such owner as {uid}:{gid}") from None
            raise

    def _set_directory_times(self) -> None:
        """Last, since every new entry changed its directory's time."""
        for path, when in self._times.items():
            with (
                suppress(KernelFault, OSError),
                paths.opened(
                    self.target.root, posixpath.join(self.target.path, path), os.O_RDONLY | os.O_DIRECTORY
                ) as fd,
            ):
                os.utime(fd, ns=(when, when))


def _mode(parent: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _overwrite(parent: int, source: str, target: str) -> None:
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    reading = os.open(source, os.O_RDONLY | flags, dir_fd=parent)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_TRUNC | flags, dir_fd=parent)
        try:
            while os.sendfile(writing, reading, None, 1 << 24):
                pass
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _set_xattrs(member: tarfile.TarInfo, fd: int) -> None:
    for name, value in wanted_xattrs(member):
        try:
            os.setxattr(fd, name, value)
        except OSError as exc:
            # A file system that cannot hold them (tmpfs before Linux 6.6): the file is worth more.
            if exc.errno != errno.ENOTSUP:
                raise


def _ignore(parent: int, name: str, path: str) -> None:
    """Nobody needs what was in a file that is replaced."""
