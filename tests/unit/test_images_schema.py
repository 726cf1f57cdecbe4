"""What we write is valid by the OCI image-spec's own schemas, and what they refuse we refuse.

The schemas are the specification's: WHERRY_SHARED/data/oci/image-spec/schema, skipped where they are not.
"""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter
from wherryd.images import saving
from wherryd.images.image import Platform
from wherryd.images.importing import _document
from wherryd.images.layers import Layer
from wherryd.images.reference import parse as reference
from wherryd.registry import manifests
from wherryd.registry.manifests import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor, RawManifest

Document = dict[str, Any]
SCHEMAS = (
    Path(os.environ.get("WHERRY_SHARED", Path(__file__).parents[3] / "shared")) / "data/oci/image-spec/schema"
)
DIGEST = "sha256:" + "a" * 64

if not SCHEMAS.is_dir():
    pytest.skip("needs the image-spec's schemas (WHERRY_SHARED)", allow_module_level=True)


def validator(name: str) -> Draft4Validator:
    resources = []
    for path in SCHEMAS.glob("*.json"):
        document = json.loads(path.read_text())
        resource = Resource.from_contents(document, default_specification=DRAFT4)
        resources += [(path.name, resource), (document.get("id", path.name), resource)]
        resources.append((f"https://opencontainers.org/schema/{path.name}", resource))
        resources.append((f"https://opencontainers.org/schema/image/{path.name}", resource))
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    return Draft4Validator(schema, registry=Registry().with_resources(resources))


def layer() -> Layer:
    return Layer(DIGEST, "", DIGEST, 10, 1024, DIGEST)


def test_manifest_index_and_layout_of_a_saved_archive_are_valid() -> None:
    manifest = saving._manifest(DIGEST, 10, [layer(), layer()])
    validator("image-manifest-schema").validate(manifest)
    entries = saving._index_entries(raw(manifest, OCI_MANIFEST), [reference("a:1"), reference("a:2")])
    validator("image-index-schema").validate(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    )
    validator("image-layout-schema").validate({"imageLayoutVersion": "1.0.0"})


def test_pushed_oci_manifest_is_valid() -> None:
    zstd = Descriptor("application/vnd.oci.image.layer.v1.tar+zstd", DIGEST, 5)
    raw = manifests.build(Descriptor(OCI_CONFIG, DIGEST, 10), [zstd, Descriptor(OCI_LAYER, DIGEST, 7)])
    assert raw.media_type == OCI_MANIFEST
    validator("image-manifest-schema").validate(json.loads(raw.body))


def test_imported_config_is_valid() -> None:
    config = {
        "Cmd": ["sh"],
        "Env": ["A=b"],
        "Labels": {"k": "v"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}},
    }
    data = _document(layer(), config, Platform("linux", "arm", "v7"), "message")
    validator("config-schema").validate(json.loads(data))


GOOD_MANIFEST: Document = {
    "schemaVersion": 2,
    "mediaType": OCI_MANIFEST,
    "config": {"mediaType": OCI_CONFIG, "digest": DIGEST, "size": 1},
    "layers": [{"mediaType": OCI_LAYER, "digest": DIGEST, "size": 2}],
    "annotations": {"key": "value"},
}
GOOD_INDEX: Document = {
    "schemaVersion": 2,
    "mediaType": OCI_INDEX,
    "manifests": [
        {
            "mediaType": OCI_MANIFEST,
            "digest": DIGEST,
            "size": 3,
            "platform": {"architecture": "amd64", "os": "linux"},
        }
    ],
}


def raw(document: Document, media_type: str) -> RawManifest:
    body = json.dumps(document).encode()
    return RawManifest(body, media_type, digests.of(body))


@pytest.mark.parametrize(
    ("name", "document", "media_type"),
    [("image-manifest-schema", GOOD_MANIFEST, OCI_MANIFEST), ("image-index-schema", GOOD_INDEX, OCI_INDEX)],
)
def test_good_document_is_good_to_both(name: str, document: Document, media_type: str) -> None:
    validator(name).validate(document)
    manifests.parse(raw(document, media_type))


def without(*keys: str | int) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        place: Any = document
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


def with_(value: Any, *keys: str | int) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        place: Any = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


BAD_MANIFESTS = [
    without("config"),
    without("layers"),
    without("config", "digest"),
    without("config", "size"),
    without("layers", 0, "digest"),
    without("layers", 0, "size"),
    with_("x", "layers"),
    with_("x", "config"),
    with_("12", "layers", 0, "size"),
    with_("nonsense", "config", "digest"),
    with_(7, "config", "mediaType"),
    with_(1.5, "config", "size"),
]


@pytest.mark.parametrize("change", BAD_MANIFESTS)
def test_bad_manifest_is_bad_to_both(change: Callable[[Document], None]) -> None:
    document = copy.deepcopy(GOOD_MANIFEST)
    change(document)
    assert not validator("image-manifest-schema").is_valid(document)
    with pytest.raises(InvalidParameter):
        manifests.parse(raw(document, OCI_MANIFEST))


BAD_INDEXES = [
    without("manifests"),
    with_({}, "manifests"),
    without("manifests", 0, "digest"),
    without("manifests", 0, "size"),
    with_("nonsense", "manifests", 0, "digest"),
    with_("3", "manifests", 0, "size"),
    with_("x", "manifests", 0),
]


@pytest.mark.parametrize("change", BAD_INDEXES)
def test_bad_index_is_bad_to_both(change: Callable[[Document], None]) -> None:
    document = copy.deepcopy(GOOD_INDEX)
    change(document)
    assert not validator("image-index-schema").is_valid(document)
    with pytest.raises(InvalidParameter):
        manifests.parse(raw(document, OCI_INDEX))
