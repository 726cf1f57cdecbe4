"""Every rule of the image-spec's schemas, broken once: the schema refuses it, and so does our reader.

The documents are made from the rules themselves, so that none is forgotten: from one good document, which has
every field, each rule makes the one that breaks it alone. Good documents are the full one, the least one, and
the least one with each field there is. Where the reader takes what the schema refuses, or the other way
round, it is listed here with the reason.
"""

import copy
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_images_schema import DIGEST, SCHEMAS, validator

from wherryd.content import digest as digests
from wherryd.errors import EngineError, InvalidParameter
from wherryd.images import imageconfig
from wherryd.images.archive import SavedArchive
from wherryd.registry import manifests
from wherryd.registry.manifests import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, RawManifest

Document = dict[str, Any]
Path = tuple[str, ...]
#: (path, keyword, what of it): one rule. "[]" is each of a list, "*" each name of an object.
Rule = tuple[Path, str, str]

FILES = {
    "manifest": "image-manifest-schema.json",
    "index": "image-index-schema.json",
    "config": "config-schema.json",
    "layout": "image-layout-schema.json",
}
MOMENT = "2020-01-02T03:04:05Z"


def descriptor(kind: str, **more: Any) -> Document:
    return {
        "mediaType": kind, "digest": DIGEST, "size": 1, "urls": ["https://images.invalid/blob"],
        "data": "e30=", "artifactType": "application/vnd.example+json", "annotations": {"key": "value"},
        **more,
    }  # fmt: skip


PLATFORM = {
    "architecture": "arm", "os": "linux", "variant": "v7", "os.version": "6.1", "os.features": ["huge"],
}  # fmt: skip
FULL: dict[str, Document] = {
    "manifest": {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example+json",
        "config": descriptor(OCI_CONFIG),
        "subject": descriptor(OCI_MANIFEST),
        "layers": [descriptor(OCI_LAYER)],
        "annotations": {"key": "value"},
    },
    "index": {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "artifactType": "application/vnd.example+json",
        "subject": descriptor(OCI_MANIFEST),
        "manifests": [descriptor(OCI_MANIFEST, platform=PLATFORM)],
        "annotations": {"key": "value"},
    },
    "config": {
        "created": MOMENT,
        "author": "somebody",
        **PLATFORM,
        "config": {
            "User": "1000:1000", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"], "Entrypoint": ["/bin/sh"],
            "Cmd": ["-c", "true"], "Volumes": {"/data": {}}, "WorkingDir": "/", "Labels": {"key": "value"},
            "StopSignal": "SIGINT", "ArgsEscaped": True,
        },
        "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
        "history": [
            {"created": MOMENT, "author": "a", "created_by": "b", "comment": "c", "empty_layer": False}
        ],
    },
    "layout": {"imageLayoutVersion": "1.0.0"},
}  # fmt: skip

#: Rules that the reader does not hold a document to, and why.
TAKEN: dict[tuple[str, Rule], str] = {
    **{
        (kind, ((), "required", "schemaVersion")): "Docker and containerd read what lacks it"
        for kind in ("manifest", "index")
    },
    **{
        (kind, (place, "required", "mediaType")): "Docker's older manifests have none in descriptors"
        for kind, place in (
            ("manifest", ("config",)),
            ("manifest", ("subject",)),
            ("index", ("subject",)),
            ("index", ("manifests", "[]")),
        )
    },
    **{
        (kind, (("subject",), "required", field)): "what it is about is not looked at, only that it can be"
        for kind in ("manifest", "index")
        for field in ("size", "digest")
    },
    **{
        (kind, (("subject", field), keyword, "")): "what it is about is not looked at, only that it can be"
        for kind in ("manifest", "index")
        for field, keyword in (("digest", "pattern"), ("size", "minimum"), ("size", "maximum"))
    },
    **{
        (
            "index",
            (("manifests", "[]", "platform"), "required", field),
        ): "nothing fits it, which is enough"
        for field in ("architecture", "os")
    },
    ("manifest", (("layers",), "minItems", "")): "an image FROM scratch need not have a layer",
    **{
        ("config", ((), "required", field)): "Docker's first images have none; they are linux"
        for field in ("architecture", "os")
    },
    ("config", (("rootfs",), "required", "type")): "there is only one",
    ("config", (("rootfs",), "required", "diff_ids")): "what has no layers has none",
}
#: Formats are told by no schema validator by itself.
_KEYWORDS = ("enum", "pattern", "minimum", "maximum", "minItems")
_WRONG: dict[str, Any] = {"object": "text", "array": "text", "string": 7, "integer": "7", "boolean": "yes"}


def rules(schema: Document, file: str, path: Path = ()) -> Iterator[Rule]:
    """Everything that the schema says about a document."""
    while "$ref" in schema:
        other, _, place = schema["$ref"].partition("#")
        file = other or file
        schema = json.loads((SCHEMAS / file).read_text())
        for part in filter(None, place.split("/")):
            schema = schema[part]
    if "oneOf" in schema:
        yield path, "oneOf", ""
        (inner,) = (each for each in schema["oneOf"] if each.get("type") != "null")
        found = ((place, keyword, what) for place, keyword, what in rules(inner, file, path) if place != path)
        # What is wrong inside is told as none of these.
        yield from ((place, "oneOf", "") for place, _, _ in found)
        return
    if "type" in schema and path:
        yield path, "type", ""
    for keyword in _KEYWORDS:
        if keyword in schema:
            yield path, keyword, ""
    for name in schema.get("required", ()):
        yield path, "required", name
    for name, each in schema.get("properties", {}).items():
        yield from rules(each, file, (*path, name))
    for each in schema.get("patternProperties", {}).values():
        yield from rules(each, file, (*path, "*"))
    if "items" in schema:
        yield from rules(schema["items"], file, (*path, "[]"))


def every_rule() -> list[tuple[str, Rule]]:
    return [
        (kind, rule)
        for kind, file in FILES.items()
        for rule in dict.fromkeys(rules(json.loads((SCHEMAS / file).read_text()), file))
    ]


def holder_of(document: Document, path: Path) -> tuple[Any, Any]:
    """(the object or list around a place, the key)."""
    place: Any = {"": document}
    key: Any = ""
    for part in path:
        place = place[key]
        key = 0 if part == "[]" else next(iter(place)) if part == "*" else part
    return place, key


def breaking(kind: str, rule: Rule) -> Document:
    """The full document, with that one rule broken."""
    path, keyword, what = rule
    made = {"": copy.deepcopy(FULL[kind])}
    holder, key = holder_of(made[""], path) if path else (made, "")
    old = holder[key]
    changes: dict[str, Callable[[], Any]] = {
        "type": lambda: _wrong_type(old),
        "oneOf": lambda: _wrong_type(old),
        "enum": lambda: "another",
        "pattern": lambda: "no such thing",
        "minimum": lambda: -(1 << 70),
        "maximum": lambda: 1 << 70,
        "minItems": list,
    }
    if keyword == "required":
        del old[what]
    else:
        holder[key] = changes[keyword]()
    return made[""]


def _wrong_type(value: Any) -> Any:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}
    return _WRONG[names[type(value)]]


def read(kind: str, document: Document) -> None:
    """By what reads such documents in the engine. Raises EngineError."""
    body = json.dumps(document).encode()
    if kind in ("manifest", "index"):
        came_as = OCI_MANIFEST if kind == "manifest" else OCI_INDEX
        manifests.parse(RawManifest(body, came_as, digests.of(body)))
    elif kind == "config":
        rootfs = document.get("rootfs")
        layers = int(isinstance(rootfs, dict) and bool(rootfs.get("diff_ids")))
        imageconfig.parse(body, layers, "save the image again")
    else:
        with tempfile.TemporaryFile() as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                for name, data in (("oci-layout", body), ("index.json", b'{"manifests": []}')):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
            assert SavedArchive(file).images() == []


def named(case: tuple[str, Rule]) -> str:
    kind, (path, keyword, what) = case
    return f"{kind}:{'.'.join(path)}:{keyword}{what and '-' + what}"


@pytest.mark.parametrize("case", every_rule(), ids=named)
def test_document_that_breaks_one_rule_is_refused_with_its_place(case: tuple[str, Rule]) -> None:
    kind, (path, keyword, what) = case
    document = breaking(kind, case[1])
    errors = list(validator(FILES[kind].removesuffix(".json")).iter_errors(document))
    found = {error.validator for error in errors}
    assert keyword in found, errors
    assert found <= {keyword, "enum"}, errors  # what is no string is none of these, either
    if case in TAKEN:
        read(kind, document)
        return
    with pytest.raises(InvalidParameter) as refused:
        read(kind, document)
    place = what or next((part for part in reversed(path) if part not in ("[]", "*")), "")
    told = str(refused.value)
    # What a descriptor lacks is told by its digest, and so is a size that cannot be.
    assert re.search(f"{place}|descriptor|{DIGEST}|list of|no layer of", told), told


def test_every_exception_is_a_rule() -> None:
    assert set(TAKEN) <= set(every_rule())
    assert len(every_rule()) > 150


def least(kind: str) -> Document:
    """With what is required alone, all the way down."""
    needed = {(path, what) for path, keyword, what in dict(_by_kind(kind)) if keyword == "required"}

    def cut(value: Any, path: Path) -> Any:
        if isinstance(value, list):
            return [cut(each, (*path, "[]")) for each in value]
        if isinstance(value, dict):
            return {key: cut(each, (*path, key)) for key, each in value.items() if (path, key) in needed}
        return value

    found: Document = cut(FULL[kind], ())
    return found


def _by_kind(kind: str) -> Iterator[tuple[Rule, None]]:
    return ((rule, None) for each, rule in every_rule() if each == kind)


def good_documents() -> Iterator[Any]:
    for kind, full in FULL.items():
        yield pytest.param(kind, full, id=f"{kind}:full")
        yield pytest.param(kind, least(kind), id=f"{kind}:least")
        for key, value in full.items():
            yield pytest.param(kind, {**least(kind), key: value}, id=f"{kind}:with-{key}")
    for field in ("Entrypoint", "Cmd", "Volumes", "Labels"):
        config = {**FULL["config"], "config": {**FULL["config"]["config"], field: None}}
        yield pytest.param("config", config, id=f"config:null-{field}")


@pytest.mark.parametrize(("kind", "document"), good_documents())
def test_good_document_is_read(kind: str, document: Document) -> None:
    validator(FILES[kind].removesuffix(".json")).validate(document)
    read(kind, document)


@pytest.mark.parametrize(
    ("kind", "change", "why"),
    [
        # The schema says that these are good. They cannot be had here, and are refused in words.
        ("manifest", {"config": descriptor(OCI_CONFIG, digest="sha512:" + "a" * 128)}, "only sha256"),
        ("manifest", {"config": descriptor("application/vnd.example+json")}, "no container image"),
        (
            "manifest",
            {"layers": [descriptor("application/vnd.example+json")]},
            "no layer of a container",
        ),
        ("manifest", {"mediaType": OCI_INDEX}, "its mediaType is"),
        ("manifest", {"manifests": []}, "both layers and manifests"),
        ("index", {"manifests": [descriptor(OCI_MANIFEST, size=-1)]}, "has no size"),
        ("config", {"os": "windows"}, "cannot load windows image on linux"),
        ("config", {"rootfs": {"type": "layers", "diff_ids": ["md5:1"]}}, "invalid digest"),
    ],
)
def test_good_document_of_what_is_no_image_here_is_refused_in_words(
    kind: str, change: Document, why: str
) -> None:
    document = {**FULL[kind], **change}
    assert validator(FILES[kind].removesuffix(".json")).is_valid(document)
    with pytest.raises(EngineError, match=why):
        read(kind, document)
