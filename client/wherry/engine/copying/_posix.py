"""A folder on macOS and Linux: every step by descriptor, with O_NOFOLLOW."""

import sys

assert sys.platform != "win32"  # noqa: S101 - the type checker's way to know the platform

import contextlib  # noqa: E402
import os  # noqa: E402
import posixpath  # noqa: E402
import shutil  # noqa: E402
import stat  # noqa: E402
import tarfile  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import IO, Self  # noqa: E402

from wherry.errors import UsageProblem  # noqa: E402

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_BYTES = 1024 * 1024


class Folder:
    """Names are relative, normal (`a/b`; `.` is the folder itself) and never leave it. Closed by `with`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> Self:
        # The folder that the user named may be reached by links; what is below may not.
        self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)

    def name_problem(self, name: str) -> str:
        """Every name that Linux can have can be had."""
        return "" if "\0" not in name else "a name with a zero byte"

    def make_folder(self, name: str, entry: tarfile.TarInfo) -> None:  # noqa: ARG002
        if name == ".":
            return
        with self._parent(name) as (parent, last):
            try:
                os.mkdir(last, 0o700, dir_fd=parent)  # noqa: PTH102 - Path knows no dir_fd
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(last, dir_fd=parent).st_mode):
                    raise UsageProblem(
                        f'cannot overwrite non-directory "{self._path / name}" with directory "{name}"'
                    ) from None

    def clear(self, name: str) -> None:
        """Makes room for a new entry. Raises UsageProblem if a folder is in the way."""
        with self._parent(name) as (parent, last):
            try:
                found = os.lstat(last, dir_fd=parent)
            except FileNotFoundError:
                return
            if stat.S_ISDIR(found.st_mode):
                raise UsageProblem(
                    f'cannot overwrite directory "{self._path / name}" with non-directory "{name}"'
                )
            os.unlink(last, dir_fd=parent)  # noqa: PTH108

    def write_file(self, name: str, entry: tarfile.TarInfo, data: IO[bytes]) -> None:
        with self._parent(name) as (parent, last):
            fd = os.open(
                last,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
                dir_fd=parent,
            )
            with os.fdopen(fd, "wb") as file:
                shutil.copyfileobj(data, file, _COPY_BYTES)
                file.flush()
                os.fchmod(fd, stat.S_IMODE(entry.mode))
                os.utime(fd, (entry.mtime, entry.mtime))

    def make_symlink(self, name: str, target: str) -> str:
        with self._parent(name) as (parent, last):
            os.symlink(target, last, dir_fd=parent)
        return ""

    def make_link(self, name: str, target: str) -> str:
        """target: below the folder; a symbolic link is linked itself, not followed."""
        with self._parent(target) as (source, source_last), self._parent(name) as (parent, last):
            os.link(source_last, last, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        return ""

    def make_special(self, name: str, entry: tarfile.TarInfo) -> str:
        kinds = {
            tarfile.FIFOTYPE: stat.S_IFIFO,
            tarfile.CHRTYPE: stat.S_IFCHR,
            tarfile.BLKTYPE: stat.S_IFBLK,
        }
        kind = kinds.get(entry.type)
        if kind is None:
            return f"an entry of unknown type {entry.type!r}"
        device = os.makedev(entry.devmajor, entry.devminor) if kind != stat.S_IFIFO else 0
        with self._parent(name) as (parent, last):
            try:
                os.mknod(last, kind | stat.S_IMODE(entry.mode), device, dir_fd=parent)
            except PermissionError:
                return "a device, which only root may make"
        return ""

    def own(self, name: str, entry: tarfile.TarInfo) -> None:
        """Raises PermissionError unless root."""
        if name == ".":
            return
        with self._parent(name) as (parent, last):
            os.chown(last, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
            if entry.isreg():
                # chown takes setuid away.
                os.chmod(last, stat.S_IMODE(entry.mode), dir_fd=parent)  # noqa: PTH101

    def finish_folder(self, name: str, entry: tarfile.TarInfo) -> None:
        """Its mode and time, when all is in it."""
        if name == ".":
            return  # the user's own folder stays as it is
        with self._parent(name) as (parent, last):
            fd = os.open(last, _OPEN_FOLDER, dir_fd=parent)
            try:
                os.fchmod(fd, stat.S_IMODE(entry.mode))
                os.utime(fd, (entry.mtime, entry.mtime))
            finally:
                os.close(fd)

    @contextlib.contextmanager
    def _parent(self, name: str) -> Iterator[tuple[int, str]]:
        """The descriptor of the folder that holds name, made if it is missing; and the last part of name."""
        head, last = posixpath.split(name)
        fd = os.dup(self._fd)
        try:
            for part in head.split("/") if head else ():
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=fd)  # noqa: PTH102
                inner = os.open(part, _OPEN_FOLDER, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd, last
        finally:
            os.close(fd)
