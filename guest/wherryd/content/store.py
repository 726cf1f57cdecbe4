"""Blobs by digest, in files that never change.

    <root>/blobs/sha256/<64 hex>    complete and verified; read-only
    <root>/ingest/<random>          being written; swept when the store opens, since a writer does not
                                    outlive its process
    <root>/partial/<64 hex>         the beginning of a blob that somebody fetches or will go on to fetch

A blob is written to ingest/, hashed while it is written, fsynced, renamed, and its folder is fsynced: a
name below blobs/ always has all its bytes, also after a power cut. Who still needs a blob is not known
here: the caller sweeps with the set of digests it refers to.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from wherryd.content import digest as digests
from wherryd.content.digest import check, encoded, is_digest
from wherryd.content.partial import Partial
from wherryd.errors import InvalidParameter, NotFound
from wherryd.sys import durable

if TYPE_CHECKING:
    from hashlib import _Hash


class ContentStore:
    """One writer process; any thread."""

    def __init__(self, root: Path) -> None:
        """Makes the folders and removes what an earlier process left half-written."""
        self._blobs = root / "blobs" / "sha256"
        self._ingest = root / "ingest"
        self._partial = root / "partial"
        self._partials_in_use: set[str] = set()
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._partial.mkdir(exist_ok=True)
        root.chmod(0o700)
        shutil.rmtree(self._ingest, ignore_errors=True)
        self._ingest.mkdir()

    def path(self, digest: str) -> Path:
        """Where the blob is or would be. Raises InvalidParameter for what is no digest."""
        return self._blobs / encoded(digest)

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def open(self, digest: str) -> BinaryIO:
        """Raises NotFound."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(f"no content with digest {digest}; import or load the image again") from None

    def read(self, digest: str, max_bytes: int = 4 * 1024 * 1024) -> bytes:
        """A small blob whole. Raises NotFound, InvalidParameter when it is larger than max_bytes."""
        with self.open(digest) as blob:
            data = blob.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise InvalidParameter(f"{digest} has more than {max_bytes} bytes; is it really a JSON document?")
        return data

    def size(self, digest: str) -> int:
        """Raises NotFound."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"no content with digest {digest}; import or load the image again") from None

    def writer(self) -> "BlobWriter":
        """Use with `with`: left without commit, nothing stays."""
        return BlobWriter(self._ingest, self._blobs)

    def add(self, data: bytes) -> str:
        """Stores a small blob and returns its digest."""
        with self.writer() as writer:
            writer.put(data)
            return writer.commit(hash_again=True)

    def scratch(self) -> BinaryIO:
        """A nameless file on the store's disk, for data that must be read twice; gone when closed."""
        return tempfile.TemporaryFile(dir=self._ingest)

    def partial(self, digest: str) -> Partial | None:
        """What an earlier attempt has of the blob, or a new one; None while somebody else has it."""
        if digest in self._partials_in_use:
            return None
        self._partials_in_use.add(digest)
        return Partial(self._partial / encoded(digest), lambda: self._partials_in_use.discard(digest))

    def sweep_partials(self, keep: set[str]) -> int:
        """Removes those that are neither in `keep` nor in use; bytes of what went."""
        freed = 0
        for path in list(self._partial.iterdir()):
            digest = "sha256:" + path.name
            if digest not in keep and digest not in self._partials_in_use:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def remove(self, digest: str) -> None:
        """Idempotent."""
        self.path(digest).unlink(missing_ok=True)

    def walk(self) -> Iterator[str]:
        for entry in sorted(self._blobs.iterdir()):
            if is_digest("sha256:" + entry.name):
                yield "sha256:" + entry.name

    def sweep(self, keep: set[str]) -> list[str]:
        """Removes every blob that is not in `keep`; returns what went."""
        gone = [digest for digest in self.walk() if digest not in keep]
        for digest in gone:
            self.remove(digest)
        return gone


class BlobWriter:
    """Owns the file in ingest/ until commit or close; closing twice is fine."""

    def __init__(self, ingest: Path, blobs: Path) -> None:
        self._blobs = blobs
        descriptor, name = tempfile.mkstemp(dir=ingest)
        self._path = Path(name)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        #: Of what was written through `write`.
        self._hash: _Hash | None = None

    def write(self, data: bytes) -> None:
        """All of data, or OSError."""
        if self._hash is None:
            self._hash = hashlib.sha256()
        self._hash.update(data)
        self.put(data)

    def put(self, data: bytes) -> None:
        """Likewise, but hashed by commit(hash_again=True)."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]

    def fileno(self) -> int:
        """For a helper process that writes in our place; commit(hash_again=True) afterwards."""
        return self._file.fileno()

    def commit(self, expected: str = "", *, hash_again: bool = False) -> str:
        """Makes the blob visible under its digest. Raises InvalidParameter if it is not the expected one."""
        if hash_again:
            with self._path.open("rb") as written:
                digest = digests.of_file(written)
        else:
            digest = f"sha256:{self._hash.hexdigest()}" if self._hash else digests.of(b"")
        if expected and digest != check(expected):
            raise InvalidParameter(f"content has digest {digest}, expected {expected}; fetch it again")
        os.fchmod(self._file.fileno(), 0o400)
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.rename(self._blobs / encoded(digest))
        durable.sync_folder(self._blobs)
        return digest

    def close(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
