"""Whiteouts: how a layer says what of the layers below is gone.

Source: OCI image-spec, "Whiteouts". `.wh.NAME` hides NAME, `.wh..wh..opq` hides everything that lower
layers have in its directory. Neither touches entries of its own layer, wherever those stand in the archive.

Overlay directories get overlayfs's form: a character device 0:0, and the attribute
trusted.overlay.opaque. Setting that one needs more capability than this process has kept, so the
directory's descriptor goes to the engine, which sets it. Where a directory holds the lower layers' files
too (vfs), the files are removed.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH101, PTH102, PTH106, PTH108, PTH115, PTH116, PTH208

import os
import stat
from collections.abc import Callable

from wherryd.images.unpack.directories import Directory, open_directory
from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.remove import remove, remove_contents

PREFIX = ".wh."
_OPAQUE = ".wh..wh..opq"
_AUFS = ".wh..wh."  # aufs's own files in very old images; of no meaning to others


class Whiteouts:
    def __init__(
        self,
        overlay: bool,
        mark_opaque: Callable[[int], None],
        displace: Callable[[Directory, str], None],
    ) -> None:
        self._overlay = overlay
        self._mark_opaque = mark_opaque
        self._displace = displace
        self._devices: set[str] = set()  # overlay: whiteouts made in this layer
        self._own: set[str] = set()  # apply: what this layer brought

    def made(self, path: str) -> None:
        """An entry of this layer is about to be made at path."""
        if not self._overlay:
            while path and path not in self._own:
                self._own.add(path)
                path = path.rpartition("/")[0]

    def replaced(self, path: str) -> bool:
        """Whether a directory took the place of a whiteout: then nothing below may shine through."""
        if path in self._devices:
            self._devices.discard(path)
            return True
        return False

    def apply(self, directory: Directory, name: str) -> None:
        if name == _OPAQUE:
            self._hide_all(directory)
        elif name.startswith(_AUFS):
            return
        else:
            hidden = name.removeprefix(PREFIX)
            if hidden in ("", ".", ".."):
                raise ArchiveError("a whiteout of nothing")
            self._hide(directory, hidden)

    def opaque(self, directory: Directory, name: str) -> None:
        fd = open_directory(name, directory.fd)
        try:
            self._mark_opaque(fd)
        finally:
            os.close(fd)

    def _hide(self, directory: Directory, name: str) -> None:
        path = directory.child(name)
        if not self._overlay:
            try:
                remove(directory.fd, name, path, _ignore, self._own.__contains__)
            except FileNotFoundError:
                return  # nothing below had it
            return
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=directory.fd)
            self._devices.add(path)
        except FileExistsError:
            # This layer has an entry of that name already. A file hides what is below by being there;
            # a directory must be told to.
            if stat.S_ISDIR(os.stat(name, dir_fd=directory.fd, follow_symlinks=False).st_mode):
                self.opaque(directory, name)

    def _hide_all(self, directory: Directory) -> None:
        if not self._overlay:
            remove_contents(directory.fd, ".", directory.path, _ignore, self._own.__contains__)
        elif directory.path:
            self._mark_opaque(directory.fd)
        else:
            # overlayfs merges the roots of all layers, whatever their attributes say.
            raise ArchiveError("a layer cannot hide the whole root; remove the files one by one")


def _ignore(parent_fd: int, name: str, path: str) -> None:
    """Files of lower layers have no place in this layer's recipe."""
