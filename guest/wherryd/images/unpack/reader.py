"""The archive as it streams by: decompressed, counted, hashed once, never held as a whole."""

import hashlib
import io
import os
from collections.abc import Callable
from typing import Any, Protocol

from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.files import write_all
from wherryd.images.unpack.order import Ratio

CHUNK_BYTES = 1024 * 1024
# A single read by the header parser: a PAX header that claims more is an attack on our memory.
MAX_HEADER_BYTES = 16 * 1024 * 1024
# zstd's own limit without --ultra --long; the decompressor must hold a window of this size.
_MAX_ZSTD_WINDOW = 128 * 1024 * 1024


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Input(io.RawIOBase):
    """A pipe with its first bytes put back."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._head = b""
        #: Bytes that came out of the descriptor.
        self.consumed = 0

    def readable(self) -> bool:
        return True

    def peek(self, size: int) -> bytes:
        while len(self._head) < size and (more := self._from_pipe(CHUNK_BYTES)):
            self._head += more
        return self._head[:size]

    def read(self, size: int = -1) -> bytes:
        """Some bytes, at most size; b"" at the end."""
        if self._head:
            if size < 0 or size >= len(self._head):
                head, self._head = self._head, b""
            else:
                head, self._head = self._head[:size], self._head[size:]
            return head
        return self._from_pipe(CHUNK_BYTES if size < 0 else size)

    def _from_pipe(self, size: int) -> bytes:
        data = os.read(self._fd, size)
        self.consumed += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        """What isal's reader calls."""
        if self._head:
            data = self.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        size = os.readv(self._fd, [buffer])
        self.consumed += size
        return size


class _Decoder:
    """Turns whatever a decompressor raises for damaged input into an ArchiveError, and stops bombs."""

    def __init__(self, decoder: Readable, source: _Input, ratio: Ratio) -> None:
        self._decoder = decoder
        self._source = source
        self._ratio = ratio
        self._produced = 0

    def read(self, size: int) -> bytes:
        try:
            data = self._decoder.read(size)
        except Exception as exc:  # four libraries, each with errors of its own; none touches a disk
            raise ArchiveError(f"the compressed archive is damaged: {exc}") from exc
        self._produced += len(data)
        if self._produced > max(self._ratio.from_bytes, self._ratio.times * self._source.consumed):
            raise ArchiveError(
                f"the archive unpacks to more than {self._ratio.times} times its size, which is the limit "
                f"above {self._ratio.from_bytes} bytes; send it uncompressed if it is what it seems"
            )
        return data


#: First bytes of what is decompressed here.
COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\x00")


def is_compressed(fd: int) -> bool:
    """Of a file, without moving its position."""
    return os.pread(fd, 6, 0).startswith(COMPRESSED)


def open_stream(fd: int, ratio: Ratio | None = None) -> Readable:
    """The uncompressed bytes of fd, compression told by the first bytes. Raises ArchiveError when empty.

    A read raises it for damaged input, and for more than ratio allows.

    Decoders are imported here, before the caller changes its root: only what this archive needs.
    """
    source: Any = _Input(fd)
    ratio = ratio or Ratio()
    head = source.peek(6)
    if not head:
        raise ArchiveError("the archive is empty; send a tar file")
    if head.startswith(b"\x1f\x8b"):
        from isal import igzip

        return _Decoder(igzip.IGzipFile(fileobj=source), source, ratio)  # type: ignore[no-untyped-call]
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW)
        stream = decompressor.stream_reader(source, read_across_frames=True, read_size=CHUNK_BYTES)
        return _Decoder(stream, source, ratio)
    if head.startswith(b"BZh"):
        import bz2

        return _Decoder(bz2.BZ2File(source), source, ratio)
    if head == b"\xfd7zXZ\x00":
        import lzma

        return _Decoder(lzma.LZMAFile(source), source, ratio)
    return source  # type: ignore[no-any-return]


def is_packed(stream: Readable) -> bool:
    """Whether what `open_stream` gave is decompressed on the way."""
    return isinstance(stream, _Decoder)


class TarReader:
    """A forward-only file for `tarfile`, plus `payload` for the contents of entries.

    What `read` returns (headers, padding) goes to `on_raw`; contents do not.
    """

    def __init__(
        self, source: Readable, on_raw: Callable[[bytes], None], max_bytes: int, *, hashed: bool = True
    ) -> None:
        """hashed: whether anybody will ask for the digest."""
        self._source = source
        self._on_raw = on_raw
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256() if hashed else None
        self._chunk = b""
        self._at = 0
        self._position = 0
        self._received = 0
        #: The last bytes that `read` returned: tarfile stops silently at a header it cannot read.
        self.last_read = b""

    def _refill(self) -> bool:
        """Whether there is a byte to read."""
        self._chunk, self._at = self._source.read(CHUNK_BYTES), 0
        if not self._chunk:
            return False
        self._received += len(self._chunk)
        if self._received > self._max_bytes:
            raise ArchiveError(f"the archive is larger than {self._max_bytes} bytes, which is the limit")
        if self._hash is not None:
            self._hash.update(self._chunk)
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if position < self._position:
            raise ArchiveError("the archive's headers point backwards")
        while self._position < position and self.read(min(position - self._position, CHUNK_BYTES)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        """Up to size bytes; fewer only at the end."""
        if size < 0:
            raise ArchiveError("a header with a negative size")
        if size > MAX_HEADER_BYTES:
            raise ArchiveError(f"a header of {size} bytes; more than {MAX_HEADER_BYTES} are not accepted")
        data = self._chunk[self._at : self._at + size]
        self._at += len(data)
        while len(data) < size and self._refill():
            more = self._chunk[: size - len(data)]
            self._at = len(more)
            data += more
        self._position += len(data)
        self._on_raw(data)
        self.last_read = data
        return data

    def peek(self, size: int) -> bytes:
        """What `read` would return, as far as it is here already."""
        return self._chunk[self._at : self._at + size]

    def take(self, peeked: bytes) -> None:
        """`read` of what `peek` has just returned."""
        self._at += len(peeked)
        self._position += len(peeked)
        self._on_raw(peeked)
        self.last_read = peeked

    def copy(self, size: int, fd: int) -> None:
        """`payload` into a file."""
        piece = memoryview(self._chunk)[self._at : self._at + size]
        if len(piece) < size:
            self.payload(size, lambda piece: write_all(fd, piece))
            return
        write_all(fd, piece)
        self._at += size
        self._position += size

    def payload(self, size: int, write: Callable[[memoryview], object]) -> None:
        """Hands size bytes of an entry's contents to `write`. Raises ArchiveError when they are not there."""
        left = size
        while left:
            if self._at == len(self._chunk) and not self._refill():
                raise ArchiveError(f"the archive ends {left} bytes before the end of this entry")
            piece = memoryview(self._chunk)[self._at : self._at + left]
            write(piece)
            self._at += len(piece)
            left -= len(piece)
        self._position += size

    def drain(self, max_bytes: int) -> None:
        """Reads what follows the end marker. Raises ArchiveError if it is more than padding can be."""
        start = self._position
        while self.read(CHUNK_BYTES):
            if self._position - start > max_bytes:
                raise ArchiveError(f"more than {max_bytes} bytes follow the end of the archive")

    def digest(self) -> str:
        """Of everything read so far; after `drain`, the diff id. Source: OCI image-spec, "Layer DiffID"."""
        assert self._hash is not None, "a reader made with hashed=False has none"  # noqa: S101
        return "sha256:" + self._hash.hexdigest()
