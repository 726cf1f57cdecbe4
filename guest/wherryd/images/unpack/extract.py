"""Entries of one layer's archive become files, below one directory.

Source: OCI image-spec, "Image Layer Filesystem Changeset". Runs in the child after it has changed its
root and dropped its capabilities. One writer: nobody else changes the directory meanwhile.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH101, PTH102, PTH106, PTH108, PTH115, PTH116, PTH208

import errno
import os
import stat
import tarfile
from collections.abc import Callable
from typing import cast

from wherryd.images.unpack.directories import Directories, Directory, open_directory
from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.files import write_all
from wherryd.images.unpack.members import members
from wherryd.images.unpack.metadata import modified_ns, owner, wanted_xattrs
from wherryd.images.unpack.order import Limits
from wherryd.images.unpack.reader import TarReader
from wherryd.images.unpack.recipe import RecipeWriter
from wherryd.images.unpack.remove import remove
from wherryd.images.unpack.whiteouts import PREFIX, Whiteouts

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SET_IDS = stat.S_ISUID | stat.S_ISGID


class Extractor:
    """`run` once. Counts: `entries`, `size` (bytes of all regular files, as Docker sums an image)."""

    def __init__(
        self,
        reader: TarReader,
        recipe: RecipeWriter,
        root_fd: int,
        *,
        overlay: bool,
        mark_opaque: Callable[[int], None],
        limits: Limits,
    ) -> None:
        self._reader = reader
        self._recipe = recipe
        self._directories = Directories(root_fd)
        self._limits = limits
        self._times: dict[str, int] = {}
        self._contents: dict[str, list[tuple[int, int, int]]] = {}  # path -> (record, offset, size)
        self._whiteouts = Whiteouts(overlay, mark_opaque, self._displace)
        self.entries = 0
        self.size = 0
        self.skipped_xattrs: set[str] = set()

    def run(self, at_end: Callable[[], object] = lambda: None) -> None:
        """Reads the archive to its end. at_end: see `members`. Raises ArchiveError, naming the entry, and
        OSError."""
        for member in members(self._reader, self._limits.trailing_bytes, at_end):
            self._entry(member)
        self._recipe.finish()
        self._set_directory_times()

    @property
    def has_root_entry(self) -> bool:
        """Whether the archive said what owner and mode the root directory has."""
        return "." in self._times

    def _entry(self, member: tarfile.TarInfo) -> None:
        self.entries += 1
        try:
            if self.entries > self._limits.entries:
                raise ArchiveError(f"more than {self._limits.entries} entries, which is the limit")
            if self._directories.stale:
                self._directories.refresh()
            head, _, name = member.name.rpartition("/")
            if name in ("", ".", ".."):
                self._odd_name(member)
                return
            directory = self._directories.get(head)
            if name.startswith(PREFIX):
                self._skip_contents(member)
                self._whiteouts.apply(directory, name)
            else:
                self._make(member, directory, name)
        except ArchiveError as exc:
            raise ArchiveError(f'entry "{printable(member.name)}": {exc}') from None
        except OSError as exc:
            raise OSError(exc.errno, f'entry "{printable(member.name)}": {exc.strerror}') from exc

    def _odd_name(self, member: tarfile.TarInfo) -> None:
        """Names that end in "." or "..": the directory itself, usually the root ("./")."""
        if not member.isdir():
            raise ArchiveError("it is not a directory, but its name is one")
        directory = self._directories.get(member.name)
        uid, gid = owner(member)
        os.fchown(directory.fd, uid, gid)
        os.fchmod(directory.fd, member.mode & 0o7777)
        self._xattrs(member, directory.fd)
        self._times[directory.path or "."] = modified_ns(member)
        self._directories.stale = True

    def _make(self, member: tarfile.TarInfo, directory: Directory, name: str) -> None:
        path = directory.child(name)
        self._whiteouts.made(path)
        if member.isreg():
            self._file(member, directory, name, path)
        elif member.isdir():
            self._directory(member, directory, name, path)
        elif member.issym():
            self._retry(directory, name, lambda: os.symlink(member.linkname, name, dir_fd=directory.fd))
            self._own(member, directory, name)
        elif member.islnk():
            self._hard_link(member, directory, name)
        elif member.isfifo():
            self._retry(directory, name, lambda: os.mkfifo(name, member.mode & 0o7777, dir_fd=directory.fd))
            self._own(member, directory, name)
        elif member.ischr() or member.isblk():
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            mode = kind | (member.mode & 0o7777)
            number = os.makedev(member.devmajor, member.devminor)
            self._retry(directory, name, lambda: os.mknod(name, mode, number, dir_fd=directory.fd))
            self._own(member, directory, name)
        else:
            raise ArchiveError(f"entries of type {member.type!r} are not known")

    def _file(self, member: tarfile.TarInfo, directory: Directory, name: str, path: str) -> None:
        mode = member.mode & 0o7777
        try:
            fd = os.open(name, _CREATE, mode, dir_fd=directory.fd)
        except FileExistsError:
            self._displace(directory, name)
            fd = os.open(name, _CREATE, mode, dir_fd=directory.fd)
        try:
            self._contents_to(member, fd, path)
            uid, gid = owner(member)
            if uid or gid or directory.inherits:
                os.fchown(fd, uid, gid)
                os.fchmod(fd, mode)  # chown takes the set-id bits away
            elif mode & _SET_IDS:
                os.fchmod(fd, mode)
            if member.pax_headers:
                self._xattrs(member, fd)
            when = modified_ns(member)
            os.utime(fd, ns=(when, when))
        finally:
            os.close(fd)
        self.size += member.size

    def _contents_to(self, member: tarfile.TarInfo, fd: int, path: str) -> None:
        """The entry's bytes into fd, a record per piece into the recipe, the padding behind them."""
        # typeshed says bytes; tarfile keeps (offset, size) of each piece that is no hole.
        sparse = cast("list[tuple[int, int]] | None", member.sparse)
        size = member.size
        if sparse is None:
            if size:
                self._contents[path] = [(self._recipe.file(path, 0, size), 0, size)]
                self._reader.copy(size, fd)
                self._reader.read(-size % tarfile.BLOCKSIZE)
            return
        stored = 0
        records = []
        for offset, size in sparse:
            if offset < 0 or size < 0 or offset + size > member.size:
                raise ArchiveError("its map of holes does not fit its size")
            if not size:
                continue
            os.lseek(fd, offset, os.SEEK_SET)
            records.append((self._recipe.file(path, offset, size), offset, size))
            self._reader.payload(size, lambda piece: write_all(fd, piece))
            stored += size
        os.ftruncate(fd, member.size)
        if records:
            self._contents[path] = records
        self._reader.read(-stored % tarfile.BLOCKSIZE)

    def _skip_contents(self, member: tarfile.TarInfo) -> None:
        """A whiteout has none; who writes some all the same finds them in the recipe as raw bytes."""
        if member.isreg() and member.size:
            self._reader.payload(member.size, lambda piece: self._recipe.raw(bytes(piece)))
            self._reader.read(-member.size % tarfile.BLOCKSIZE)

    def _directory(self, member: tarfile.TarInfo, directory: Directory, name: str, path: str) -> None:
        mode = member.mode & 0o7777
        fresh = True
        try:
            os.mkdir(name, mode & 0o1777, dir_fd=directory.fd)
        except FileExistsError:
            there = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
            fresh = not stat.S_ISDIR(there.st_mode)
            if fresh:
                self._displace(directory, name)
                os.mkdir(name, mode & 0o1777, dir_fd=directory.fd)
        uid, gid = owner(member)
        if uid or gid or directory.inherits or not fresh:
            os.chown(name, uid, gid, dir_fd=directory.fd, follow_symlinks=False)
        if mode & _SET_IDS or directory.inherits or not fresh:
            os.chmod(name, mode, dir_fd=directory.fd)  # just made or seen: no link
        self._times[path] = modified_ns(member)
        if not fresh:
            self._directories.stale = True
        if fresh and self._whiteouts.replaced(path):
            self._whiteouts.opaque(directory, name)
        if wanted_xattrs(member):
            fd = open_directory(name, directory.fd)
            try:
                self._xattrs(member, fd)
            finally:
                os.close(fd)

    def _hard_link(self, member: tarfile.TarInfo, directory: Directory, name: str) -> None:
        head, _, target = member.linkname.rstrip("/").rpartition("/")
        if target in ("", ".", ".."):
            raise ArchiveError(f'hard link to "{printable(member.linkname)}", which is no file')
        try:
            source = self._directories.get(head)
            self._retry(
                directory,
                name,
                lambda: os.link(
                    target, name, src_dir_fd=source.fd, dst_dir_fd=directory.fd, follow_symlinks=False
                ),
            )
        except (ArchiveError, FileNotFoundError, PermissionError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc
            raise ArchiveError(f'hard link to "{printable(member.linkname)}": {reason}') from None

    def _retry(self, directory: Directory, name: str, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            self._displace(directory, name)
            make()

    def _own(self, member: tarfile.TarInfo, directory: Directory, name: str) -> None:
        """Owner, mode and time of what is neither file nor directory."""
        uid, gid = owner(member)
        if uid or gid or directory.inherits:
            os.chown(name, uid, gid, dir_fd=directory.fd, follow_symlinks=False)
            if not member.issym():
                os.chmod(name, member.mode & 0o7777, dir_fd=directory.fd)
        when = modified_ns(member)
        os.utime(name, ns=(when, when), dir_fd=directory.fd, follow_symlinks=False)

    def _xattrs(self, member: tarfile.TarInfo, fd: int) -> None:
        for name, value in wanted_xattrs(member):
            try:
                os.setxattr(fd, name, value)
            except OSError as exc:
                # tmpfs before Linux 6.6 has no user attributes; an image must not fail for them.
                if exc.errno != errno.ENOTSUP or not name.startswith("user."):
                    raise
                self.skipped_xattrs.add(name)

    def _displace(self, directory: Directory, name: str) -> None:
        """Removes what is in an entry's place, as Docker does; saves contents the recipe refers to."""
        kind = os.stat(name, dir_fd=directory.fd, follow_symlinks=False).st_mode
        remove(directory.fd, name, directory.child(name), self._save_contents)
        if stat.S_ISDIR(kind) or stat.S_ISLNK(kind):
            self._directories.stale = True

    def _save_contents(self, parent_fd: int, name: str, path: str) -> None:
        records = self._contents.pop(path, None)
        if not records:
            return
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
        try:
            for number, offset, size in records:
                os.lseek(fd, offset, os.SEEK_SET)
                self._recipe.keep(number, size, lambda want: os.read(fd, want))
        finally:
            os.close(fd)

    def _set_directory_times(self) -> None:
        """Last, since every new entry changed its directory's time."""
        root = self._directories.root.fd
        for path, when in self._times.items():
            try:
                os.utime(path, ns=(when, when), dir_fd=root, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue  # a later entry replaced the directory


def printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:300]
