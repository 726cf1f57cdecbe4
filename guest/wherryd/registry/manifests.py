"""Manifests and indexes: read with suspicion, written in one form.

Source: OCI image-spec, "Image Manifest", "Image Index"; distribution, "Image Manifest V 2, Schema 2".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter, NotFound, NotSupported
from wherryd.registry import shapes

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
SCHEMA_1 = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)

SCHEMA_1_REFUSED = (
    "the image is in Docker's format of before 2016 (manifest schema 1), which no current engine reads; "
    "ask its publisher to push it again with a current tool"
)

#: What we can read, in the order of preference.
ACCEPTED = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)

MAX_LAYERS = 128
#: Docker accepts a blob of any size; this only keeps a number from being a nonsense.
_MAX_BLOB_BYTES = 1 << 40
_LAYER_PREFIXES = ("application/vnd.docker.image.rootfs.", "application/vnd.oci.image.layer.")
# Old pushers put these where the config's type belongs; Docker reads them as images too.
_CONFIGS = frozenset({DOCKER_CONFIG, OCI_CONFIG, "application/octet-stream", "text/html", ""})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """size in bytes."""

    media_type: str
    digest: str
    size: int

    def document(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "size": self.size, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class Platform:
    """OCI platform; "" where it says nothing."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class RawManifest:
    """As the registry has it; digest is of exactly these bytes."""

    body: bytes
    media_type: str
    digest: str

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.body))


@dataclass(frozen=True, slots=True)
class Manifest:
    """layers: lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


#: Of an index's entry that says something about another. Source: BuildKit, "Attestation storage".
REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
_ATTESTATION = "attestation-manifest"


@dataclass(frozen=True, slots=True)
class Entry:
    """One manifest that an index lists. document: the descriptor as it is written there."""

    descriptor: Descriptor
    platform: Platform
    document: Mapping[str, Any]

    @property
    def is_image(self) -> bool:
        """Whether something can run from it; attestations name themselves unknown/unknown."""
        return self.platform.os != "unknown" and not self.is_attestation

    @property
    def is_attestation(self) -> bool:
        return self._annotation(REFERENCE_TYPE) == _ATTESTATION

    @property
    def attests(self) -> str:
        """The digest of the manifest that an attestation is about, or ""."""
        return self._annotation(REFERENCE_DIGEST) if self.is_attestation else ""

    def _annotation(self, key: str) -> str:
        annotations = self.document.get("annotations")
        return str(annotations.get(key) or "") if isinstance(annotations, dict) else ""


@dataclass(frozen=True, slots=True)
class Index:
    entries: tuple[Entry, ...]

    @property
    def images(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.is_image]

    @property
    def platforms(self) -> list[Platform]:
        return [entry.platform for entry in self.images]

    def best(self, wanted: Platform) -> Entry | None:
        """The entry for a platform: of those that run there what fits it best, the first of equals."""
        ranked = [
            (rank, number)
            for number, entry in enumerate(self.images)
            if (rank := _rank(entry.platform, wanted)) is not None
        ]
        return self.images[min(ranked)[1]] if ranked else None


def parse(raw: RawManifest) -> Manifest | Index:
    """Raises InvalidParameter, and NotSupported for schema 1."""
    document = _object(raw.body)
    if raw.media_type in SCHEMA_1 or document.get("schemaVersion") == 1:
        raise NotSupported(SCHEMA_1_REFUSED)
    said = document.get("mediaType", raw.media_type)
    if said != raw.media_type and raw.media_type in ACCEPTED:
        raise _bad(f"its mediaType is {said!r}, but it came as {raw.media_type!r}")
    if "layers" in document and "manifests" in document:
        # Read as one or the other, the same digest would mean two images (CVE-2021-41190).
        raise _bad("it has both layers and manifests")
    if document.get("schemaVersion", 2) != 2:
        raise _bad(f"its schemaVersion is {document['schemaVersion']!r}, not 2")
    if said in (OCI_INDEX, DOCKER_LIST) or (said not in ACCEPTED and "manifests" in document):
        shapes.check(document, shapes.INDEX, "the image's index")
        return _index(document)
    if said in (OCI_MANIFEST, DOCKER_MANIFEST) or "layers" in document:
        shapes.check(document, shapes.MANIFEST, "the image's manifest")
        return _manifest(document)
    raise _bad(f"its type {said!r} is not known")


def _manifest(document: Mapping[str, Any]) -> Manifest:
    config = _descriptor(document.get("config"))
    if config.media_type not in _CONFIGS:
        raise InvalidParameter(
            f'"{config.media_type}" is no container image; get it with the tool it was made for'
        )
    entries = document.get("layers")
    if not isinstance(entries, list):
        raise _bad("it has no list of layers")
    if len(entries) > MAX_LAYERS:
        raise InvalidParameter(f"the image has {len(entries)} layers, the limit is {MAX_LAYERS}")
    layers = tuple(_descriptor(entry) for entry in entries)
    for layer in layers:
        if "foreign" in layer.media_type or "nondistributable" in layer.media_type:
            raise NotSupported(
                "a layer of the image lies outside of the registry, which is for Windows images only"
            )
        if not layer.media_type.startswith(_LAYER_PREFIXES):
            raise InvalidParameter(f'"{layer.media_type}" is no layer of a container image')
    return Manifest(config, layers)


def _index(document: Mapping[str, Any]) -> Index:
    entries = document.get("manifests")
    if not isinstance(entries, list):
        raise _bad("it has no list of manifests")
    return Index(tuple(_entry(entry) for entry in entries))


def _entry(value: Any) -> Entry:
    descriptor = _descriptor(value)
    return Entry(descriptor, _platform(value.get("platform")), value)


def parts(raw: RawManifest) -> list[Descriptor]:
    """Everything that a manifest of any kind names, an attestation's too. Raises InvalidParameter."""
    document = _object(raw.body)
    layers = document.get("layers")
    if not isinstance(layers, list):
        raise _bad("it has no list of layers")
    return [_descriptor(document.get("config")), *map(_descriptor, layers)]


def _descriptor(value: Any) -> Descriptor:
    if not isinstance(value, dict):
        raise _bad("a descriptor is no object")
    digest, size, media_type = value.get("digest"), value.get("size"), value.get("mediaType", "")
    if not isinstance(digest, str) or not digests.is_digest(digest):
        raise _bad(f"a descriptor's digest is {str(digest)[:100]!r}; only sha256 is known")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAX_BLOB_BYTES:
        raise _bad(f"{digest} has no size")
    if not isinstance(media_type, str):
        raise _bad(f"{digest} has no media type")
    return Descriptor(media_type, digest, size)


def _platform(value: Any) -> Platform:
    if not isinstance(value, dict):
        return Platform("", "")
    return Platform(*(str(value.get(key) or "") for key in ("os", "architecture", "variant")))


def choose(index: Index, wanted: Platform) -> Entry:
    """The best entry for a platform. Raises NotFound in Docker's words."""
    best = index.best(wanted)
    if best is None:
        offered = ", ".join(dict.fromkeys(map(str, index.platforms))) or "none"
        raise NotFound(
            f"no matching manifest for {wanted} in the manifest list entries (there are: {offered})"
        )
    return best


#: Variants that mean the same as none. Source: containerd/platforms, "Normalization".
_IMPLIED = {"arm64": "v8", "amd64": "v1", "arm": "v7"}
#: What a processor of 64 bits runs too, when there is nothing better. Source: containerd/platforms, "Only".
_SMALLER = {"amd64": Platform("linux", "386"), "arm64": Platform("linux", "arm", "v8")}
_NOT_WELL = 100


def _rank(offered: Platform, wanted: Platform) -> int | None:
    """0 for a perfect fit, more for what also runs, None for what does not. An index entry without a
    platform fits everything, but nothing well."""
    if not offered.os and not offered.architecture:
        return _NOT_WELL
    if offered.os != wanted.os:
        return None
    if offered.architecture != wanted.architecture:
        smaller = _SMALLER.get(wanted.architecture)
        if smaller is None or offered.architecture != smaller.architecture:
            return None
        rank = _rank(offered, smaller)
        return None if rank is None else _NOT_WELL + 1 + rank
    implied = _IMPLIED.get(wanted.architecture, "")
    mine, theirs = wanted.variant or implied, offered.variant or implied
    if mine == theirs:
        return 0
    if wanted.architecture in _IMPLIED and _level(theirs) < _level(mine):
        return _level(mine) - _level(theirs)  # an older variant of the same architecture runs too
    return None


def _level(variant: str) -> int:
    digits = variant.removeprefix("v").partition(".")[0]
    return int(digits) if digits.isdecimal() and digits.isascii() and len(digits) < 4 else 1_000


def fits(offered: Platform, wanted: Platform) -> bool:
    return _rank(offered, wanted) is not None


def same(offered: Platform, wanted: Platform) -> bool:
    """Whether it is this platform and no other that also runs there."""
    return bool(offered.os) and _rank(offered, wanted) == 0


def build(config: Descriptor, layers: Sequence[Descriptor]) -> RawManifest:
    """Docker's schema 2, which every tool reads; OCI's when a layer is zstd, for which that has no name."""
    oci = any(layer.media_type.endswith("+zstd") for layer in layers)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST if oci else DOCKER_MANIFEST,
        "config": Descriptor(OCI_CONFIG if oci else DOCKER_CONFIG, config.digest, config.size).document(),
        "layers": [
            Descriptor(_layer_type(layer.media_type, oci), layer.digest, layer.size).document()
            for layer in layers
        ],
    }
    # As docker writes it, so that the same blobs have the same manifest digest there and here.
    body = json.dumps(document, indent=3).encode()
    return RawManifest(body, str(document["mediaType"]), digests.of(body))


def _layer_type(media_type: str, oci: bool) -> str:
    if media_type.endswith("+zstd"):
        return "application/vnd.oci.image.layer.v1.tar+zstd"
    if media_type.endswith(".tar"):
        return (
            "application/vnd.oci.image.layer.v1.tar"
            if oci
            else "application/vnd.docker.image.rootfs.diff.tar"
        )
    return OCI_LAYER if oci else DOCKER_LAYER


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise _bad(f"it is not JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise _bad("it is no JSON object")
    return document


def _bad(reason: str) -> InvalidParameter:
    return InvalidParameter(f"the image's manifest is broken: {reason}; push the image again")
