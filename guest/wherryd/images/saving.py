"""`save`: images into one archive that `docker load` and every OCI tool reads.

Layout of docker 25 and later: an OCI image layout, plus Docker's manifest.json and repositories. The same
images give the same bytes: members in a fixed order, with fixed owners, modes and times.
"""

import json
import tarfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from wherryd.content import digest as digests
from wherryd.content.store import ContentStore
from wherryd.images.image import Image
from wherryd.images.layers import Layer, LayerStore
from wherryd.images.reference import Reference

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True)
class ToSave:
    """An image and the names it is to have in the archive."""

    image: Image
    names: tuple[Reference, ...]


def save(chosen: Sequence[ToSave], layers: LayerStore, content: ContentStore) -> Generator[bytes, None, None]:
    """The archive in pieces. Raises SystemFault when a layer was damaged on disk."""
    written: set[str] = set()
    index: list[dict[str, Any]] = []
    docker: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    yield from (_directory("blobs/"), _directory("blobs/sha256/"))
    for entry in chosen:
        stack = layers.stack(entry.image.chain_id)
        for layer in stack:
            if layer.diff_id not in written:
                written.add(layer.diff_id)
                yield _header(_blob(layer.diff_id), layer.tar_bytes)
                yield from layers.archive(layer)
                yield _padding(layer.tar_bytes)
        config = content.read(entry.image.id)
        manifest = _compact(_manifest(entry.image.id, len(config), stack))
        for data in (config, manifest):
            if digests.of(data) not in written:
                written.add(digests.of(data))
                yield from _member(_blob(digests.of(data)), data)
        index += _index_entries(manifest, entry.names)
        docker.append(_docker_entry(entry, stack))
        for name in entry.names:
            top = stack[-1].diff_id.removeprefix("sha256:") if stack else ""
            repositories.setdefault(name.familiar_name, {})[name.tag] = top
    yield from _member("index.json", _compact({"schemaVersion": 2, "mediaType": _INDEX, "manifests": index}))
    yield from _member("manifest.json", _compact(docker))
    yield from _member("oci-layout", _compact({"imageLayoutVersion": "1.0.0"}))
    if repositories:
        yield from _member("repositories", _compact(repositories))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _manifest(config_digest: str, config_size: int, stack: Sequence[Layer]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": config_digest, "size": config_size},
        "layers": [_layer_descriptor(layer) for layer in stack],
    }


def _layer_descriptor(layer: Layer) -> dict[str, Any]:
    return {"mediaType": _LAYER, "digest": layer.diff_id, "size": layer.tar_bytes}


def _index_entries(manifest: bytes, names: Sequence[Reference]) -> list[dict[str, Any]]:
    entry = {"mediaType": _MANIFEST, "digest": digests.of(manifest), "size": len(manifest)}
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
