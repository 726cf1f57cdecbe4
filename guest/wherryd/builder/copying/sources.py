"""Which files a COPY or ADD means: names and patterns below a root, resolved by the kernel inside it.

Source: Dockerfile reference, "COPY": patterns are those of Go's filepath.Match.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH116, PTH208

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from wherryd.builder.copying.errors import CopyError
from wherryd.errors import KernelFault
from wherryd.sys import paths
from wherrywire.dockerignore import BadPattern, Matcher, compile_pattern

_MISSING = (errno.ENOENT, errno.ENOTDIR)
_MAX_DEPTH = 400


def clean(source: str) -> str:
    """As a path below the root, "" for the root itself. Raises CopyError when it leads out of it."""
    path = posixpath.normpath(source.lstrip("/") or ".")
    if path == ".." or path.startswith("../"):
        raise CopyError(
            f"forbidden path outside the build context: {source} (hint: copy it into the context)"
        )
    return "" if path == "." else path


class Files(Protocol):
    """What is asked of the place that sources lie in. Paths are below it, "" is the place itself; links on
    the way are followed, and lead nowhere else. None: it is no folder, or not there."""

    def exists(self, path: str) -> bool: ...
    def is_folder(self, path: str) -> bool: ...
    def names(self, folder: str) -> list[str] | None: ...
    def folders(self, folder: str) -> list[str] | None:
        """Names that are folders themselves, and not links to any."""


def find(
    files: Files, source: str, *, context: bool, deep: bool = False, excluded: Matcher | None = None
) -> list[str]:
    """The paths that a source means, sorted. Raises CopyError when there is none.

    context: whether files is the build context, for the words of the error. deep: a part "**" means any
    number of folders, as with --parents; else it means what "*" means. excluded: of --exclude; what it
    leaves out of a folder is not this function's.
    """
    path = clean(source)
    if not any(sign in path for sign in "*?[\\"):
        if not files.exists(path):
            where = "file not found in build context or excluded by .dockerignore: " if context else ""
            raise CopyError(f"{where}stat {path}: file does not exist")
        found = {path}
    else:
        found = _matches(files, path, deep=deep)
    if not found:
        raise CopyError(f"no source files were specified: nothing matches {source}")
    return sorted((each for each in found if not _left_out(files, each, excluded)), key=os.fsencode)


def _matches(files: Files, path: str, *, deep: bool) -> set[str]:
    found = {""}
    parts = path.split("/")
    for number, part in enumerate(parts, 1):
        try:
            if deep and part == "**" and number < len(parts):
                found = {child for folder in found for child in _folders(files, folder)}
            else:
                found = {child for folder in found for child in _matching(files, folder, part)}
        except BadPattern as exc:
            raise CopyError(str(exc)) from exc
    return found


def _left_out(files: Files, path: str, excluded: Matcher | None) -> bool:
    """Whether --exclude means a source itself, by its path or its name; of a folder its files."""
    if excluded is None or not (excluded.excludes(path) or excluded.excludes(posixpath.basename(path))):
        return False
    return not files.is_folder(path)


def below_pivot(pattern: str, folder: str) -> str:
    """The part of folder, a path that pattern led to, that --parents keeps: all, or what follows "/./".

    Raises CopyError.
    """
    before, pivot, _ = pattern.lstrip("/").partition("/./")
    if not pivot:
        return folder
    dropped = clean(before)
    if "**" in dropped.split("/"):
        raise CopyError(f"{pattern}: ** cannot stand before /./, as nobody knows how many folders it is")
    return "/".join(folder.split("/")[dropped.count("/") + 1 if dropped else 0 :])


def _folders(files: Files, folder: str, depth: int = 0) -> Iterator[str]:
    """A folder and all below it; links to folders are not followed."""
    if depth > _MAX_DEPTH:
        raise CopyError(f"{folder[:80]}...: folders are nested more than {_MAX_DEPTH} deep")
    prefix = f"{folder}/" if folder else ""
    names = files.folders(folder)
    if names is None:
        return  # a file, where a pattern before it matched one
    yield folder
    for name in names:
        yield from _folders(files, prefix + name, depth + 1)


def _matching(files: Files, folder: str, part: str) -> Iterator[str]:
    prefix = f"{folder}/" if folder else ""
    if not any(sign in part for sign in "*?[\\"):
        if files.exists(prefix + part):
            yield prefix + part
        return
    pattern = compile_pattern(part)
    for name in files.names(folder) or ():
        if pattern.fullmatch(name):
            yield prefix + name


@dataclass(frozen=True, slots=True)
class OnDisk:
    """Files below a root, a descriptor that stays the caller's."""

    root: int

    def exists(self, path: str) -> bool:
        try:
            os.close(paths.open_in_root(self.root, path, paths.O_PATH))
        except KernelFault as exc:
            if exc.errno in _MISSING:
                return False
            if exc.errno == errno.ELOOP:
                raise CopyError(f"{path}: too many links on its way") from exc
            raise
        return True

    def is_folder(self, path: str) -> bool:
        with paths.opened(self.root, path) as fd:
            return paths.is_directory(fd)

    def names(self, folder: str) -> list[str] | None:
        try:
            with opened_directory(self.root, folder) as fd:
                return os.listdir(fd)
        except KernelFault as exc:
            if exc.errno in _MISSING:
                return None
            raise

    def folders(self, folder: str) -> list[str] | None:
        try:
            with opened_directory(self.root, folder) as fd:
                return [name for name in os.listdir(fd) if stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode)]
        except KernelFault as exc:
            if exc.errno in _MISSING:
                return None
            raise


@contextmanager
def opened_directory(root: int, path: str) -> Iterator[int]:
    fd = paths.open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
