"""Copying files between two roots, by descriptors only.

Owner, mode, times and attributes as Docker's COPY leaves them: a copied file has its source's time; a
folder that had to be made on the way is 0755 and has the time of what was copied into it, and one that
was there keeps the time it had: so the same sources make the same layer.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH101, PTH102, PTH108, PTH115, PTH116, PTH208

import errno
import os
import posixpath
import stat
from dataclasses import dataclass, field

from wherryd.builder.copying.attributes import is_copied
from wherryd.builder.copying.errors import CopyError
from wherryd.builder.copying.modes import Mode
from wherryd.errors import KernelFault
from wherryd.sys import paths
from wherrywire.dockerignore import Matcher

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1024 * 1024
_MAX_DEPTH = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """owner: (uid, gid) for everything, None = as the source has it. mode: for everything, or None."""

    owner: tuple[int, int] | None
    mode: Mode | None
    excluded: Matcher | None = None

    def mode_of(self, mode: int, *, folder: bool = False) -> int:
        """mode: the source's, its kind may be in it."""
        permissions = stat.S_IMODE(mode)
        return permissions if self.mode is None else self.mode(permissions, folder)


@dataclass(slots=True)
class Copier:
    """root: the destination's root. The descriptor stays the caller's."""

    root: int
    rules: Rules
    #: Path -> the time the folder gets at the end: its own, or its content's if it was made here.
    _times: dict[str, int] = field(default_factory=dict)
    _links: dict[tuple[int, int], str] = field(default_factory=dict)

    def finish(self) -> None:
        """Last: every new entry changed its folder's time."""
        for path, when in self._times.items():
            # Setting the time it has would copy an untouched folder into the layer.
            if os.stat(path or ".", dir_fd=self.root).st_mtime_ns != when:
                os.utime(path or ".", ns=(when, when), dir_fd=self.root)

    # folders of the destination

    def directory(self, path: str, when: int) -> tuple[int, bool]:
        """A descriptor of the folder, made with its parents where missing, and whether it is new."""
        path = path.strip("/")
        try:
            return self._existing(path), False
        except KernelFault as exc:
            if exc.errno == errno.ENOTDIR:
                raise CopyError(f"cannot copy to non-directory: /{path}") from exc
            if exc.errno != errno.ENOENT:
                raise
        parent_path, _, name = path.rpartition("/")
        parent, _ = self.directory(parent_path, when)
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            raise CopyError(
                f"cannot make the folder /{path}: a link that leads nowhere is in its place"
            ) from None
        finally:
            os.close(parent)
        fd = paths.open_in_root(self.root, path, os.O_RDONLY | os.O_DIRECTORY)
        os.fchown(fd, *(self.rules.owner or (0, 0)))
        os.fchmod(fd, 0o755)
        self._times[path] = when
        return fd, True

    def _existing(self, path: str) -> int:
        fd = paths.open_in_root(self.root, path, os.O_RDONLY | os.O_DIRECTORY)
        self.keep_time(path, fd)
        return fd

    def is_directory(self, path: str) -> bool:
        try:
            fd = paths.open_in_root(self.root, path, paths.O_PATH | os.O_DIRECTORY)
        except KernelFault as exc:
            if exc.errno in (errno.ENOENT, errno.ENOTDIR):
                return False
            raise
        os.close(fd)
        return True

    # sources

    def copy(self, source_root: int, source: str, destination: str) -> None:
        """One source. A folder's contents go into the destination; a file into it or in its place."""
        fd = paths.open_in_root(source_root, source, paths.O_PATH)
        status = os.fstat(fd)
        os.close(fd)
        if stat.S_ISDIR(status.st_mode):
            self._whole_directory(source_root, source, destination, status)
            return
        if destination.endswith("/") or self.is_directory(destination):
            folder, name = destination.strip("/"), posixpath.basename(source)
        else:
            folder, _, name = destination.strip("/").rpartition("/")
        target, _ = self.directory(folder, status.st_mtime_ns)
        try:
            if stat.S_ISREG(status.st_mode):
                opened = paths.open_in_root(source_root, source, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    self._file(opened, target, name, f"{folder}/{name}".lstrip("/"))
                finally:
                    os.close(opened)
            else:
                self._special(target, name, status)
        finally:
            os.close(target)

    def write(self, text: bytes, name: str, destination: str) -> None:
        """A heredoc. Its time is 1970, since it has none of its own."""
        if destination.endswith("/") or self.is_directory(destination):
            folder = destination.strip("/")
        else:
            folder, _, name = destination.strip("/").rpartition("/")
        target, _ = self.directory(folder, 0)
        try:
            self._displace(target, name)
            fd = os.open(name, _CREATE, 0o644, dir_fd=target)
            try:
                _write_all(fd, text)
                self._finish_file(fd, self.rules.owner or (0, 0), 0o644, 0)
            finally:
                os.close(fd)
        finally:
            os.close(target)

    def _whole_directory(self, source_root: int, source: str, path: str, status: os.stat_result) -> None:
        target, fresh = self.directory(path, status.st_mtime_ns)
        origin = paths.open_in_root(source_root, source, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._contents(origin, target, path.strip("/"), "", 0)
            if fresh:
                self._metadata(origin, target, status)
        finally:
            os.close(origin)
            os.close(target)

    def _contents(self, origin: int, target: int, path: str, relative: str, depth: int) -> None:
        """path: of target below the root. relative: of origin below the source, for the excludes."""
        if depth > _MAX_DEPTH:
            raise CopyError(f"{path[:80]}...: folders are nested more than {_MAX_DEPTH} deep")
        for name in sorted(os.listdir(origin), key=os.fsencode):
            status = os.lstat(name, dir_fd=origin)
            below, is_folder = relative + name, stat.S_ISDIR(status.st_mode)
            if self.rules.excluded and self.rules.excluded.skips(below, folder=is_folder):
                continue
            child = f"{path}/{name}" if path else name
            if is_folder:
                self._subdirectory(origin, target, name, child, below, depth, status)
            else:
                self.entry(origin, target, name, child, status)

    def entry(self, origin: int, target: int, name: str, path: str, status: os.stat_result) -> None:
        """One entry of a folder that is no folder itself. path: of the copy, below the root."""
        if stat.S_ISREG(status.st_mode):
            fd = os.open(name, _READ, dir_fd=origin)
            try:
                self._file(fd, target, name, path)
            finally:
                os.close(fd)
        elif stat.S_ISLNK(status.st_mode):
            self._displace(target, name)
            os.symlink(os.readlink(name, dir_fd=origin), name, dir_fd=target)
            self._own(target, name, status)
        else:
            self._special(target, name, status)

    def folder_like(self, origin: int, target: int, name: str, path: str, status: os.stat_result) -> None:
        """Owner, mode, attributes and time of a folder that is in both."""
        inner, below = (os.open(name, _READ | os.O_DIRECTORY, dir_fd=each) for each in (origin, target))
        try:
            self._metadata(inner, below, status)
            self._times[path] = status.st_mtime_ns
        finally:
            os.close(inner)
            os.close(below)

    def keep_time(self, path: str, fd: int) -> None:
        """At the end the folder has the time it has now, unless something gave it another."""
        self._times.setdefault(path, os.fstat(fd).st_mtime_ns)

    def _subdirectory(
        self,
        origin: int,
        target: int,
        name: str,
        path: str,
        relative: str,
        depth: int,
        status: os.stat_result,
    ) -> None:
        try:
            os.mkdir(name, 0o755, dir_fd=target)
        except FileExistsError:
            if not self.is_directory(path):
                raise CopyError(f"cannot copy to non-directory: /{path}") from None
        # A link to a folder is followed, inside the root: /lib of a Debian image stays a link.
        below = paths.open_in_root(self.root, path, os.O_RDONLY | os.O_DIRECTORY)
        inner = os.open(name, _READ | os.O_DIRECTORY, dir_fd=origin)
        try:
            self._contents(inner, below, path, relative + "/", depth + 1)
            self._metadata(inner, below, status)
            self._times[path] = status.st_mtime_ns
        finally:
            os.close(inner)
            os.close(below)

    def _file(self, origin: int, target: int, name: str, path: str) -> None:
        status = os.fstat(origin)
        self._displace(target, name)
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and (first := self._links.get(key)) is not None:
            os.link(first, name, src_dir_fd=self.root, dst_dir_fd=target, follow_symlinks=False)
            return
        fd = os.open(name, _CREATE, 0o600, dir_fd=target)
        try:
            _copy_bytes(origin, fd)
            self._metadata(origin, fd, status)
            os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
        finally:
            os.close(fd)
        if status.st_nlink > 1:
            self._links[key] = path

    def _special(self, target: int, name: str, status: os.stat_result) -> None:
        if stat.S_ISSOCK(status.st_mode):
            return  # means nothing without the process behind it
        self._displace(target, name)
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        self._own(target, name, status)

    def _own(self, target: int, name: str, status: os.stat_result) -> None:
        """Owner, mode and time of what cannot be opened."""
        owner = self.rules.owner or (status.st_uid, status.st_gid)
        os.chown(name, *owner, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(name, self.rules.mode_of(status.st_mode), dir_fd=target)  # just made by us: no link
        when = status.st_mtime_ns
        os.utime(name, ns=(when, when), dir_fd=target, follow_symlinks=False)

    def _metadata(self, origin: int, fd: int, status: os.stat_result) -> None:
        """Owner, mode and attributes of an open file or folder."""
        os.fchown(fd, *(self.rules.owner or (status.st_uid, status.st_gid)))
        os.fchmod(fd, self.rules.mode_of(status.st_mode, folder=stat.S_ISDIR(status.st_mode)))
        try:
            names = os.listxattr(origin)
        except OSError as exc:
            if exc.errno != errno.ENOTSUP:
                raise
            return
        for name in names:
            if is_copied(name):
                os.setxattr(fd, name, os.getxattr(origin, name))

    def _finish_file(self, fd: int, owner: tuple[int, int], mode: int, when: int) -> None:
        os.fchown(fd, *owner)
        os.fchmod(fd, self.rules.mode_of(mode))
        os.utime(fd, ns=(when, when))

    def _displace(self, target: int, name: str) -> None:
        try:
            os.unlink(name, dir_fd=target)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            raise CopyError(f"cannot replace the directory {name} with a file") from None


def _copy_bytes(origin: int, target: int) -> None:
    """In the kernel where it can: a copy on a file system with reflinks costs nothing."""
    try:
        while os.copy_file_range(origin, target, 128 * _CHUNK_BYTES):
            pass
        return
    except OSError as exc:
        if exc.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    while data := os.read(origin, _CHUNK_BYTES):
        _write_all(target, data)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
