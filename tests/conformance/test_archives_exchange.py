"""What we save others load, and what they save we load: image and layers stay the same, byte for byte."""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rival_rig
from images_rig import archive, directory, entry, hard_link, saved, symlink
from native_engine import NativeEngine

pytestmark = pytest.mark.root

NAME = "exchange:1"
_SECONDS = 120


def _need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"NOT TESTED that archives are exchanged with others: install {', '.join(missing)}")


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for an engine: podman wants at most 50 characters, a socket of containerd's 107."""
    folder = Path(tempfile.mkdtemp(prefix="wherry-x-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ours(engine: NativeEngine, tmp_path: Path) -> Iterator[Path]:
    """Our `save` of an image of three layers, which the engine then has no more."""
    layers = [
        archive(
            directory("d", mode=0o2755), entry("d/a", b"a" * 5000), symlink("l", "d/a"), hard_link("h", "d/a")
        ),
        archive(entry("d/.wh.a"), entry("d/b", b"b", pax_headers={"SCHILY.xattr.user.note": "kept"})),
        archive(directory("e"), entry("e/.wh..wh..opq"), entry("e/ünïcode", b"c", uid=70_000, mode=0o4711)),
    ]  # fmt: skip
    diff_ids = ["sha256:" + hashlib.sha256(each).hexdigest() for each in layers]
    config = {
        "architecture": "amd64", "os": "linux", "created": "2020-01-02T03:04:05Z",
        "config": {"Cmd": ["sh"], "Env": ["A=1"], "Labels": {"of": "the test"}},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }  # fmt: skip
    load(engine, saved(json.dumps(config).encode(), layers, [NAME]))
    path = tmp_path / "ours.tar"
    path.write_bytes(save(engine))
    forget(engine)
    yield path
    forget(engine)


def load(engine: NativeEngine, data: bytes) -> None:
    answer = engine.call("POST", "/images/load", data)
    assert answer.status == 200, answer.text
    assert "errorDetail" not in answer.text, answer.text


def save(engine: NativeEngine, name: str = NAME) -> bytes:
    return engine.call("GET", f"/images/{name}/get").body


def forget(engine: NativeEngine) -> None:
    """All but busybox."""
    for image in engine.call("GET", "/images/json", all="1").json:
        if image["RepoTags"] != ["busybox:test"]:
            assert engine.call("DELETE", f"/images/{image['Id']}", force="1").status == 200


def loaded(engine: NativeEngine, path: Path) -> dict[str, Any]:
    """What the one image of an archive of somebody else's is here."""
    load(engine, path.read_bytes())
    (image,) = [
        each for each in engine.call("GET", "/images/json").json if each["RepoTags"] != ["busybox:test"]
    ]
    found: dict[str, Any] = engine.call("GET", f"/images/{image['Id']}/json").json
    return found


def image_id(path: Path) -> str:
    """Of the one image in an archive that we saved."""
    listed = subprocess.run(["tar", "-xOf", path, "manifest.json"], capture_output=True, check=True).stdout
    return "sha256:" + json.loads(listed)[0]["Config"].rpartition("/")[2]


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_skopeo_copies_an_archive_and_the_image_stays_the_same(
    engine: NativeEngine, ours: Path, tmp_path: Path, form: str
) -> None:
    _need("skopeo")
    copied = tmp_path / "copied.tar"
    name = f"docker.io/library/{NAME}" if form == "docker-archive" else NAME.rpartition(":")[2]
    skopeo = ["skopeo", "--insecure-policy", "copy", "--quiet", f"{form}:{ours}", f"{form}:{copied}:{name}"]
    subprocess.run(skopeo, check=True, capture_output=True, timeout=_SECONDS)
    found = loaded(engine, copied)
    assert found["Id"] == image_id(ours)
    if form == "docker-archive":
        assert save(engine) == ours.read_bytes()


@pytest.mark.parametrize(
    ("source", "target"), [("docker-archive", "oci-archive"), ("oci-archive", "docker-archive")]
)
def test_skopeo_turns_one_kind_of_archive_into_the_other_and_the_layers_stay_the_same(
    engine: NativeEngine, ours: Path, tmp_path: Path, source: str, target: str
) -> None:
    _need("skopeo")
    turned = tmp_path / "turned.tar"
    skopeo = ["skopeo", "--insecure-policy", "copy", "--quiet", f"{source}:{ours}", f"{target}:{turned}:x:1"]
    subprocess.run(skopeo, check=True, capture_output=True, timeout=_SECONDS)
    found = loaded(engine, turned)
    forget(engine)
    before = loaded(engine, ours)
    assert (found["RootFS"], found["Config"]["Labels"], found["Config"]["Env"]) == (
        before["RootFS"],
        before["Config"]["Labels"],
        before["Config"]["Env"],
    )


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_loads_what_we_saved_and_we_what_it_saves(
    engine: NativeEngine, ours: Path, tmp_path: Path, short: Path, form: str
) -> None:
    _need("podman", "conmon")
    with rival_rig.podman(short) as podman:
        podman("load", "--quiet", "--input", str(ours))
        podman("save", "--quiet", f"--format={form}", "--output", str(tmp_path / "theirs.tar"), NAME)
    found = loaded(engine, tmp_path / "theirs.tar")
    forget(engine)
    assert found["RootFS"] == loaded(engine, ours)["RootFS"]


def test_archive_comes_back_from_docker_byte_for_byte(
    engine: NativeEngine, ours: Path, tmp_path: Path, short: Path
) -> None:
    _need("dockerd", "docker")
    with rival_rig.dockerd(short) as docker:
        docker("load", "--quiet", "--input", str(ours))
        docker("save", "--output", str(tmp_path / "theirs.tar"), NAME)
        assert loaded(engine, tmp_path / "theirs.tar")["Id"] == image_id(ours)
        # It holds every layer's bytes again, and ours of it is the archive that went there.
        assert save(engine) == ours.read_bytes()
        # The other way round: its own commit, through us, and back.
        docker("create", "--name", "made", rival_rig.IMAGE, "true")
        docker("commit", "made", "theirs:1")
        docker("save", "--output", str(tmp_path / "commit.tar"), "theirs:1")
        wanted = docker("inspect", "--format={{.Id}}", "theirs:1").stdout.strip()
        forget(engine)
        assert loaded(engine, tmp_path / "commit.tar")["Id"] == wanted
        (tmp_path / "back.tar").write_bytes(save(engine, "theirs:1"))
        docker("rm", "made")
        docker("rmi", "theirs:1")
        docker("load", "--quiet", "--input", str(tmp_path / "back.tar"))
        assert docker("inspect", "--format={{.Id}}", "theirs:1").stdout.strip() == wanted
