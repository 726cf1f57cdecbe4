"""Filling a new volume with what the image has at its place, as dockerd does at create.

The image is seen through a detached mount of its layers, which nobody else sees and which goes with its
descriptor; inside, everything is found by openat2 with the image's root as the ceiling, and copied by
descriptors. Owners, modes, times and extended attributes come along; the volume's folder itself gets those
of the image's folder. A volume that has anything in it is left alone.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from wherryd.containers import rootfiles
from wherryd.errors import KernelFault, SystemFault
from wherryd.runtime import mounting
from wherryd.spec.mount import Mount
from wherryd.sys import paths

_BENEATH = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
_CHUNK_BYTES = 1 << 24
#: Of the file system that the layers are on, not of the files.
_FOREIGN_ATTRIBUTES = ("security.selinux", "trusted.overlay.", "user.overlay.")


def fill(rootfs: Sequence[Mount], destination: str, volume: Path) -> bool:
    """Copies what the image has below destination into the volume, if that is empty; blocks.

    False when there is nothing to copy from, or something in the volume. Raises SystemFault, KernelFault.
    """
    with os.scandir(volume) as entries:
        if any(True for _ in entries):
            return False
    with _opened(_image_root(rootfs)) as root:
        try:
            source = paths.open_in_root(root, destination, os.O_RDONLY | os.O_DIRECTORY)
        except KernelFault as fault:
            if fault.errno in (errno.ENOENT, errno.ENOTDIR):
                return False
            raise
        with _opened(source), _opened(paths.open_root(str(volume))) as target:
            try:
                _copy_tree(source, target)
            except OSError as error:
                raise SystemFault(
                    f"cannot copy {destination} of the image into the volume {volume.parent.name}: {error} "
                    "(hint: mount it with nocopy)"
                ) from error
    return True


@contextlib.contextmanager
def _opened(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _image_root(rootfs: Sequence[Mount]) -> int:
    """A descriptor of the image's root. The container's own upper layer is empty yet, and is left out: the
    kernel wants an upper layer in one mount only, and the container's comes soon."""
    layers = rootfiles.layers(rootfs)
    uppers = [
        option.partition("=")[2]
        for mount in rootfs
        for option in mount.options
        if option.startswith("upperdir=")
    ]
    lowers = [layer for layer in layers if layer not in uppers]
    if len(lowers) == 1:
        return paths.open_root(lowers[0])
    return mounting.read_only_overlay(lowers)


def _copy_tree(source: int, target: int) -> None:
    folders: list[tuple[str, os.stat_result]] = []
    for folder, directories, files, opened in os.fwalk(dir_fd=source):
        with _opened(_beneath(target, folder)) as into:
            for name in (*directories, *files):
                found = os.stat(name, dir_fd=opened, follow_symlinks=False)  # noqa: PTH116 - by descriptor
                _copy_entry(name, found, opened, into)
            found = os.fstat(opened)
            _take_attributes(opened, into)
        folders.append((folder, found))
    # Innermost first: what is made inside changes a folder's times.
    for folder, found in reversed(folders):
        with _opened(_beneath(target, folder)) as into:
            os.chown(into, found.st_uid, found.st_gid)
            os.chmod(into, stat.S_IMODE(found.st_mode))  # noqa: PTH101 - by descriptor
            os.utime(into, ns=(found.st_atime_ns, found.st_mtime_ns))


def _beneath(root: int, path: str) -> int:
    return paths.openat2(root, path, os.O_RDONLY | os.O_DIRECTORY, resolve=_BENEATH)


def _copy_entry(name: str, found: os.stat_result, source: int, target: int) -> None:
    """One file, link, node or (still empty) folder."""
    mode = found.st_mode
    if stat.S_ISDIR(mode):
        os.mkdir(name, 0o700, dir_fd=target)  # noqa: PTH102 - by descriptor
        return
    if stat.S_ISREG(mode):
        _copy_file(name, found, source, target)
    elif stat.S_ISLNK(mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)  # noqa: PTH115 - by descriptor
        os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
    elif stat.S_ISSOCK(mode):
        return  # nobody listens there any more
    else:
        os.mknod(name, mode, found.st_rdev, dir_fd=target)
        os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
        os.chmod(name, stat.S_IMODE(mode), dir_fd=target)  # noqa: PTH101 - by descriptor
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _copy_file(name: str, found: os.stat_result, source: int, target: int) -> None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    with (
        _opened(os.open(name, os.O_RDONLY | flags, dir_fd=source)) as reader,
        _opened(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=target)) as writer,
    ):
        while os.sendfile(writer, reader, None, _CHUNK_BYTES):
            continue
        # The owner before the mode: chown takes the set-user-id bit away.
        os.fchown(writer, found.st_uid, found.st_gid)
        os.fchmod(writer, stat.S_IMODE(found.st_mode))
        _take_attributes(reader, writer)


def _take_attributes(source: int, target: int) -> None:
    """Extended attributes, such as file capabilities and ACLs."""
    for name in os.listxattr(source):
        if not name.startswith(_FOREIGN_ATTRIBUTES):
            os.setxattr(target, name, os.getxattr(source, name))
