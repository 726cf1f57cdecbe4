"""A saved archive on disk: where its members are, and what images it holds.

Two layouts are read: Docker's `manifest.json`, and the OCI image layout (`oci-layout`, `index.json`).
Archives of docker 25 and later hold both and agree. Member names are keys in a map here and never paths.
"""

import json
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter
from wherryd.images import platforms

MAX_MEMBERS = 100_000
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_MAX_LINKS = 8
_MAX_NESTED_INDEXES = 4
_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class SavedImage:
    """config: the document's bytes. layers: member names, lowest first. names: references, not yet parsed."""

    config: bytes
    layers: tuple[str, ...]
    names: tuple[str, ...]


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

    def chunks(self, name: str) -> Iterator[bytes]:
        offset, size = self._place(name)
        while size:
            self._file.seek(offset)
            data = self._file.read(min(size, _CHUNK_BYTES))
            if not data:
                raise InvalidParameter(f'the archive ends in the middle of "{name}"; get it again')
            yield data
            offset, size = offset + len(data), size - len(data)

    def read(self, name: str) -> bytes:
        """A whole document. Raises InvalidParameter when it is larger than a document can be."""
        if self.size(name) > MAX_DOCUMENT_BYTES:
            raise InvalidParameter(f'"{name}" has more than {MAX_DOCUMENT_BYTES} bytes')
        return b"".join(self.chunks(name))

    def images(self) -> list[SavedImage]:
        """Raises InvalidParameter for a broken archive."""
        if self.has("manifest.json"):
            return [self._from_docker(entry) for entry in _list_of_objects(self.read("manifest.json"))]
        if self.has("index.json"):
            return list(self._from_index(_object(self.read("index.json")), (), _MAX_NESTED_INDEXES))
        raise InvalidParameter(
            "the archive has neither manifest.json nor index.json; use `import` for a root file system"
        )

    def _from_docker(self, entry: dict[str, Any]) -> SavedImage:
        config, layers, names = entry.get("Config"), entry.get("Layers") or [], entry.get("RepoTags") or []
        if not isinstance(config, str) or not _strings(layers) or not _strings(names):
            raise InvalidParameter("manifest.json: an entry lacks Config, Layers or RepoTags; save it again")
        return SavedImage(self.read(config), tuple(layers), tuple(names))

    def _from_index(self, index: dict[str, Any], names: tuple[str, ...], depth: int) -> Iterator[SavedImage]:
        manifests = [entry for entry in index.get("manifests") or [] if isinstance(entry, dict)]
        for entry in manifests:
            annotations = entry.get("annotations") or {}
            own = (annotations[_NAME],) if isinstance(annotations.get(_NAME), str) else names
            document = _object(self._blob(entry))
            if "manifests" in document:
                if not depth:
                    raise InvalidParameter("index.json: indexes are nested too deeply")
                nested = dict(document, manifests=[_for_this_machine(document["manifests"])])
                yield from self._from_index(nested, own, depth - 1)
            else:
                layers = document.get("layers")
                if not isinstance(document.get("config"), dict) or not isinstance(layers, list):
                    raise InvalidParameter("an image manifest lacks config or layers; save it again")
                yield SavedImage(
                    self._blob(document["config"]), tuple(_blob_name(layer) for layer in layers), own
                )

    def _blob(self, descriptor: dict[str, Any]) -> bytes:
        data = self.read(_blob_name(descriptor))
        if digests.of(data) != descriptor["digest"]:
            raise InvalidParameter(f"{descriptor['digest']} has other content than its digest says")
        return data


def _blob_name(descriptor: Any) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str):
        raise InvalidParameter("a descriptor has no digest; save the image again")
    return f"blobs/sha256/{digests.encoded(digest)}"


def _for_this_machine(manifests: Any) -> dict[str, Any]:
    """The one of an index that this machine can run, else the first."""
    mine = platforms.host()
    entries = [entry for entry in manifests if isinstance(entry, dict)] if isinstance(manifests, list) else []
    if not entries:
        raise InvalidParameter("an image index is empty; save the image again")
    for entry in entries:
        platform = entry.get("platform") or {}
        if (platform.get("os"), platform.get("architecture")) == (mine.os, mine.architecture):
            return entry
    return entries[0]


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _object(data: bytes) -> dict[str, Any]:
    document = _json(data)
    if not isinstance(document, dict):
        raise InvalidParameter("a document of the archive is no JSON object; save the image again")
    return document


def _list_of_objects(data: bytes) -> list[dict[str, Any]]:
    document = _json(data)
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise InvalidParameter("manifest.json is no list of objects; save the image again")
    return document


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidParameter(f"a document of the archive is not JSON: {exc}") from exc
