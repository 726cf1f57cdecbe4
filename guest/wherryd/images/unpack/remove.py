"""Removing what an entry replaces, by descriptors."""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH101, PTH102, PTH106, PTH108, PTH115, PTH116, PTH208

import os
import stat
from collections.abc import Callable

from wherryd.images.unpack.directories import open_directory

OnFile = Callable[[int, str, str], None]
"""(parent's descriptor, name, path from the root): called before a regular file goes."""


def remove(
    parent_fd: int, name: str, path: str, on_file: OnFile, keep: Callable[[str], bool] | None = None
) -> bool:
    """rm -r of one name; follows no link. keep(path): leave this one. Returns whether all of it went."""
    mode = os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode
    if not stat.S_ISDIR(mode):
        if keep is not None and keep(path):
            return False
        if stat.S_ISREG(mode):
            on_file(parent_fd, name, path)
        os.unlink(name, dir_fd=parent_fd)
        return True
    empty = remove_contents(parent_fd, name, path, on_file, keep)
    if not empty or (keep is not None and keep(path)):
        return False
    os.rmdir(name, dir_fd=parent_fd)
    return True


def remove_contents(
    parent_fd: int, name: str, path: str, on_file: OnFile, keep: Callable[[str], bool] | None = None
) -> bool:
    """The same for everything in a directory. Recursive: paths are shorter than the child's stack."""
    fd = open_directory(name, parent_fd)
    try:
        gone = [
            remove(fd, entry, f"{path}/{entry}" if path else entry, on_file, keep) for entry in os.listdir(fd)
        ]
    finally:
        os.close(fd)
    return all(gone)
