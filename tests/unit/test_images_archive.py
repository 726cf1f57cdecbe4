"""What a saved archive says of its images, and the broken ones that are refused."""

import hashlib
import io
import json
import tarfile
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest

from wherryd.errors import InvalidParameter
from wherryd.images.archive import SavedArchive
from wherryd.images.platforms import host


def on_disk(data: bytes = b"") -> BinaryIO:
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the archive
    file.write(data)
    return file


@pytest.fixture(autouse=True)
def forget_open_files() -> Iterator[None]:
    """Those of `on_disk` close with their last reference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def archive(members: dict[str, bytes], links: dict[str, str] | None = None) -> BinaryIO:
    out = on_disk()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    out.flush()
    return out


def blob(data: bytes) -> tuple[str, dict[str, Any]]:
    digest = hashlib.sha256(data).hexdigest()
    return f"blobs/sha256/{digest}", {"digest": f"sha256:{digest}", "size": len(data)}


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_dockers_manifest_is_read() -> None:
    manifest = as_json([{"Config": "c.json", "RepoTags": ["a:1", "b:2"], "Layers": ["x/layer.tar"]}])
    saved = SavedArchive(archive({"c.json": b"{}", "x/layer.tar": b"L", "manifest.json": manifest}))
    (image,) = saved.images()
    assert image.config == b"{}"
    assert image.names == ("a:1", "b:2")
    assert saved.read(image.layers[0]) == b"L"


def test_layer_that_is_a_link_to_anothers_is_found() -> None:
    saved = SavedArchive(archive({"x/layer.tar": b"L"}, {"y/layer.tar": "../x/layer.tar"}))
    assert saved.read("y/layer.tar") == b"L"


def test_links_that_go_round_end_in_an_error() -> None:
    saved = SavedArchive(archive({}, {"a": "b", "b": "a"}))
    with pytest.raises(InvalidParameter, match='no file "a"'):
        saved.read("a")


def oci(manifest_change: bytes | None = None) -> dict[str, bytes]:
    config_name, config = blob(b'{"rootfs":{}}')
    layer_name, layer = blob(b"layer")
    manifest = as_json({"schemaVersion": 2, "config": config, "layers": [layer]})
    manifest_name, descriptor = blob(manifest)
    index_entry = {**descriptor, "annotations": {"io.containerd.image.name": "docker.io/library/a:1"}}
    return {
        config_name: b'{"rootfs":{}}',
        layer_name: b"layer",
        manifest_name: manifest_change or manifest,
        "index.json": as_json({"schemaVersion": 2, "manifests": [index_entry]}),
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
    }


def test_oci_layout_is_read() -> None:
    saved = SavedArchive(archive(oci()))
    (image,) = saved.images()
    assert image.names == ("docker.io/library/a:1",)
    assert saved.read(image.layers[0]) == b"layer"


def test_oci_manifest_that_is_not_what_its_digest_says_is_refused() -> None:
    saved = SavedArchive(archive(oci(b'{"config": {}, "layers": []}')))
    with pytest.raises(InvalidParameter, match="other content than its digest says"):
        saved.images()


def test_nested_index_gives_this_machines_image() -> None:
    members = oci()
    top = json.loads(members["index.json"])["manifests"][0]
    mine = {**top, "platform": {"os": "linux", "architecture": host().architecture}}
    del mine["annotations"]
    other_name, other = blob(b'{"other": 1}')
    nested = as_json({"manifests": [{**other, "platform": {"os": "plan9", "architecture": "z80"}}, mine]})
    nested_name, nested_descriptor = blob(nested)
    members |= {nested_name: nested, other_name: b'{"other": 1}'}
    members["index.json"] = as_json({"manifests": [{**nested_descriptor, "annotations": top["annotations"]}]})
    (image,) = SavedArchive(archive(members)).images()
    assert image.config == b'{"rootfs":{}}'
    assert image.names == ("docker.io/library/a:1",)


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"etc/passwd": b"x"}, "neither manifest.json nor index.json"),
        (
            {"repositories": b'{"a": {"1": "0"}}', "0/json": b"{}", "0/layer.tar": b""},
            "before 1.10 .* save it again",
        ),
        ({"manifest.json": b"{"}, "not JSON"),
        ({"manifest.json": b"[" * 100_000}, "not JSON"),
        ({"manifest.json": b"{}"}, "no list of objects"),
        ({"manifest.json": b'[{"Layers": []}]'}, "lacks Config"),
        ({"manifest.json": b'[{"Config": "../../etc/passwd"}]'}, "no file"),
        ({"manifest.json": b'[{"Config": "c", "Layers": [1]}]', "c": b"{}"}, "lacks Config"),
        ({"index.json": b'{"manifests": [{"digest": "sha256:../x"}]}'}, "invalid digest"),
        ({"index.json": b'{"manifests": [{}]}'}, "has no digest"),
        ({"manifest.json": b" " * 5_000_000}, "has more than"),
    ],
)
def test_broken_archive_is_refused_with_the_reason(members: dict[str, bytes], complaint: str) -> None:
    saved = SavedArchive(archive(members))
    with pytest.raises(InvalidParameter, match=complaint):
        saved.images()


def test_what_is_no_tar_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="not an archive of images"):
        SavedArchive(on_disk(b"hello" * 1000))
