"""Which paths a layer changes. Source: OCI image-spec, layer.md, "Whiteouts"."""

import posixpath
import tarfile
from collections.abc import Iterator
from typing import IO, cast

_PREFIX = ".wh."
_OPAQUE = ".wh..wh..opq"


def paths(archive: Iterator[bytes]) -> set[str]:
    """Without a leading slash; of a whiteout the path it takes away, of an opaque folder the folder."""
    found: set[str] = set()
    with tarfile.open(fileobj=cast("IO[bytes]", _Reader(archive)), mode="r|") as members:
        for member in members:
            folder, name = posixpath.split(posixpath.normpath(member.name).lstrip("/"))
            if name == _OPAQUE:
                name = ""
            path = posixpath.join(folder, name.removeprefix(_PREFIX)).rstrip("/")
            if path not in ("", "."):
                found.add(path)
    # To its end: only then it is known to be whole.
    for _ in archive:
        pass
    return found


class _Reader:
    """What tarfile needs of a file."""

    def __init__(self, archive: Iterator[bytes]) -> None:
        self._archive = archive
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size and (more := next(self._archive, b"")):
            self._rest += more
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
