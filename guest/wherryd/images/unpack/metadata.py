"""Owner, times and attributes of an entry, as numbers the kernel takes."""

import os
import tarfile
from collections.abc import Iterator

from wherryd.images.unpack.errors import ArchiveError

_XATTR = "SCHILY.xattr."
# 2**32 - 1 means "leave as it is" to chown(2).
_MAX_ID = 2**32 - 2
_MAX_SECONDS = 2**33


def owner(member: tarfile.TarInfo) -> tuple[int, int]:
    """(uid, gid). Raises ArchiveError when out of range."""
    uid, gid = member.uid, member.gid
    if not (0 <= uid <= _MAX_ID and 0 <= gid <= _MAX_ID):
        raise ArchiveError(f"owner {uid}:{gid} is out of range")
    return uid, gid


def modified_ns(member: tarfile.TarInfo) -> int:
    """Nanoseconds since the epoch. PAX times are decimal text; a float would lose their last digits."""
    text = member.pax_headers.get("mtime")
    if text is None:
        return _bounded(int(member.mtime)) * 1_000_000_000
    whole, _, fraction = text.partition(".")
    try:
        seconds, nanoseconds = int(whole or "0"), int((fraction + "0" * 9)[:9])
    except ValueError:
        raise ArchiveError(f'"{text[:40]}" is no time') from None
    if text.startswith("-"):
        nanoseconds = -nanoseconds
    return _bounded(seconds) * 1_000_000_000 + nanoseconds


def _bounded(seconds: int) -> int:
    return max(-_MAX_SECONDS, min(seconds, _MAX_SECONDS))


def wanted_xattrs(member: tarfile.TarInfo) -> list[tuple[str, bytes]]:
    """The extended attributes that an image may bring.

    security.capability (file capabilities) and user.*; not trusted.*, with which a layer could steer
    overlayfs, and not the labels of another machine's security module.
    """
    return list(_xattrs(member)) if member.pax_headers else []


def _xattrs(member: tarfile.TarInfo) -> Iterator[tuple[str, bytes]]:
    for key, value in member.pax_headers.items():
        name = key.removeprefix(_XATTR)
        if name == key:
            continue
        allowed = name == "security.capability" or (
            name.startswith("user.") and not name.startswith("user.overlay.")
        )
        if allowed:
            yield name, os.fsencode(value)
