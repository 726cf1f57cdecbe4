"""How to make a layer's archive again, byte for byte, from the layer's directory.

Docker calls the idea tar-split. An archive is its headers and padding, which are written down here, and
its files' contents, which lie unpacked in the layer's directory. So an imported image is stored once and
not twice, and `save` needs no trust: the digest of what it makes must be the layer's diff id.

A gzip stream of records, numbers big-endian:

    "wherry recipe 1\\n"
    R u32 length, bytes                              these bytes
    P u64 offset, u64 size, u16 length, path         so much of that file, at that offset
    X u64 number, u64 size, bytes                    contents of P record `number` (from 0), whose file
                                                     a later entry of the same archive replaced
    E                                                the end; without it the recipe is incomplete
"""

import io
import os
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from isal import igzip, isal_zlib

from wherryd.images.unpack.files import write_all

MAGIC = b"wherry recipe 1\n"
_RAW = struct.Struct(">cI")
_FILE = struct.Struct(">cQQH")
_KEPT = struct.Struct(">cQQ")
_FLUSH_BYTES = 256 * 1024
_CHUNK_BYTES = 1024 * 1024


class RecipeWriter:
    """Writes to a descriptor the caller owns. Not complete before `finish`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # Level 1: headers are mostly zeros, and time on a slow CPU is worth more than the last percent.
        self._compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
        self._out = bytearray(MAGIC)
        self._raw = bytearray()
        self._files = 0

    def raw(self, data: bytes) -> None:
        self._raw += data
        if len(self._raw) > _FLUSH_BYTES:
            self._close_raw()

    def _close_raw(self) -> None:
        if self._raw:
            self._out += _RAW.pack(b"R", len(self._raw))
            self._out += self._raw
            self._raw.clear()
        if len(self._out) > _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        write_all(self._fd, self._compressor.compress(bytes(self._out)))
        self._out.clear()

    def file(self, path: str, offset: int, size: int) -> int:
        """Contents that stay in a file. Returns the record's number."""
        self._close_raw()
        name = os.fsencode(path)
        self._out += _FILE.pack(b"P", offset, size, len(name)) + name
        self._files += 1
        return self._files - 1

    def keep(self, number: int, size: int, read: Callable[[int], bytes]) -> None:
        """Contents of an earlier file record that are about to vanish."""
        self._close_raw()
        self._out += _KEPT.pack(b"X", number, size)
        while size:
            data = read(min(size, _CHUNK_BYTES))
            if not data:
                raise EOFError("a file of the layer is shorter than its entry")
            self._out += data
            size -= len(data)
            self._flush()

    def finish(self) -> None:
        self._close_raw()
        self._out += b"E"
        self._flush()
        write_all(self._fd, self._compressor.flush())


class DamagedRecipe(Exception):  # noqa: N818 - named for what happened
    """The recipe is not complete or not one of ours."""


def replay(recipe: BinaryIO, open_file: Callable[[bytes], int]) -> Iterator[bytes]:
    """The archive's bytes, in pieces. open_file: a descriptor for a path of the layer; closed here.

    Raises DamagedRecipe, and what open_file raises.
    """
    recipe.seek(0)
    kept = _kept_contents(recipe)
    recipe.seek(0)
    number = 0
    with _uncompressed(recipe) as stream:
        for kind, position, size, data in _records(stream):
            if kind == b"R":
                yield data
            elif kind == b"P":
                if number in kept:
                    yield from kept[number]
                else:
                    yield from _contents(open_file(data), position, size)
                number += 1


def _uncompressed(recipe: BinaryIO) -> io.BufferedIOBase:
    return igzip.IGzipFile(fileobj=recipe)  # type: ignore[no-untyped-call]


def _kept_contents(recipe: BinaryIO) -> dict[int, list[bytes]]:
    # Held in memory: duplicate entries are rare and small in real archives.
    kept: dict[int, list[bytes]] = {}
    with _uncompressed(recipe) as stream:
        for kind, number, _, data in _records(stream):
            if kind == b"X":
                kept.setdefault(number, []).append(data)
    return kept


def _records(stream: io.BufferedIOBase) -> Iterator[tuple[bytes, int, int, bytes]]:
    """(kind, offset or number, size, bytes or path). Raises DamagedRecipe."""
    if _exactly(stream, len(MAGIC)) != MAGIC:
        raise DamagedRecipe("this is no layer recipe of this version")
    while (kind := _exactly(stream, 1)) != b"E":
        if kind == b"R":
            (length,) = struct.unpack(">I", _exactly(stream, 4))
            yield kind, 0, length, _exactly(stream, length)
        elif kind == b"P":
            offset, size, length = struct.unpack(">QQH", _exactly(stream, 18))
            yield kind, offset, size, _exactly(stream, length)
        elif kind == b"X":
            number, size = struct.unpack(">QQ", _exactly(stream, 16))
            for start in range(0, size, _CHUNK_BYTES):
                yield kind, number, size, _exactly(stream, min(_CHUNK_BYTES, size - start))
        else:
            raise DamagedRecipe(f"unknown record {kind!r}")


def _exactly(stream: io.BufferedIOBase, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise DamagedRecipe("the recipe ends in the middle of a record")
    return data


def _contents(fd: int, offset: int, size: int) -> Iterator[bytes]:
    try:
        end = offset + size
        while offset < end:
            data = os.pread(fd, min(_CHUNK_BYTES, end - offset), offset)
            if not data:
                raise DamagedRecipe("a file of the layer is shorter than when it was unpacked")
            yield data
            offset += len(data)
    finally:
        os.close(fd)
