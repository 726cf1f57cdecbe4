"""A local file or folder -> a tar archive, made while it is read."""

import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from wherry.errors import UsageProblem

_CHUNK_BYTES = 256 * 1024


def pack(source: Path, name: str, *, owners: bool) -> Iterator[bytes]:
    """name: of the source in the archive; `.` for a folder's contents. owners: keep uid and gid.

    Links are kept as they are; sockets are left out, nobody could use them. Raises UsageProblem for what
    cannot be read.
    """
    links: dict[tuple[int, int], str] = {}
    try:
        for path, inside in _walk(source, name):
            yield from _entry(path, inside, links, owners)
    except OSError as exc:
        raise UsageProblem(f"cannot read {exc.filename or source}: {exc.strerror}") from exc
    yield bytes(2 * tarfile.BLOCKSIZE)


def _walk(source: Path, name: str) -> Iterator[tuple[Path, str]]:
    """The source first, then what is below it, sorted."""
    yield source, name
    if source.is_symlink() or not source.is_dir():
        return
    with os.scandir(source) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        yield from _walk(Path(entry.path), f"{name}/{entry.name}")


def _entry(path: Path, name: str, links: dict[tuple[int, int], str], owners: bool) -> Iterator[bytes]:
    status = path.lstat()
    mode = status.st_mode
    info = tarfile.TarInfo(name)
    info.mtime = int(status.st_mtime)
    # Windows keeps no permissions: everything can be executed, as docker has it.
    info.mode = 0o755 if sys.platform == "win32" else stat.S_IMODE(mode)
    if owners:
        info.uid, info.gid = status.st_uid, status.st_gid
    key = (status.st_dev, status.st_ino)
    if stat.S_ISDIR(mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(mode):
        info.type, info.mode = tarfile.SYMTYPE, 0o777
        target = str(path.readlink())
        info.linkname = target.replace("\\", "/") if sys.platform == "win32" else target
    elif stat.S_ISFIFO(mode):
        info.type = tarfile.FIFOTYPE
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        info.type = tarfile.CHRTYPE if stat.S_ISCHR(mode) else tarfile.BLKTYPE
        _number_device(info, status)
    elif status.st_nlink > 1 and status.st_ino and key in links:
        info.type, info.linkname = tarfile.LNKTYPE, links[key]
    elif stat.S_ISREG(mode):
        links[key] = name
        yield from _file(path, info)
        return
    else:
        return
    yield _header(info)


def _number_device(info: tarfile.TarInfo, status: os.stat_result) -> None:
    if sys.platform != "win32":
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)


def _file(path: Path, info: tarfile.TarInfo) -> Iterator[bytes]:
    """As many bytes as the header says, also if the file grows meanwhile."""
    with path.open("rb") as file:
        info.size = left = os.fstat(file.fileno()).st_size
        yield _header(info)
        while left:
            data = file.read(min(left, _CHUNK_BYTES))
            if not data:
                raise UsageProblem(f"{path} became shorter while it was copied; copy again")
            left -= len(data)
            yield data
    yield bytes(-info.size % tarfile.BLOCKSIZE)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
