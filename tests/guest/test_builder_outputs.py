"""`wherry build --output`, --progress and --on-error: what is made of a build."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from native_engine import NativeEngine
from registry_rig import real_registry

pytestmark = pytest.mark.root


def wherry(
    engine: NativeEngine, folder: Path, *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", "from wherry.cli.main import main; main()", "build", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        env={**os.environ, "WHERRY_HOST": f"unix://{engine.socket}", "WHERRY_HOME": str(folder / ".home")},
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox:test AS made\n"
        "RUN mkdir -p /out/sub && echo hello > /out/sub/f && ln -s /etc/x /out/link\n"
        "FROM scratch\nCOPY --from=made /out /\n"
    )
    return tmp_path


def containers(engine: NativeEngine) -> list[str]:
    return [each["Id"] for each in engine.call("GET", "/containers/json", all="1").json]


def test_a_folder_gets_the_files_and_no_others(engine: NativeEngine, folder: Path) -> None:
    before = containers(engine)
    result = wherry(engine, folder, "-o", "result", ".")
    if not hasattr(tarfile, "tar_filter"):
        assert b"take type=tar,dest=FILE" in result.stderr
        assert containers(engine) == before
        return
    assert result.returncode == 0, result.stderr
    found = {path.relative_to(folder / "result").as_posix() for path in (folder / "result").rglob("*")}
    assert {"sub", "sub/f", "link"} <= found
    assert (folder / "result" / "sub" / "f").read_text() == "hello\n"
    assert (folder / "result" / "link").readlink() == Path("/etc/x")
    assert containers(engine) == before


def test_an_archive_goes_to_stdout_alone(engine: NativeEngine, folder: Path) -> None:
    result = wherry(engine, folder, "--output", "type=tar", ".")
    with tarfile.open(fileobj=io.BytesIO(result.stdout)) as archive:
        assert archive.extractfile("sub/f").read() == b"hello\n"  # type: ignore[union-attr]
    assert b"Step 1/" in result.stderr
    assert wherry(engine, folder, "-o", "-", ".").stdout == result.stdout


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_an_image_archive_is_written(engine: NativeEngine, folder: Path, kind: str) -> None:
    result = wherry(engine, folder, "-t", "out:1", "--output", f"type={kind},dest=image.tar", ".")
    assert result.returncode == 0, result.stderr
    with tarfile.open(folder / "image.tar") as archive:
        names = archive.getnames()
        assert {"manifest.json", "index.json", "oci-layout"} <= set(names)
        manifest = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert manifest[0]["RepoTags"] == ["out:1"]


def test_an_image_gets_names_and_goes_to_its_registry(
    engine: NativeEngine, folder: Path, tmp_path: Path
) -> None:
    with real_registry(tmp_path / ".registry") as registry:
        name = f"{registry.host}/out:pushed"
        result = wherry(engine, folder, "--output", f"type=image,name={name},push=true", ".")
        assert result.returncode == 0, result.stderr
        engine.call("DELETE", f"/images/{name}")
        assert engine.docker("pull", name).returncode == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("type=zip,dest=x", b"type is one of local, tar"),
        ("type=local", b"wants a folder"),
        ("type=tar,dest=x,compression=zstd", b"compression is not available"),
        ("type=image,dest=x", b"has no dest"),
        ("type=registry", b"without a name cannot be pushed"),
    ],
)
def test_an_output_that_cannot_be_is_refused(
    engine: NativeEngine, folder: Path, text: str, problem: bytes
) -> None:
    result = wherry(engine, folder, "--output", text, ".")
    assert result.returncode != 0
    assert problem in result.stderr


def test_the_container_of_a_failing_step_is_kept_for_a_look(engine: NativeEngine, folder: Path) -> None:
    before = containers(engine)
    file = b"FROM busybox:test\nRUN echo clue > /clue; exit 9\n"
    result = wherry(engine, folder, "--on-error", "keep", "-", stdin=file)
    assert result.returncode == 9
    (kept,) = set(containers(engine)) - set(before)
    assert kept[:12].encode() in result.stdout
    assert engine.docker("cp", f"{kept}:/clue", str(folder / "clue")).returncode == 0
    assert (folder / "clue").read_text() == "clue\n"
    engine.remove(kept)
    assert wherry(engine, folder, "-", stdin=file).returncode == 9
    assert containers(engine) == before


def test_quiet_progress_prints_the_id_alone(engine: NativeEngine, folder: Path) -> None:
    result = wherry(engine, folder, "--progress", "quiet", ".")
    assert result.stdout.startswith(b"sha256:")
    assert len(result.stdout.split()) == 1
