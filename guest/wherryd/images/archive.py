"""A saved archive on disk: where its members are, and what images it holds.

Two layouts are read: Docker's `manifest.json`, and the OCI image layout (`oci-layout`, `index.json`).
Archives of docker 25 and later hold both and agree. Member names are keys in a map here and never paths.
"""

import os
import posixpath
import tarfile
from typing import Any, BinaryIO

from wherryd.errors import InvalidParameter
from wherryd.images import platforms
from wherryd.images.image import Platform
from wherryd.images.layout import Layout, SavedImage, json_of

MAX_MEMBERS = 100_000
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_MAX_LINKS = 8


class SavedArchive:
    """Random access to an uncompressed archive. The file stays the caller's."""

    def __init__(self, file: BinaryIO) -> None:
        """Reads all headers. Raises InvalidParameter when it is no archive of images."""
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
                for number, member in enumerate(archive):
                    if number >= MAX_MEMBERS:
                        raise InvalidParameter(f"the archive has more than {MAX_MEMBERS} entries")
                    self._add(member)
        except tarfile.TarError as exc:
            raise InvalidParameter(
                f"not an archive of images: {exc}; use `import` for a root file system"
            ) from exc

    def _add(self, member: tarfile.TarInfo) -> None:
        name = posixpath.normpath(member.name.lstrip("/"))
        if member.isreg() and member.sparse is None:
            self._places[name] = (member.offset_data, member.size)
        elif member.issym():
            # Old archives name a layer that two images share by a link.
            self._links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        elif member.islnk():
            self._links[name] = posixpath.normpath(member.linkname.lstrip("/"))

    def size(self, name: str) -> int:
        return self._place(name)[1]

    def has(self, name: str) -> bool:
        return name in self._places or name in self._links

    def _place(self, name: str) -> tuple[int, int]:
        found = name = posixpath.normpath(name)
        for _ in range(_MAX_LINKS):
            if found in self._places:
                return self._places[found]
            found = self._links.get(found, "")
        raise InvalidParameter(f'the archive has no file "{name}"; it is incomplete, save it again')

    def piece(self, name: str, offset: int) -> bytes:
        """Some bytes of a member from offset on, b"" at its end; from any thread. Raises InvalidParameter."""
        start, size = self._place(name)
        wanted = min(size - offset, _CHUNK_BYTES)
        data = os.pread(self._file.fileno(), wanted, start + offset) if wanted > 0 else b""
        if wanted > 0 and not data:
            raise InvalidParameter(f'the archive ends in the middle of "{name}"; get it again')
        return data

    def read(self, name: str) -> bytes:
        """A whole document. Raises InvalidParameter when it is larger than a document can be."""
        if self.size(name) > MAX_DOCUMENT_BYTES:
            raise InvalidParameter(f'"{name}" has more than {MAX_DOCUMENT_BYTES} bytes')
        data = b""
        while more := self.piece(name, len(data)):
            data += more
        return data

    def images(self, wanted: Platform | None = None, *, explicit: bool = False) -> list[SavedImage]:
        """Of an index all images that are in the archive. wanted: its images of that platform alone, if
        explicit. Raises InvalidParameter for a broken archive, NotFound for an absent platform.
        """
        layout = Layout(self, wanted or platforms.host(), explicit)
        # Docker's list has no platforms: an archive with both is asked by the one that has.
        if self.has("manifest.json") and not (self.has("index.json") and (explicit or layout.has_indexes())):
            return [self._from_docker(entry) for entry in _list_of_objects(self.read("manifest.json"))]
        if self.has("index.json"):
            return layout.images()
        if self.has("repositories"):
            raise InvalidParameter(
                "the archive is in the format of Docker before 1.10 (2016), which has no manifest.json; "
                "load it with Docker 20.10 and save it again"
            )
        raise InvalidParameter(
            "the archive has neither manifest.json nor index.json; use `import` for a root file system"
        )

    def _from_docker(self, entry: dict[str, Any]) -> SavedImage:
        config, layers, names = entry.get("Config"), entry.get("Layers") or [], entry.get("RepoTags") or []
        if not isinstance(config, str) or not _strings(layers) or not _strings(names):
            raise InvalidParameter("manifest.json: an entry lacks Config, Layers or RepoTags; save it again")
        return SavedImage(self.read(config), tuple(layers), tuple(names))


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _list_of_objects(data: bytes) -> list[dict[str, Any]]:
    document = json_of(data)
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise InvalidParameter("manifest.json is no list of objects; save the image again")
    return document
