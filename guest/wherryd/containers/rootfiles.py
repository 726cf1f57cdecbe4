"""Small files of a container's root while nothing has it mounted: read through the layers themselves.

Needed for USER names before the first process. Follows overlay's rules as far as a file such as
/etc/passwd needs them: upper layers first, a whiteout hides what is below.
"""

import os
import stat
from collections.abc import Iterator, Sequence

from wherryd.errors import KernelFault, SystemFault
from wherryd.spec.mount import Mount
from wherryd.sys import paths


def layers(mounts: Sequence[Mount]) -> list[str]:
    """Directories of the root file system, uppermost first."""
    root = next((mount for mount in mounts if mount.target in ("", "/")), None)
    if root is None:
        raise SystemFault("the root file system has no mount for its root (hint: see the engine's log)")
    if root.type != "overlay":
        return [root.source]
    found: list[str] = []
    for option in root.options:
        key, _, value = option.partition("=")
        if key == "upperdir":
            found.insert(0, value)
        elif key == "lowerdir":
            found += value.split(":")
    return found


def read(mounts: Sequence[Mount], path: str, limit_bytes: int) -> bytes:
    """The file's content, cut off at the limit; empty when it is not there or not a regular file."""
    for root in _opened(layers(mounts)):
        content = paths.read_small_file(root, path, limit_bytes=limit_bytes)
        if content is not None:
            return content
        if _hidden_below(root, path):
            return b""
    return b""


def read_living(pid: int, path: str, limit_bytes: int) -> bytes:
    """The same from a running container, through its own mount namespace."""
    try:
        root = os.open(f"/proc/{pid}/root", paths.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return b""
    try:
        return paths.read_small_file(root, path, limit_bytes=limit_bytes) or b""
    finally:
        os.close(root)


def _opened(folders: Sequence[str]) -> Iterator[int]:
    for folder in folders:
        root = paths.open_root(folder)
        try:
            yield root
        finally:
            os.close(root)


def _hidden_below(root: int, path: str) -> bool:
    """Whether this layer says that the path does not exist: a 0:0 character device in its place or above."""
    parts = path.strip("/").split("/")
    for end in range(1, len(parts) + 1):
        try:
            fd = paths.open_in_root(root, "/".join(parts[:end]), paths.O_PATH | os.O_NOFOLLOW)
        except KernelFault:
            return False
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            return True
    return False
