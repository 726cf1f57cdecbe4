"""Contents of files of contexts, by digest, so that a client sends each once. A cache: nothing depends on it.

<root>/<first two digits>/<digest>   a file; its access time is when a build used it last
<root>/earlier/<digest>              of an earlier run of the machine: read again before they are believed
<root>/incoming/                     half-received ones
<root>/boot                          the run of the machine that wrote them

A context's file is a hard link of its content where mode and time agree. Contents are not synced: those
that a power cut may have torn are found by their digest.
"""
# Files are made relative to a descriptor, for which pathlib has no form; and there are many.
# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH116, PTH123

import errno
import hashlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

from wherryd.errors import InvalidParameter, SystemFault
from wherrywire.contextsync import Entry

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_COPY_BYTES = 128 * 1024 * 1024
#: How exactly it is known when a build used a content last: a call saved for each file of most builds.
_USED_NS = 600 * 1_000_000_000


class BlobStore:
    """`open` first. Its methods do I/O; all but `receive` are for threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._earlier = root / "earlier"
        #: A content's mode and time are set and linked in one go.
        self._lock = threading.Lock()
        #: Digest -> bytes, of what is known to be there: contexts have thousands of files, of which a build
        #: changes one. What is found missing after all is forgotten (`link`).
        self._present: dict[str, int] = {}

    def open(self) -> None:
        self._earlier.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._root / "incoming", ignore_errors=True)
        (self._root / "incoming").mkdir()
        mark, boot = self._root / "boot", _BOOT_ID.read_text()
        if not mark.exists() or mark.read_text() != boot:
            for folder in self._folders():
                for path in () if folder == self._earlier else folder.iterdir():
                    path.rename(self._earlier / path.name)
            mark.write_text(boot)

    def has(self, digest: str, size: int) -> bool:
        if self._present.get(digest) == size or self._found(digest, size):
            self._present[digest] = size
            return True
        return False

    def _found(self, digest: str, size: int) -> bool:
        path = self._path(digest)
        try:
            return path.stat().st_size == size
        except FileNotFoundError:
            pass
        earlier = self._earlier / path.name
        try:
            with earlier.open("rb") as file:
                whole = hashlib.file_digest(file, "sha256").hexdigest() == path.name
        except FileNotFoundError:
            return False
        if whole:
            path.parent.mkdir(exist_ok=True)
            earlier.rename(path)
        else:
            earlier.unlink()
        return whole

    async def receive(self, wanted: Sequence[tuple[str, int]], stream: AsyncIterator[bytes]) -> None:
        """Contents, one after the other. wanted: (digest, bytes). Raises InvalidParameter when one is not
        what its digest says: nothing is ever kept under another's name."""
        incoming = f"{self._root}/incoming/{secrets.token_hex(8)}"
        data = b""
        try:
            for digest, size in wanted:
                hasher, left = hashlib.sha256(), size
                with open(incoming, "wb") as file:
                    while left:
                        data = data or await _next(stream)
                        part, data = data[:left], data[left:]
                        hasher.update(part)
                        file.write(part)
                        left -= len(part)
                if f"sha256:{hasher.hexdigest()}" != digest:
                    raise InvalidParameter(
                        f"context: {digest} is not the digest of what was sent (hint: a file changed "
                        "meanwhile; build again)"
                    )
                self._keep(incoming, digest)
        except OSError as exc:
            raise SystemFault(
                f"cannot keep the build context: {exc.strerror}; free space and build again"
            ) from exc
        finally:
            with suppress(FileNotFoundError):
                os.unlink(incoming)
        if data or await anext(stream, b""):
            raise InvalidParameter("context: more was sent than is missing; build again")

    def _keep(self, incoming: str, digest: str) -> None:
        path = self._name(digest)
        try:
            os.rename(incoming, path)
        except FileNotFoundError:
            os.mkdir(path.rpartition("/")[0], 0o777)
            os.rename(incoming, path)

    def link(self, entry: Entry, folder: int, name: str, *, copied: bool) -> tuple[int, int]:
        """The content as a file in folder, a descriptor; its device and inode. copied: an inode of its own.

        Raises FileNotFoundError when it is gone or has another length."""
        # Text, and one look at most files: this runs for each file of each build.
        path = self._name(entry.value)
        now = time.time_ns()
        try:
            with self._lock:
                status = os.stat(path)
                if status.st_size != entry.size:
                    raise FileNotFoundError(errno.ENOENT, "not as long as it was", path)
                same = status.st_mode & 0o7777 == entry.mode and status.st_mtime_ns == entry.mtime_ns
                if not copied and (same or status.st_nlink == 1):
                    if not same:
                        os.chmod(path, entry.mode)
                    if not same or not 0 <= now - status.st_atime_ns < _USED_NS:
                        os.utime(path, ns=(now, entry.mtime_ns))
                    os.link(path, name, dst_dir_fd=folder)
                    return status.st_dev, status.st_ino
            _copy(Path(path), entry, folder, name)
        except FileNotFoundError:
            self._present.clear()
            raise
        made = os.lstat(name, dir_fd=folder)
        return made.st_dev, made.st_ino

    def usage(self) -> tuple[int, int]:
        """(bytes on the disk, when a build used one of them last, in nanoseconds, 0 without any)."""
        found = self._survey()
        return sum(size for _, size, _ in found), max((used for used, _, _ in found), default=0)

    def shrink(self, most_bytes: int, keep: set[str]) -> int:
        """Removes the longest unused until most_bytes are left; bytes freed. keep: leased digests."""
        found = self._survey()
        left, freed = sum(size for _, size, _ in found), 0
        if left <= most_bytes:
            return 0
        for _, size, path in sorted(found):
            if left <= most_bytes:
                break
            digest = f"sha256:{path.rpartition('/')[2]}"
            if digest not in keep:
                self._present.pop(digest, None)
                with suppress(FileNotFoundError):
                    os.unlink(path)
                left, freed = left - size, freed + size
        return freed

    def _survey(self) -> list[tuple[int, int, str]]:
        """(access time in nanoseconds, bytes on the disk, path) of all, also of the earlier ones."""
        found = []
        for folder in self._folders():
            with os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_atime_ns, status.st_blocks * 512, entry.path))
        return found

    def _folders(self) -> list[Path]:
        if not self._root.exists():
            return []
        return [each for each in self._root.iterdir() if len(each.name) == 2 or each == self._earlier]

    def _path(self, digest: str) -> Path:
        return Path(self._name(digest))

    def _name(self, digest: str) -> str:
        hexadecimal = digest.removeprefix("sha256:")
        return f"{self._root}/{hexadecimal[:2]}/{hexadecimal}"


async def _next(stream: AsyncIterator[bytes]) -> bytes:
    data = await anext(stream, b"")
    if not data:
        raise InvalidParameter("context: the upload ended early; build again")
    return data


def _copy(path: Path, entry: Entry, folder: int, name: str) -> None:
    """For a file with this content while another has its mode or time."""
    with path.open("rb") as source:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            while os.copy_file_range(source.fileno(), fd, _COPY_BYTES):
                pass
            os.fchmod(fd, entry.mode)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)
