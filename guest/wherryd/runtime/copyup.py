"""What a tmpfs with the option `tmpcopyup` covers is copied into it first.

Descriptor by descriptor, and no link is followed: the tree is the image's, and may be hostile. The copy ends
where the tmpfs is full. Sockets are left out, as nobody listens on a copy.
"""

import os
import stat
from collections.abc import Callable

from wherryd.errors import RuntimeFault

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20


def copy_up(source: int, target: int, place: str) -> None:
    """source: the directory, by any descriptor; target: the file system's root. Raises RuntimeFault."""
    try:
        # Both may be descriptors of a place only (O_PATH), through which nothing can be changed.
        _both(".", source, target, os.O_DIRECTORY, os.O_DIRECTORY, _tree)
    except OSError as error:
        raise RuntimeFault(
            f"cannot copy what is in {place} into its tmpfs: {error.strerror}: is its size too small?"
        ) from error


def _tree(source: int, target: int) -> None:
    with os.scandir(source) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        _entry(name, source, target)
    _metadata(os.fstat(source), source, target)


def _entry(name: str, source: int, target: int) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)  # noqa: PTH116
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)  # noqa: PTH115
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    elif stat.S_ISDIR(status.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)  # noqa: PTH102
        _both(name, source, target, os.O_DIRECTORY, os.O_DIRECTORY, _tree)
    elif stat.S_ISREG(status.st_mode):
        _both(name, source, target, 0, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _file)
    elif not stat.S_ISSOCK(status.st_mode):
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)


def _both(
    name: str, source: int, target: int, read: int, write: int, action: Callable[[int, int], None]
) -> None:
    """Opens the entry here and there, the flags given, and closes both again."""
    inner = os.open(name, _READ | read, dir_fd=source)
    try:
        outer = os.open(name, os.O_NOFOLLOW | os.O_CLOEXEC | write, 0o600, dir_fd=target)
        try:
            action(inner, outer)
        finally:
            os.close(outer)
    finally:
        os.close(inner)


def _file(source: int, target: int) -> None:
    while os.sendfile(target, source, None, _CHUNK_BYTES):
        pass
    _metadata(os.fstat(source), source, target)


def _metadata(status: os.stat_result, source: int, target: int) -> None:
    """Owner before mode: changing it takes away set-user-id. Times last."""
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if name.startswith("user.") or name == "security.capability":
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
