"""A saved archive on disk: where its members are, and what images it holds.

Two layouts are read: Docker's `manifest.json`, and the OCI image layout (`oci-layout`, `index.json`).
Archives of docker 25 and later hold both and agree. Member names are keys in a map here and never paths.
"""

import json
import os
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter, NotFound, NotSupported
from wherryd.images import platforms
from wherryd.images.image import Platform
from wherryd.registry import manifests
from wherryd.registry.manifests import Index

MAX_MEMBERS = 100_000
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_MAX_LINKS = 8
_MAX_NESTED_INDEXES = 4
_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"


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
        """wanted: the platform to take of an index, by default what runs here best; explicit: nothing else
        will do. Raises InvalidParameter for a broken archive, NotFound for an absent platform.
        """
        layout = _Layout(self, wanted or platforms.host(), explicit)
        # Docker's list has no platforms: an archive with both is asked by the one that has.
        if self.has("manifest.json") and not (explicit and self.has("index.json")):
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


class _Layout:
    """An OCI image layout's index. Source: OCI image-spec, image-layout.md."""

    def __init__(self, archive: SavedArchive, wanted: Platform, explicit: bool) -> None:
        self._archive = archive
        self._wanted = manifests.Platform(wanted.os, wanted.architecture, wanted.variant)
        self._explicit = explicit

    def images(self) -> list[SavedImage]:
        return list(self._below(_object(self._archive.read("index.json")), (), _MAX_NESTED_INDEXES))

    def _below(self, index: dict[str, Any], names: tuple[str, ...], depth: int) -> Iterator[SavedImage]:
        """One image per name: of several entries under the same one, or under none, the best platform's."""
        if not isinstance(index.get("manifests"), list):
            raise InvalidParameter("index.json: it has no list of manifests; save the image again")
        if not depth:
            raise InvalidParameter("index.json: indexes are nested too deeply")
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for entry in index["manifests"]:
            if isinstance(entry, dict) and _platform(entry).os != "unknown":  # an attestation
                groups.setdefault(_names(entry) or names, []).append(entry)
        merged = _same_image_twice(groups)
        for own, entries in merged.items():
            for entry in self._choose(entries):
                document = _object(self._blob(entry))
                if "manifests" in document:
                    nested = dict(document, manifests=self._choose(document["manifests"]))
                    yield from self._below(nested, own, depth - 1)
                else:
                    yield self._image(document, own)

    def _choose(self, entries: Any) -> list[dict[str, Any]]:
        """Entries without a platform are images of their own; of the others the best one."""
        listed = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        listed = [entry for entry in listed if _platform(entry).os != "unknown"]
        if not listed:
            raise InvalidParameter("an image index is empty; save the image again")
        if len(listed) == 1 and not self._explicit:
            return listed
        rest = [entry for entry in listed if not _platform(entry).os]
        offered = [entry for entry in listed if _platform(entry).os]
        if not offered:
            return rest
        index = Index(tuple((_descriptor(entry), _platform(entry)) for entry in offered))
        try:
            best = manifests.choose(index, self._wanted)
        except NotFound:
            if self._explicit:
                raise
            return [*rest, offered[0]]
        return [*rest, next(entry for entry in offered if entry["digest"] == best.digest)]

    def _image(self, document: dict[str, Any], names: tuple[str, ...]) -> SavedImage:
        layers = document.get("layers")
        if document.get("schemaVersion") == 1 or "fsLayers" in document:
            raise NotSupported(manifests.SCHEMA_1_REFUSED)
        if not isinstance(document.get("config"), dict) or not isinstance(layers, list):
            raise InvalidParameter("an image manifest lacks config or layers; save it again")
        return SavedImage(self._blob(document["config"]), tuple(_blob_name(layer) for layer in layers), names)

    def _blob(self, descriptor: dict[str, Any]) -> bytes:
        data = self._archive.read(_blob_name(descriptor))
        if digests.of(data) != descriptor["digest"]:
            raise InvalidParameter(f"{descriptor['digest']} has other content than its digest says")
        return data


def _names(entry: dict[str, Any]) -> tuple[str, ...]:
    """containerd's and Docker's annotation is a whole name; the standard's own may be, or a bare tag."""
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict):
        return ()
    if isinstance(annotations.get(_NAME), str):
        return (annotations[_NAME],)
    reference = annotations.get(_REF_NAME)
    return (reference,) if isinstance(reference, str) and ":" in reference else ()


def _same_image_twice(
    groups: dict[tuple[str, ...], list[dict[str, Any]]],
) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """Two names of the same manifest are one image with two names."""
    merged: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    by_digests: dict[tuple[str, ...], tuple[str, ...]] = {}
    for names, entries in groups.items():
        key = tuple(str(entry.get("digest")) for entry in entries)
        before = by_digests.get(key, ())
        merged.pop(before, None)
        by_digests[key] = before + names
        merged[before + names] = entries
    return merged


def _platform(entry: dict[str, Any]) -> manifests.Platform:
    value = entry.get("platform")
    if not isinstance(value, dict):
        return manifests.Platform("", "")
    return manifests.Platform(*(str(value.get(key) or "") for key in ("os", "architecture", "variant")))


def _descriptor(entry: dict[str, Any]) -> manifests.Descriptor:
    return manifests.Descriptor("", str(entry.get("digest")), 0)


def _blob_name(descriptor: Any) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str):
        raise InvalidParameter("a descriptor has no digest; save the image again")
    return f"blobs/sha256/{digests.encoded(digest)}"


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
