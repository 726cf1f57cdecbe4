"""The entries of an archive as it streams by, down to its last byte."""

import tarfile
from collections.abc import Iterator

from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.headers import Header
from wherryd.images.unpack.reader import TarReader


def members(reader: TarReader, trailing_bytes: int) -> Iterator[tarfile.TarInfo]:
    """Whoever takes an entry reads its contents from reader before the next one. trailing_bytes: how much
    may follow the end marker. Raises ArchiveError."""
    archive = tarfile.TarFile(
        fileobj=reader,  # type: ignore[arg-type]
        tarinfo=Header,
        encoding="utf-8",
        errors="surrogateescape",
    )
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # tarfile remembers all of them
        yield member
    if reader.last_read.strip(b"\0"):
        # tarfile ends without an error at a block that is neither a header nor the end marker.
        raise ArchiveError(f"damaged header at byte {reader.tell() - len(reader.last_read)}")
    reader.drain(trailing_bytes)
