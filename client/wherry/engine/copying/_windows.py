"""A folder on Windows: no descriptors to walk by, so each part of a path is looked at before it is used."""

import sys

assert sys.platform == "win32"  # noqa: S101 - the type checker's way to know the platform

import contextlib  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import stat  # noqa: E402
import tarfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import IO, Self  # noqa: E402

from wherry.engine.copying.windows_names import problem  # noqa: E402
from wherry.errors import UsageProblem  # noqa: E402

_COPY_BYTES = 1024 * 1024
ERROR_PRIVILEGE_NOT_HELD = 1314


class Folder:
    """Names are relative, normal (`a/b`; `.` is the folder itself) and never leave it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        if not self._path.is_dir():
            raise NotADirectoryError(20, "not a directory", str(self._path))
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing is held open."""

    def name_problem(self, name: str) -> str:
        return problem(name)

    def make_folder(self, name: str, entry: tarfile.TarInfo) -> None:  # noqa: ARG002
        path = self._inside(name)
        if name == ".":
            return
        if os.path.lexists(path) and not self._is_real_folder(path):
            raise UsageProblem(f'cannot overwrite non-directory "{path}" with directory "{name}"')
        path.mkdir(exist_ok=True)

    def clear(self, name: str) -> None:
        path = self._inside(name)
        if not os.path.lexists(path):
            return
        if self._is_real_folder(path):
            raise UsageProblem(f'cannot overwrite directory "{path}" with non-directory "{name}"')
        if not path.is_symlink():  # newer Pythons would follow it
            path.chmod(stat.S_IWRITE)  # read-only files cannot be deleted
        path.unlink()

    def write_file(self, name: str, entry: tarfile.TarInfo, data: IO[bytes]) -> None:
        path = self._inside(name)
        with path.open("xb") as file:
            shutil.copyfileobj(data, file, _COPY_BYTES)
        os.utime(path, (entry.mtime, entry.mtime))

    def make_symlink(self, name: str, target: str) -> str:
        path = self._inside(name)
        try:
            path.symlink_to(target.replace("/", "\\"))
        except OSError as exc:
            if exc.winerror != ERROR_PRIVILEGE_NOT_HELD:
                raise
            return "a symbolic link; switch on Windows' developer mode to have it"
        return ""

    def make_link(self, name: str, target: str) -> str:
        self._inside(name).hardlink_to(self._inside(target))
        return ""

    def make_special(self, name: str, entry: tarfile.TarInfo) -> str:  # noqa: ARG002
        return "a device or pipe, which Windows does not have as a file"

    def own(self, name: str, entry: tarfile.TarInfo) -> None:
        """Windows has no such ids: what is copied belongs to the user."""

    def finish_folder(self, name: str, entry: tarfile.TarInfo) -> None:
        if name != ".":
            os.utime(self._inside(name), (entry.mtime, entry.mtime))

    def _inside(self, name: str) -> Path:
        """The path, its folders made. Raises UsageProblem if one of them is a link or junction."""
        path = self._path
        *folders, last = name.split("/")
        for part in folders:
            path /= part
            with contextlib.suppress(FileExistsError):
                path.mkdir()
            if not self._is_real_folder(path):
                raise UsageProblem(f"{path} is a link; nothing is written through it")
        return path if last == "." else path / last

    @staticmethod
    def _is_real_folder(path: Path) -> bool:
        status = path.lstat()
        reparse = status.st_file_attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT
        return stat.S_ISDIR(status.st_mode) and not reparse
