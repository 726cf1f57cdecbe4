"""The entries of an archive as it streams by, down to its last byte."""

import tarfile
from collections.abc import Callable, Iterator

from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.headers import Header
from wherryd.images.unpack.reader import TarReader


def members(
    reader: TarReader, trailing_bytes: int, at_end: Callable[[], object] = lambda: None
) -> Iterator[tarfile.TarInfo]:
    """Whoever takes an entry reads its contents from reader before the next one. trailing_bytes: how much
    may follow the end marker. at_end: called at that marker, before the rest is read. Raises ArchiveError."""
    archive = tarfile.TarFile(
        fileobj=reader,  # type: ignore[arg-type]
        tarinfo=Header,
        encoding="utf-8",
        errors="surrogateescape",
    )
    member = archive.next()
    while member is not None:
        archive.members = []  # type: ignore[attr-defined]  # tarfile remembers all of them
        yield member
        if archive.offset != reader.tell():
            # Contents that nobody wanted; their end must be there.
            reader.seek(archive.offset - 1)
            if not reader.read(1):
                raise tarfile.ReadError("unexpected end of data")
        member = _common(archive, reader) or archive.next()
    if reader.last_read.strip(b"\0"):
        # tarfile ends without an error at a block that is neither a header nor the end marker.
        raise ArchiveError(f"damaged header at byte {reader.tell() - len(reader.last_read)}")
    at_end()
    reader.drain(trailing_bytes)


def _common(archive: tarfile.TarFile, reader: TarReader) -> tarfile.TarInfo | None:
    """The next entry, if its header is of the common kind; else nothing is read, and `tarfile` takes it."""
    if archive.pax_headers:
        return None  # of the whole archive: they change every entry
    block = reader.peek(tarfile.BLOCKSIZE)
    member = Header.common(block, "utf-8", "surrogateescape")
    if member is None or member.size < 0:
        return None
    reader.take(block)
    archive.offset = reader.tell()
    if member.type == tarfile.REGTYPE:
        archive.offset += member.size + -member.size % tarfile.BLOCKSIZE
    return member
