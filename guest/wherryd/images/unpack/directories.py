"""Parent directories of entries, as open descriptors.

Names come from the archive, so nothing is opened by a whole path. Each component is opened below the
one before, without following links; a link is followed by hand and only inside the layer. The process
has its root in the layer already (child.py), so a mistake here could not reach further: this is the first
of two walls, and the one that can name the entry.
"""
# Everything here is relative to a descriptor, for which pathlib has no form.
# ruff: noqa: PTH101, PTH102, PTH106, PTH108, PTH115, PTH116, PTH208

import os
import stat
from collections import OrderedDict, deque

from wherryd.images.unpack.errors import ArchiveError

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# As many as the kernel follows in one path: path_resolution(7).
_MAX_LINKS = 40
_MAX_PATH_BYTES = 4095
_KEEP_OPEN = 64


class Directory:
    """An open directory of the layer. path: its real place below the root, "" for the root itself.
    inherits: new files get this group and not ours, because the directory has the set-group-id bit."""

    __slots__ = ("fd", "inherits", "path")

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        self.inherits = bool(os.fstat(fd).st_mode & stat.S_ISGID)

    def child(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


def clean(name: str) -> list[str]:
    """An entry's name as components; as Docker reads them: "/a" is "a", "a/../b" is "b".

    Raises ArchiveError for a name that climbs out, or one no file can have.
    """
    parts: list[str] = []
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not parts:
                raise ArchiveError('its name leads out of the archive by ".."')
            parts.pop()
        else:
            parts.append(part)
    if "\0" in name or len(os.fsencode(name)) > _MAX_PATH_BYTES:
        raise ArchiveError(f"its name has a zero byte or more than {_MAX_PATH_BYTES} bytes")
    return parts


class Directories:
    """The last used directories of a layer, by the name the archive gives them."""

    def __init__(self, root_fd: int) -> None:
        self.root = Directory(root_fd, "")
        self._open: OrderedDict[str, Directory] = OrderedDict()
        #: Set when a directory or link was replaced: what is remembered may be somewhere else now. It
        #: stays open until the entry that did it is done.
        self.stale = False

    def get(self, name: str) -> Directory:
        """By a name as it stands in the archive; missing directories are made. Raises ArchiveError."""
        if found := self._open.get(name):
            self._open.move_to_end(name)
            return found
        parts = clean(name)
        if not parts:
            return self.root
        directory = self._walk(parts)
        self._open[name] = directory
        if len(self._open) > _KEEP_OPEN:
            _, oldest = self._open.popitem(last=False)
            os.close(oldest.fd)
        return directory

    def refresh(self) -> None:
        """Between two entries: forgets what became stale."""
        if not self.stale:
            return
        self.stale = False
        for directory in self._open.values():
            os.close(directory.fd)
        self._open.clear()
        self.root = Directory(self.root.fd, "")

    def _walk(self, parts: list[str]) -> Directory:
        """Opens component by component; the caller owns the descriptor."""
        pending, real, links = deque(parts), list[str](), 0
        fd = os.dup(self.root.fd)
        try:
            while pending:
                part = pending.popleft()
                target = ""
                if part != "..":
                    below = _open_or_make(part, fd)
                    if isinstance(below, int):
                        os.close(fd)
                        fd = below
                        real.append(part)
                        continue
                    target, links = below, links + 1
                    if links > _MAX_LINKS:
                        raise ArchiveError("its parent directory is a chain of too many links")
                    pending.extendleft(p for p in reversed(target.split("/")) if p not in ("", "."))
                    if not target.startswith("/"):
                        continue
                    real = []
                elif real:
                    real.pop()
                else:
                    raise ArchiveError(f'the link "{"/".join(parts)}" on its way leads out of the archive')
                # "..", or a link to the top: start again from there.
                os.close(fd)
                fd = os.dup(self.root.fd)
                pending.extendleft(reversed(real))
                real = []
            return Directory(fd, "/".join(real))
        except BaseException:
            os.close(fd)
            raise


def open_directory(name: str, parent_fd: int) -> int:
    """A descriptor the caller closes; OSError if it is a link or no directory."""
    return os.open(name, _OPEN, dir_fd=parent_fd)


def _open_or_make(name: str, parent_fd: int) -> int | str:
    """A descriptor of the directory, or the text of the link that is in its place."""
    for _ in range(2):
        try:
            return open_directory(name, parent_fd)
        except FileNotFoundError:
            # The archive has no entry for it; Docker makes such directories too.
            os.mkdir(name, 0o755, dir_fd=parent_fd)
        except OSError:
            kind = os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode
            if stat.S_ISLNK(kind):
                return os.readlink(name, dir_fd=parent_fd)
            raise ArchiveError(f'"{name}" on its way is not a directory') from None
    raise ArchiveError(f'the directory "{name}" on its way vanished')
