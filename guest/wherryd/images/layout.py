"""An OCI image layout in a saved archive: its index.json, and what that names.

Source: OCI image-spec, image-layout.md and image-index.md; annotations: containerd, "image name".
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter, NotFound, NotSupported
from wherryd.images.image import Platform
from wherryd.registry import manifests, shapes
from wherryd.registry.manifests import Index, RawManifest

_MAX_NESTED_INDEXES = 4
_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"
_INDEXES = (manifests.OCI_INDEX, manifests.DOCKER_LIST)

Document = dict[str, Any]
Names = tuple[str, ...]


class Members(Protocol):
    """An archive's files, by name."""

    def has(self, name: str) -> bool: ...
    def read(self, name: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class SavedImage:
    """config: the document's bytes. layers: member names, lowest first. names: references, not yet parsed.
    manifest: of a layout. index: that the names stand for, of which this is one platform's image. documents:
    its attestations, and what they are made of."""

    config: bytes
    layers: tuple[str, ...]
    names: Names
    manifest: RawManifest | None = None
    index: RawManifest | None = None
    documents: tuple[bytes, ...] = ()


class Layout:
    def __init__(self, archive: Members, wanted: Platform, explicit: bool) -> None:
        """wanted: the platform whose images alone are meant, if explicit."""
        self._archive = archive
        self._wanted = manifests.Platform(wanted.os, wanted.architecture, wanted.variant)
        self._explicit = explicit

    def has_indexes(self) -> bool:
        """Whether a name in it stands for more than one manifest."""
        entries = self._top()
        names = [_names(entry) for entry in entries if _names(entry)]
        return any(entry.get("mediaType") in _INDEXES for entry in entries) or len(names) > len(set(names))

    def images(self) -> list[SavedImage]:
        return list(self._below(self._top(), (), _MAX_NESTED_INDEXES))

    def _top(self) -> list[Document]:
        if self._archive.has("oci-layout"):
            version = object_of(self._archive.read("oci-layout"))
            if not version.get("imageLayoutVersion"):
                raise InvalidParameter("oci-layout: it has no imageLayoutVersion; save the image again")
            shapes.check(version, shapes.LAYOUT, "oci-layout")
        return _entries(object_of(self._archive.read("index.json")), "index.json")

    def _below(self, entries: list[Document], names: Names, depth: int) -> Iterator[SavedImage]:
        """Several entries under one name are an index, as if it had been written."""
        if not depth:
            raise InvalidParameter("index.json: indexes are nested too deeply")
        groups: dict[Names, list[Document]] = {}
        for entry in entries:
            if not _is_attestation(entry):
                groups.setdefault(_names(entry) or names, []).append(entry)
        for own, grouped in _same_image_twice(groups).items():
            if own and len(grouped) > 1 and all(_platform(entry).os for entry in grouped):
                yield from self._index(_written(grouped), own, depth)
                continue
            for entry in grouped if len(grouped) == 1 or not self._explicit else self._choose(grouped):
                document = object_of(self._blob(entry))
                if "manifests" in document:
                    kind = document.get("mediaType") or entry.get("mediaType") or manifests.OCI_INDEX
                    raw = RawManifest(self._blob(entry), str(kind), entry["digest"])
                    yield from self._index(raw, own, depth)
                else:
                    yield self._image(entry, own)

    def _index(self, raw: RawManifest, names: Names, depth: int) -> Iterator[SavedImage]:
        listed = _entries(object_of(raw.body), "an image index")
        if any(entry.get("mediaType") in _INDEXES for entry in listed):
            yield from self._below(listed, names, depth - 1)  # of which no name can say which one it means
            return
        images = [entry for entry in listed if not _is_attestation(entry)]
        if not images:
            raise InvalidParameter("an image index is empty; save the image again")
        chosen = self._choose(images) if self._explicit else [one for one in images if self._is_here(one)]
        if not chosen:
            raise NotFound(
                f"the archive has none of the images that its index {raw.digest} lists; save it again"
            )
        index = raw if isinstance(manifests.parse(raw), Index) and names else None
        for entry in chosen:
            found = self._image(entry, names)
            documents = tuple(self._attestations(listed, entry)) if index else ()
            yield replace(found, index=index, documents=documents)

    def _is_here(self, entry: Document) -> bool:
        """With its config and its layers: of an index that was saved in part, the rest is only listed. So are
        images for other systems, which cannot be kept here."""
        if _platform(entry).os not in ("", "linux", "unknown"):
            return False
        if not self._archive.has(_blob_name(entry)):
            return False
        document = object_of(self._blob(entry))
        parts = [document.get("config"), *(document.get("layers") or ())]
        return all(self._archive.has(_blob_name(part)) for part in parts)

    def _choose(self, listed: list[Document]) -> list[Document]:
        """What was asked for. Entries without a platform are images of their own."""
        rest = [entry for entry in listed if not _platform(entry).os]
        offered = [entry for entry in listed if _platform(entry).os]
        if not offered:
            return rest
        index = Index(
            tuple(manifests.Entry(_descriptor(entry), _platform(entry), entry) for entry in offered)
        )
        best = dict(manifests.choose(index, self._wanted).document)
        if not self._archive.has(_blob_name(best)):
            raise NotFound(
                f"the archive's index lists {self._wanted}, but the archive has nothing of it; save it with "
                "that platform"
            )
        return [*rest, best]

    def _attestations(self, listed: list[Document], about: Document) -> Iterator[bytes]:
        for entry in listed:
            said = entry.get("annotations")
            if not _is_attestation(entry) or not isinstance(said, dict):
                continue
            if said.get(manifests.REFERENCE_DIGEST) == about["digest"] and self._is_here(entry):
                body = self._blob(entry)
                yield body
                for part in manifests.parts(RawManifest(body, "", entry["digest"])):
                    yield self._blob({"digest": part.digest})

    def _image(self, entry: Document, names: Names) -> SavedImage:
        body = self._blob(entry)
        document = object_of(body)
        layers = document.get("layers")
        if document.get("schemaVersion") == 1 or "fsLayers" in document:
            raise NotSupported(manifests.SCHEMA_1_REFUSED)
        if not isinstance(document.get("config"), dict) or not isinstance(layers, list):
            raise InvalidParameter("an image manifest lacks config or layers; save it again")
        shapes.check(document, shapes.MANIFEST, "an image's manifest")
        kind = str(document.get("mediaType") or entry.get("mediaType") or manifests.OCI_MANIFEST)
        return SavedImage(
            self._blob(document["config"]),
            tuple(_blob_name(layer) for layer in layers),
            names,
            RawManifest(body, kind, entry["digest"]),
        )

    def _blob(self, descriptor: Document) -> bytes:
        data = self._archive.read(_blob_name(descriptor))
        if digests.of(data) != descriptor["digest"]:
            raise InvalidParameter(f"{descriptor['digest']} has other content than its digest says")
        return data


def _entries(index: Document, what: str) -> list[Document]:
    entries = index.get("manifests")
    if not isinstance(entries, list):
        raise InvalidParameter(f"{what}: it has no list of manifests; save the image again")
    return [entry for entry in entries if isinstance(entry, dict)]


def _written(entries: list[Document]) -> RawManifest:
    """An index of entries that have a name in common, which it need not say of each."""
    document = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": [*map(_nameless, entries)]}
    body = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    return RawManifest(body, manifests.OCI_INDEX, digests.of(body))


def _nameless(entry: Document) -> Document:
    said = entry.get("annotations")
    kept = {key: value for key, value in said.items() if key not in (_NAME, _REF_NAME)} if said else {}
    others = {key: value for key, value in entry.items() if key != "annotations"}
    return {**others, **({"annotations": kept} if kept else {})}


def _names(entry: Document) -> Names:
    """containerd's and Docker's annotation is a whole name; the standard's own may be, or a bare tag."""
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict):
        return ()
    if isinstance(annotations.get(_NAME), str):
        return (annotations[_NAME],)
    reference = annotations.get(_REF_NAME)
    return (reference,) if isinstance(reference, str) and ":" in reference else ()


def _same_image_twice(groups: dict[Names, list[Document]]) -> dict[Names, list[Document]]:
    """Two names of the same manifest are one image with two names."""
    merged: dict[Names, list[Document]] = {}
    by_digests: dict[tuple[str, ...], Names] = {}
    for names, entries in groups.items():
        key = tuple(str(entry.get("digest")) for entry in entries)
        before = by_digests.get(key, ())
        merged.pop(before, None)
        by_digests[key] = before + names
        merged[before + names] = entries
    return merged


def _is_attestation(entry: Document) -> bool:
    return not manifests.Entry(_descriptor(entry), _platform(entry), entry).is_image


def _platform(entry: Document) -> manifests.Platform:
    value = entry.get("platform")
    if not isinstance(value, dict):
        return manifests.Platform("", "")
    return manifests.Platform(*(str(value.get(key) or "") for key in ("os", "architecture", "variant")))


def _descriptor(entry: Document) -> manifests.Descriptor:
    return manifests.Descriptor("", str(entry.get("digest")), 0)


def _blob_name(descriptor: Any) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str):
        raise InvalidParameter("a descriptor has no digest; save the image again")
    return f"blobs/sha256/{digests.encoded(digest)}"


def json_of(data: bytes) -> Any:
    """Raises InvalidParameter."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidParameter(f"a document of the archive is not JSON: {exc}") from exc


def object_of(data: bytes) -> Document:
    """Raises InvalidParameter."""
    document = json_of(data)
    if not isinstance(document, dict):
        raise InvalidParameter("a document of the archive is no JSON object; save the image again")
    return document
