"""Paths inside a view: what a client's words mean, what is there, where links lead.

Source: Engine API, "HEAD /containers/{id}/archive"; Go's os.FileMode for the numbers in `mode`.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH115

import errno
import os
import posixpath
import stat
from collections import deque
from typing import Any

from wherryd.clock import from_nanoseconds
from wherryd.containers.archive.errors import CopyFault, missing, wish
from wherryd.errors import KernelFault
from wherryd.sys import paths

_BENEATH = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
#: As many as Docker follows.
_MAX_LINKS = 255

#: os.FileMode: bits above the nine of permissions.
_DIRECTORY, _SYMLINK, _DEVICE, _PIPE, _SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
_SET_UID, _SET_GID, _CHARACTER, _STICKY = 1 << 23, 1 << 22, 1 << 21, 1 << 20
_TYPES = {
    stat.S_IFDIR: _DIRECTORY,
    stat.S_IFLNK: _SYMLINK,
    stat.S_IFBLK: _DEVICE,
    stat.S_IFCHR: _DEVICE | _CHARACTER,
    stat.S_IFIFO: _PIPE,
    stat.S_IFSOCK: _SOCKET,
}


def absolute(path: str) -> str:
    """From "/", without ".." and doubled slashes; a "/" or "/." at the end stays: it means the directory that
    a link leads to."""
    clean = "/" + posixpath.normpath("/" + path).lstrip("/")
    stripped = path.rstrip("/")
    if stripped.endswith("/.") or stripped == ".":
        return clean.rstrip("/") + "/."
    if path.endswith("/") and clean != "/":
        return clean + "/"
    return clean


def base_name(path: str) -> str:
    """Its last part, "/" for the root."""
    return posixpath.basename(path.rstrip("/")) or "/"


def opened(root: int, path: str) -> int:
    """An O_PATH descriptor; a link at the end is not followed. Raises CopyFault."""
    try:
        return paths.open_in_root(root, path, paths.O_PATH | os.O_NOFOLLOW)
    except KernelFault as exc:
        raise _told(path, exc) from exc


def _told(path: str, error: KernelFault) -> CopyFault | KernelFault:
    if error.errno == errno.ENOENT:
        return missing(path)
    if error.errno == errno.ENOTDIR:
        return wish(f"{path}: not a directory")
    if error.errno == errno.ELOOP:
        return wish(f"{path}: too many links on its way")
    if error.errno == errno.ENAMETOOLONG:
        return wish(f"{path[:80]}...: the path is too long")
    return error


def path_stat(root: int, path: str, fd: int) -> dict[str, Any]:
    """The document in X-Docker-Container-Path-Stat. fd: of `opened`."""
    status = os.fstat(fd)
    return {
        "name": base_name(path),
        "size": status.st_size,
        "mode": go_mode(status.st_mode),
        "mtime": from_nanoseconds(status.st_mtime_ns),
        "linkTarget": resolved(root, path) if stat.S_ISLNK(status.st_mode) else "",
    }


def go_mode(mode: int) -> int:
    """st_mode as os.FileMode."""
    found = stat.S_IMODE(mode) & 0o777 | _TYPES.get(stat.S_IFMT(mode), 0)
    for bit, its in ((stat.S_ISUID, _SET_UID), (stat.S_ISGID, _SET_GID), (stat.S_ISVTX, _STICKY)):
        if mode & bit:
            found |= its
    return found


def resolved(root: int, path: str) -> str:
    """Where path leads, all links followed, as far as there is something. Raises CopyFault."""
    pending, real, links = deque(path.split("/")), list[str](), 0
    while pending:
        part = pending.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            if real:
                real.pop()
            continue
        link = _link(root, "/".join([*real, part]))
        if link is None:
            real.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise wish(f"{path}: too many links on its way")
        if link.startswith("/"):
            real = []
        pending.extendleft(reversed(link.split("/")))
    return "/" + "/".join(real)


def _link(root: int, path: str) -> str | None:
    """The text of the link at path, None when there is none. All folders on the way are real ones."""
    try:
        fd = paths.openat2(root, path, paths.O_PATH | os.O_NOFOLLOW, 0, _BENEATH)
    except KernelFault as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            return None
        raise
    try:
        return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
    except FileNotFoundError:
        return None  # /proc/self, to who is not in the container's process namespace
    finally:
        os.close(fd)
