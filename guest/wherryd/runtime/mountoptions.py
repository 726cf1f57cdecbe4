"""mount(8)'s option words -> attributes, propagation and file system data. Pure.

Source: mount(8), mount_setattr(2), runtime-spec config.md "Linux mount options".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from wherryd.errors import InvalidParameter, NotSupported
from wherryd.sys import mounts as m

#: word -> (attributes to set, attributes to clear). With an "r" before it, also for mounts below.
_ATTRIBUTES: Final = {
    "ro": (m.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, m.MOUNT_ATTR_RDONLY),
    "nosuid": (m.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, m.MOUNT_ATTR_NOSUID),
    "nodev": (m.MOUNT_ATTR_NODEV, 0),
    "dev": (0, m.MOUNT_ATTR_NODEV),
    "noexec": (m.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, m.MOUNT_ATTR_NOEXEC),
    "nodiratime": (m.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, m.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (m.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, m.MOUNT_ATTR_NOSYMFOLLOW),
    # The access time modes are one field: it is cleared, then set.
    "relatime": (m.MOUNT_ATTR_RELATIME, m.MOUNT_ATTR__ATIME),
    "norelatime": (0, 0),
    "noatime": (m.MOUNT_ATTR_NOATIME, m.MOUNT_ATTR__ATIME),
    "atime": (m.MOUNT_ATTR_RELATIME, m.MOUNT_ATTR__ATIME),
    "strictatime": (m.MOUNT_ATTR_STRICTATIME, m.MOUNT_ATTR__ATIME),
    "nostrictatime": (m.MOUNT_ATTR_RELATIME, m.MOUNT_ATTR__ATIME),
}
_PROPAGATION: Final = {
    "private": m.MS_PRIVATE,
    "slave": m.MS_SLAVE,
    "shared": m.MS_SHARED,
    "unbindable": m.MS_UNBINDABLE,
}
#: Of the whole file system, not of one mount of it.
_SUPERBLOCK_FLAGS: Final = ("sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand", "silent")
_IGNORED: Final = ("defaults", "loud", "iversion", "noiversion", "acl", "noacl", "nouser", "_netdev")
#: A fresh container has nothing to mount again.
_REFUSED: Final = ("remount",)

#: All words this runtime knows itself, for `features`.
KNOWN: Final = tuple(
    sorted(
        {
            "bind",
            "rbind",
            "idmap",
            "ridmap",
            "tmpcopyup",
            "defaults",
            *_ATTRIBUTES,
            *(f"r{word}" for word in _ATTRIBUTES),
        }
        | {*_PROPAGATION, *(f"r{word}" for word in _PROPAGATION), *_SUPERBLOCK_FLAGS}
    )
)


@dataclass(frozen=True, slots=True)
class Attributes:
    """MOUNT_ATTR_* to set and to clear."""

    set_: int = 0
    clear: int = 0

    def with_(self, change: tuple[int, int]) -> "Attributes":
        set_, clear = change
        return Attributes((self.set_ & ~clear) | set_, (self.clear & ~set_) | clear)

    def __bool__(self) -> bool:
        return bool(self.set_ or self.clear)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    """attributes: of the mount itself; recursive_attributes: of it and all below (rro, ...).

    recursive_idmap: an id-mapping, if the mount has one, is for the mounts below too.
    copy_up: a tmpfs begins with what it covers.
    propagation: (MS_* type, recursive) in the order given. data: (name, value or None) for the file system.
    """

    attributes: Attributes
    recursive_attributes: Attributes
    propagation: tuple[tuple[int, bool], ...]
    bind: bool
    recursive_bind: bool
    recursive_idmap: bool
    copy_up: bool
    data: tuple[tuple[str, str | None], ...]

    def value(self, name: str) -> str | None:
        return dict(self.data).get(name)


def parse(options: Iterable[str]) -> MountOptions:
    """Unknown words go to the file system, which judges them. Raises NotSupported, InvalidParameter."""
    own, recursive = Attributes(), Attributes()
    propagation: list[tuple[int, bool]] = []
    data: list[tuple[str, str | None]] = []
    bind = recursive_bind = recursive_idmap = copy_up = False
    for word in options:
        tail = word[1:] if word.startswith("r") else ""
        if word in ("bind", "rbind"):
            bind, recursive_bind = True, recursive_bind or word == "rbind"
        elif word in ("idmap", "ridmap"):
            recursive_idmap = recursive_idmap or word == "ridmap"
        elif word == "tmpcopyup":
            copy_up = True
        elif word in _ATTRIBUTES:
            own = own.with_(_ATTRIBUTES[word])
        elif word in _PROPAGATION:
            propagation.append((_PROPAGATION[word], False))
        elif tail in _PROPAGATION:
            propagation.append((_PROPAGATION[tail], True))
        elif tail in _ATTRIBUTES:
            recursive = recursive.with_(_ATTRIBUTES[tail])
        elif word in _REFUSED:
            raise NotSupported(f"mount option {word!r} is not supported by this runtime: leave it out")
        elif word and word not in _IGNORED:
            data.append(_data(word))
    return MountOptions(
        attributes=own,
        recursive_attributes=recursive,
        propagation=tuple(propagation),
        bind=bind,
        recursive_bind=recursive_bind,
        recursive_idmap=recursive_idmap,
        copy_up=copy_up,
        data=tuple(data),
    )


def _data(word: str) -> tuple[str, str | None]:
    name, equals, value = word.partition("=")
    if word in _SUPERBLOCK_FLAGS or not equals:
        return word, None
    if not name:
        raise InvalidParameter(f"mount option {word!r} has no name before the equals sign")
    return name, value
