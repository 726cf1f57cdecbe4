"""A build context as one tar stream, made while it is read: for engines that cannot say what they lack.

Owners are left out (0:0): a COPY never takes them over, and the same folder is then the same context on every
machine. Apart from buildcontext.py, since most builds need no archive, and its library takes long to load.
"""

import os
import stat
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wherry.engine.buildcontext import BuildContext, Found, permissions, target_of
from wherry.errors import UsageProblem

if TYPE_CHECKING:
    from wherry.engine.client import Readable

_CHUNK_BYTES = 256 * 1024
#: zlib's window size, in bits, with 16 for gzip's header.
_GZIP = 16 + 15


def chunks(context: BuildContext) -> Iterator[bytes]:
    """The archive. Raises UsageProblem for a file that cannot be read."""
    for name, data in context.extra.items():
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o600
        yield _header(info) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
    links: dict[tuple[int, int], str] = {}
    for entry in context.entries:
        if entry.name not in context.extra:
            yield from _entry(entry, links)
    yield bytes(2 * tarfile.BLOCKSIZE)


def compressed(source: "Readable") -> Iterator[bytes]:
    """What source gives, as one gzip stream."""
    import zlib

    packer = zlib.compressobj(wbits=_GZIP)
    while data := source.read(_CHUNK_BYTES):
        yield packer.compress(data)
    yield packer.flush()


def only_dockerfile(data: bytes) -> bytes:
    """The archive of a context that has nothing but a Dockerfile."""
    context = BuildContext(dockerfile="Dockerfile", size_bytes=0, entries=(), extra={"Dockerfile": data})
    return b"".join(chunks(context))


def is_archive(head: bytes) -> bool:
    """By the first 512 bytes: a tar, or something compressed that should be one."""
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")):
        return True
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _entry(entry: Found, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    mode = entry.status.st_mode
    info = tarfile.TarInfo(entry.name)
    info.mtime = int(entry.status.st_mtime)
    info.mode = permissions(mode)
    if stat.S_ISDIR(mode):
        info.type = tarfile.DIRTYPE
        yield _header(info)
    elif stat.S_ISLNK(mode):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, target_of(entry.path), 0o777
        yield _header(info)
    elif stat.S_ISFIFO(mode):
        info.type = tarfile.FIFOTYPE
        yield _header(info)
    elif stat.S_ISREG(mode):
        key = (entry.status.st_dev, entry.status.st_ino)
        if entry.status.st_nlink > 1 and entry.status.st_ino and key in links:
            info.type, info.linkname = tarfile.LNKTYPE, links[key]
            yield _header(info)
            return
        links[key] = entry.name
        yield from _file(entry, info)


def _file(entry: Found, info: tarfile.TarInfo) -> Iterator[bytes]:
    """As many bytes as the header says, also if the file grows meanwhile."""
    try:
        with entry.path.open("rb") as file:
            info.size = left = os.fstat(file.fileno()).st_size
            yield _header(info)
            while left:
                data = file.read(min(left, _CHUNK_BYTES))
                if not data:
                    raise UsageProblem(f"{entry.path} became shorter while it was sent; build again")
                left -= len(data)
                yield data
    except OSError as exc:
        raise UsageProblem(
            f"unable to prepare context: cannot read {entry.path}: {exc.strerror}; "
            "correct its permissions, or name it in .dockerignore"
        ) from exc
    yield bytes(-info.size % tarfile.BLOCKSIZE)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
