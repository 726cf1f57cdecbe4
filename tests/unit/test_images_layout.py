"""OCI layouts and indexes in saved archives: which image is meant, by which name."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter, NotFound, NotSupported
from wherryd.images import platforms
from wherryd.images.archive import SavedArchive
from wherryd.images.layout import SavedImage

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
Document = dict[str, Any]


class Layout:
    """An archive under way."""

    def __init__(self) -> None:
        self.members: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def blob(self, document: Document, kind: str = MANIFEST, **more: Any) -> Document:
        data = json.dumps(document).encode()
        digest = digests.of(data)
        self.members[f"blobs/sha256/{digest.removeprefix('sha256:')}"] = data
        return {"mediaType": kind, "digest": digest, "size": len(data), **more}

    def image(
        self, architecture: str, variant: str = "", *, said: bool = True, name: str = "", key: str = ""
    ) -> Document:
        config = {"architecture": architecture, "os": "linux", "rootfs": {"diff_ids": []}, "variant": variant}
        manifest = {"schemaVersion": 2, "config": self.blob(config, CONFIG), "layers": []}
        more: Document = {"platform": {"os": "linux", "architecture": architecture, "variant": variant}}
        if name:
            more["annotations"] = {key or "io.containerd.image.name": name}
        return self.blob(manifest, **more)

    def index(self, entries: Sequence[Document], **more: Any) -> Document:
        return self.blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}, INDEX, **more)

    def archive(self, entries: Sequence[Document], file: BinaryIO) -> SavedArchive:
        import io
        import tarfile

        self.members["index.json"] = json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode()
        with tarfile.open(fileobj=file, mode="w") as out:
            for name, data in self.members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
        file.flush()
        return SavedArchive(file)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile(dir=tmp_path) as made:
        yield made


def architectures(images: Sequence[SavedImage]) -> list[str]:
    found = [json.loads(image.config) for image in images]
    return [f"{config['architecture']}{config['variant']}" for config in found]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("linux/amd64", "amd64"),
        ("linux/arm64", "arm64v8"),
        ("linux/arm/v6", "armv6"),
        ("linux/arm/v7", "armv7"),
        ("linux/arm", "armv7"),
        ("linux/arm/v8", "armv7"),
    ],
)
def test_platform_is_chosen_with_its_variant(file: BinaryIO, wanted: str, chosen: str) -> None:
    layout = Layout()
    offered = [("arm", "v6"), ("arm", "v7"), ("arm64", "v8"), ("amd64", "")]
    entries = [layout.image(*platform) for platform in offered]
    archive = layout.archive([layout.index(entries)], file)
    assert architectures(archive.images(platforms.parse(wanted), explicit=True)) == [chosen]


def test_absent_platform_is_not_found_and_names_what_there_is(file: BinaryIO) -> None:
    layout = Layout()
    archive = layout.archive([layout.index([layout.image("arm64"), layout.image("s390x")])], file)
    with pytest.raises(NotFound, match="linux/arm64, linux/s390x"):
        archive.images(platforms.parse("linux/riscv64"), explicit=True)
    # Who asks for nothing special gets what there is.
    assert architectures(archive.images(platforms.parse("linux/riscv64"))) == ["arm64", "s390x"]


def test_what_an_index_only_lists_is_passed_over_and_said_when_asked_for(file: BinaryIO) -> None:
    layout = Layout()
    absent = {**layout.image("s390x"), "digest": "sha256:" + "0" * 64}
    index = layout.index([absent, layout.image("arm64")], annotations={"io.containerd.image.name": "a:1"})
    archive = layout.archive([index], file)
    (found,) = archive.images()
    assert found.index is not None
    assert found.index.digest == index["digest"]
    with pytest.raises(NotFound, match=r"lists linux/s390x, but the archive has nothing of it"):
        archive.images(platforms.parse("linux/s390x"), explicit=True)


def test_platforms_under_one_name_are_an_index(file: BinaryIO) -> None:
    layout = Layout()
    entries = [
        layout.image("arm64", name="a:1"),
        layout.image("amd64", name="a:1"),
        layout.image("386", name="b:1"),
    ]
    found = layout.archive(entries, file).images()
    assert [image.names for image in found] == [("a:1",), ("a:1",), ("b:1",)]
    assert architectures(found) == ["arm64", "amd64", "386"]
    first, second, alone = (image.index for image in found)
    assert first is not None
    assert first == second
    assert [entry["digest"] for entry in json.loads(first.body)["manifests"]] == [
        entry["digest"] for entry in entries[:2]
    ]
    assert alone is None


def test_two_names_of_one_manifest_are_one_image(file: BinaryIO) -> None:
    layout = Layout()
    entries = [layout.image("amd64", name="a:1"), layout.image("amd64", name="a:2")]
    (found,) = layout.archive(entries, file).images(platforms.parse("linux/amd64"))
    assert found.names == ("a:1", "a:2")


@pytest.mark.parametrize(
    ("reference", "names"), [("docker.io/library/a:1", ("docker.io/library/a:1",)), ("latest", ())]
)
def test_standard_annotation_is_a_name_only_when_it_is_whole(
    file: BinaryIO, reference: str, names: tuple[str, ...]
) -> None:
    layout = Layout()
    entry = layout.image("amd64", name=reference, key="org.opencontainers.image.ref.name")
    (found,) = layout.archive([entry], file).images()
    assert found.names == names


def test_attestations_are_no_images(file: BinaryIO) -> None:
    layout = Layout()
    attestation = layout.image("unknown")
    attestation["platform"] = {"os": "unknown", "architecture": "unknown"}
    archive = layout.archive([layout.index([layout.image("amd64"), attestation]), attestation], file)
    assert architectures(archive.images(platforms.parse("linux/amd64"))) == ["amd64"]


def test_schema_1_is_refused_with_what_to_do(file: BinaryIO) -> None:
    layout = Layout()
    entry = layout.blob({"schemaVersion": 1, "fsLayers": [], "history": []})
    with pytest.raises(NotSupported, match="before 2016"):
        layout.archive([entry], file).images()


@pytest.mark.parametrize(
    "broken",
    [
        {"manifests": "x"},
        {},
        [],
        {"manifests": [{"digest": "sha256:../../etc/passwd"}]},
        {"manifests": [{"digest": "sha256:" + "0" * 64}]},
        {"manifests": [{}]},
    ],
)
def test_broken_index_is_refused(file: BinaryIO, broken: Any) -> None:
    layout = Layout()
    archive = layout.archive([], file)
    archive.read = lambda _name: json.dumps(broken).encode()  # type: ignore[method-assign]
    with pytest.raises(InvalidParameter):
        archive.images()
