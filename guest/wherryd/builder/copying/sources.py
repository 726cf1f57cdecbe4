"""Which files a COPY or ADD means: names and patterns below a root, resolved by the kernel inside it.

Source: Dockerfile reference, "COPY": patterns are those of Go's filepath.Match.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH208

import errno
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

from wherryd.builder.copying.errors import CopyError
from wherryd.errors import KernelFault
from wherryd.sys import paths
from wherrywire.dockerignore import BadPattern, compile_pattern

_MISSING = (errno.ENOENT, errno.ENOTDIR)


def clean(source: str) -> str:
    """As a path below the root, "" for the root itself. Raises CopyError when it leads out of it."""
    path = posixpath.normpath(source.lstrip("/") or ".")
    if path == ".." or path.startswith("../"):
        raise CopyError(
            f"forbidden path outside the build context: {source} (hint: copy it into the context)"
        )
    return "" if path == "." else path


def find(root: int, source: str, *, context: bool) -> list[str]:
    """The paths that a source means, sorted. Raises CopyError when there is none.

    context: whether root is the build context, for the words of the error.
    """
    path = clean(source)
    if not any(sign in path for sign in "*?[\\"):
        if not _exists(root, path):
            where = "file not found in build context or excluded by .dockerignore: " if context else ""
            raise CopyError(f"{where}stat {path}: file does not exist")
        return [path]
    found = [""]
    for part in path.split("/"):
        try:
            found = [child for folder in found for child in _matching(root, folder, part)]
        except BadPattern as exc:
            raise CopyError(str(exc)) from exc
    if not found:
        raise CopyError(f"no source files were specified: nothing matches {source}")
    return sorted(found, key=os.fsencode)


def _matching(root: int, folder: str, part: str) -> Iterator[str]:
    prefix = f"{folder}/" if folder else ""
    if not any(sign in part for sign in "*?[\\"):
        if _exists(root, prefix + part):
            yield prefix + part
        return
    pattern = compile_pattern(part)
    try:
        with opened_directory(root, folder) as fd:
            names = os.listdir(fd)
    except KernelFault as exc:
        if exc.errno in _MISSING:
            return
        raise
    for name in names:
        if pattern.fullmatch(name):
            yield prefix + name


def _exists(root: int, path: str) -> bool:
    try:
        os.close(paths.open_in_root(root, path, paths.O_PATH))
    except KernelFault as exc:
        if exc.errno in _MISSING:
            return False
        if exc.errno == errno.ELOOP:
            raise CopyError(f"{path}: too many links on its way") from exc
        raise
    return True


@contextmanager
def opened_directory(root: int, path: str) -> Iterator[int]:
    fd = paths.open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
