"""`save`: images into one archive that `docker load` and every OCI tool reads.

Layout of docker 25 and later: an OCI image layout, plus Docker's manifest.json and repositories. The same
images give the same bytes: members in a fixed order, with fixed owners, modes and times.

A name that stands for an index is saved with all its images that are here. Layers stand there uncompressed,
so an index of compressed ones becomes one of these (docs/decisions/018-indexes.md). Docker's list has what
the name is shown as.
"""

import json
import tarfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wherryd.content import digest as digests
from wherryd.content.store import ContentStore
from wherryd.errors import InvalidParameter
from wherryd.images import indexes
from wherryd.images import reference as references
from wherryd.images.catalog import ImageCatalog
from wherryd.images.image import Image, Platform
from wherryd.images.indexes import StoredIndex
from wherryd.images.layers import Layer, LayerStore
from wherryd.images.origins import Origins
from wherryd.images.reference import Reference
from wherryd.registry import manifests
from wherryd.registry.manifests import Manifest, RawManifest

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True)
class ToSave:
    """An image and the names it is to have in the archive. index: that they stand for, with all its images
    that are here."""

    image: Image
    names: tuple[Reference, ...]
    index: StoredIndex | None = None


def choose(catalog: ImageCatalog, wanted: Sequence[str], only: Platform | None) -> list[ToSave]:
    """wanted: names and ids, as the user wrote them. only: of an index, the image of this platform.

    Each image once, with the names that it was asked for by. Raises NotFound, InvalidParameter.
    """
    chosen: dict[tuple[str, str], ToSave] = {}
    for text in wanted:
        for image, name in _meant(catalog, text):
            taken = catalog.of_platform(image, only, text) if only else image
            index = None if only else catalog.index(image.index)
            key = (taken.id, index.digest if index else "")
            known = chosen.get(key, ToSave(taken, (), index))
            if name is not None and name not in known.names:
                known = replace(known, names=(*known.names, name))
            chosen[key] = known
    if not chosen:
        raise InvalidParameter("no image names given; say which images to save")
    return list(chosen.values())


def _meant(catalog: ImageCatalog, text: str) -> Iterable[tuple[Image, Reference | None]]:
    """One image, or with a bare repository name all of its tags, as Docker does."""
    if not _looks_like_id(text):
        name = references.parse(text)
        if not name.tag and not name.digest:
            tagged = [tag for tag, _ in catalog.repository(name) if tag.tag]
            if tagged:
                return [(catalog.resolve(tag.canonical), tag) for tag in tagged]
        elif not name.digest and catalog.lookup(name):
            return [(catalog.resolve(text), name)]
    return [(catalog.resolve(text), None)]


def _looks_like_id(text: str) -> bool:
    return text.startswith("sha256:") or (
        len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
    )


class Saver:
    """One archive under way."""

    def __init__(
        self, catalog: ImageCatalog, layers: LayerStore, content: ContentStore, origins: Origins
    ) -> None:
        self._catalog = catalog
        self._layers = layers
        self._content = content
        self._origins = origins
        self._written: set[str] = set()

    def save(self, chosen: Sequence[ToSave]) -> Generator[bytes, None, None]:
        """The archive in pieces. Raises SystemFault when a layer was damaged on disk."""
        index: list[dict[str, Any]] = []
        docker: list[dict[str, Any]] = []
        repositories: dict[str, dict[str, str]] = {}
        yield from (_directory("blobs/"), _directory("blobs/sha256/"))
        for entry in chosen:
            if entry.index is None:
                raw = manifest(entry.image, self._layers, self._content)
                yield from self._image(entry.image, raw)
            else:
                raw = yield from self._index(entry.index)
            index += _index_entries(raw, entry.names)
            stack = self._layers.stack(entry.image.chain_id)
            docker.append(_docker_entry(entry, stack))
            for name in entry.names:
                top = stack[-1].diff_id.removeprefix("sha256:") if stack else ""
                repositories.setdefault(name.familiar_name, {})[name.tag] = top
        listed = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": index}
        yield from _member("index.json", _compact(listed))
        yield from _member("manifest.json", _compact(docker))
        yield from _member("oci-layout", _compact({"imageLayoutVersion": "1.0.0"}))
        if repositories:
            yield from _member("repositories", _compact(repositories))
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _image(self, image: Image, raw: RawManifest) -> Iterator[bytes]:
        for layer in self._layers.stack(image.chain_id):
            if layer.diff_id not in self._written:
                self._written.add(layer.diff_id)
                yield _header(_blob(layer.diff_id), layer.tar_bytes)
                yield from self._layers.archive(layer)
                yield _padding(layer.tar_bytes)
        yield from self._documents(self._content.read(image.id), raw.body)

    def _index(self, stored: StoredIndex) -> Generator[bytes, None, RawManifest]:
        """All images of it that are here; the index as it is in the archive."""
        changed: dict[str, RawManifest] = {}
        for entry in stored.here:
            image = self._catalog.get(stored.image_of(entry))
            raw = self._as_saved(image, entry.descriptor.digest)
            if raw.digest != entry.descriptor.digest:
                changed[entry.descriptor.digest] = raw
            yield from self._image(image, raw)
        index = indexes.rewritten(stored, changed) if changed else stored.raw
        for entry in indexes.parsed(index).entries:
            if entry.descriptor.digest in stored.documents:
                body = self._content.read(entry.descriptor.digest)
                attestation = RawManifest(body, entry.descriptor.media_type, entry.descriptor.digest)
                parts = [self._content.read(part.digest) for part in manifests.parts(attestation)]
                yield from self._documents(*parts, body)
        yield from self._documents(index.body)
        return index

    def _as_saved(self, image: Image, digest: str) -> RawManifest:
        """The manifest of that digest, if it is of the layers as they are saved: uncompressed."""
        plain = [layer.diff_id for layer in self._layers.stack(image.chain_id)]
        for raw in self._origins.manifests(image.id):
            found = manifests.parse(raw) if raw.digest == digest else None
            if isinstance(found, Manifest) and [layer.digest for layer in found.layers] == plain:
                return raw
        return manifest(image, self._layers, self._content)

    def _documents(self, *documents: bytes) -> Iterator[bytes]:
        for data in documents:
            if digests.of(data) not in self._written:
                self._written.add(digests.of(data))
                yield from _member(_blob(digests.of(data)), data)


def manifest(image: Image, layers: LayerStore, content: ContentStore) -> RawManifest:
    """The one that the image has in an archive: its layers stand there uncompressed."""
    body = _compact(_manifest(image.id, content.size(image.id), layers.stack(image.chain_id)))
    return RawManifest(body, _MANIFEST, digests.of(body))


def _manifest(config_digest: str, config_size: int, stack: Sequence[Layer]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": config_digest, "size": config_size},
        "layers": [_layer_descriptor(layer) for layer in stack],
    }


def _layer_descriptor(layer: Layer) -> dict[str, Any]:
    return {"mediaType": _LAYER, "digest": layer.diff_id, "size": layer.tar_bytes}


def _index_entries(raw: RawManifest, names: Sequence[Reference]) -> list[dict[str, Any]]:
    entry = raw.descriptor.document()
    return [
        {
            **entry,
            "annotations": {
                "io.containerd.image.name": name.canonical,
                "org.opencontainers.image.ref.name": name.tag,
            },
        }
        for name in names
    ] or [entry]


def _docker_entry(entry: ToSave, stack: Sequence[Layer]) -> dict[str, Any]:
    return {
        "Config": _blob(entry.image.id),
        "RepoTags": [name.familiar for name in entry.names] or None,
        "Layers": [_blob(layer.diff_id) for layer in stack],
        "LayerSources": {layer.diff_id: _layer_descriptor(layer) for layer in stack},
    }


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digests.encoded(digest)}"


def _compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE, mode: int = 0o644) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.mode = size, kind, mode
    # GNU format: a layer may be larger than the 8 GiB that fit into the plain header.
    return member.tobuf(tarfile.GNU_FORMAT)


def _directory(name: str) -> bytes:
    return _header(name, 0, tarfile.DIRTYPE, 0o755)


def _member(name: str, data: bytes) -> Iterator[bytes]:
    yield _header(name, len(data)) + data + _padding(len(data))


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
