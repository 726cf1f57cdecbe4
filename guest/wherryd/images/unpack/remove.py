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
        return _remove_file(parent_fd, name, path, mode, on_file, keep)
    empty = remove_contents(parent_fd, name, path, on_file, keep)
    if not empty or (keep is not None and keep(path)):
        return False
    os.rmdir(name, dir_fd=parent_fd)
    return True


def remove_contents(
    parent_fd: int, name: str, path: str, on_file: OnFile, keep: Callable[[str], bool] | None = None
) -> bool:
    """The same for everything in a directory.

    Neither recursive nor with a descriptor per level: a tree may be two thousand directories deep. Each
    directory is opened by its names below parent_fd; all of them were seen to be directories, and nobody
    else writes here.
    """
    waiting, folders, left = [(name, path)], list[tuple[str, str]](), set[str]()
    while waiting:
        folder, folder_path = waiting.pop()
        folders.append((folder, folder_path))
        fd = open_directory(folder, parent_fd)
        try:
            for entry in os.listdir(fd):
                below = f"{folder_path}/{entry}" if folder_path else entry
                mode = os.stat(entry, dir_fd=fd, follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    waiting.append((f"{folder}/{entry}", below))
                elif not _remove_file(fd, entry, below, mode, on_file, keep):
                    left.add(folder)
        finally:
            os.close(fd)
    for folder, folder_path in reversed(folders[1:]):
        if folder in left or (keep is not None and keep(folder_path)):
            left.add(folder.rpartition("/")[0])
        else:
            os.rmdir(folder, dir_fd=parent_fd)
    return name not in left


def _remove_file(
    parent_fd: int,
    name: str,
    path: str,
    mode: int,
    on_file: OnFile,
    keep: Callable[[str], bool] | None,
) -> bool:
    if keep is not None and keep(path):
        return False
    if stat.S_ISREG(mode):
        on_file(parent_fd, name, path)
    os.unlink(name, dir_fd=parent_fd)
    return True
