"""docker's own command and docker-py build on this engine, as they do on dockerd's classic builder."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker_py_client import docker_py
from native_engine import NativeEngine

docker = pytest.importorskip("docker")
pytestmark = pytest.mark.root


@pytest.fixture
def client(engine: NativeEngine) -> Iterator[Any]:
    with docker_py(engine, timeout=60) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "f").write_text("from the folder")
    (tmp_path / "skip.o").write_text("x")
    (tmp_path / ".dockerignore").write_text("*.o\n")
    (tmp_path / "Dockerfile").write_text("FROM busybox:test\nARG A=none\nCOPY . /ctx\nRUN echo $A > /a\n")
    return tmp_path


def build(
    engine: NativeEngine, folder: Path, *arguments: str, stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    return engine.judged(
        ["docker", "build", *arguments], stdin=stdin, cwd=folder, environment={"DOCKER_BUILDKIT": "0"}
    )


def test_docker_builds_a_folder(engine: NativeEngine, docker_cli: str, folder: Path) -> None:
    iid = folder / "iid"
    result = build(engine, folder, "-t", "cli:1", "--build-arg", "A=given", "--iidfile", str(iid), ".")
    assert result.returncode == 0, result.stderr
    assert b"Step 4/4 : RUN echo $A > /a" in result.stdout
    assert b"Successfully tagged cli:1" in result.stdout
    assert iid.read_text() == engine.call("GET", "/images/cli:1/json").json["Id"]
    seen = engine.docker("run", "--rm", "cli:1", "sh", "-c", "cat /a /ctx/src/f; ls /ctx")
    assert seen.stdout == b"given\nfrom the folderDockerfile\nsrc\n"


def test_docker_builds_quietly(engine: NativeEngine, docker_cli: str, folder: Path) -> None:
    result = build(engine, folder, "-q", ".")
    assert result.returncode == 0
    assert result.stdout.startswith(b"sha256:")


def test_docker_ends_with_the_status_of_the_failing_run(
    engine: NativeEngine, docker_cli: str, folder: Path
) -> None:
    result = build(engine, folder, "-", stdin=b"FROM busybox:test\nRUN exit 42\n")
    assert result.returncode == 42
    assert b"returned a non-zero code: 42" in result.stderr


def test_docker_takes_the_dockerfile_from_stdin(engine: NativeEngine, docker_cli: str, folder: Path) -> None:
    result = build(
        engine, folder, "-f", "-", "-t", "cli:2", ".", stdin=b"FROM busybox:test\nCOPY . /c\nRUN ls -a /c\n"
    )
    assert result.returncode == 0, result.stderr
    assert b"src\n" in result.stdout
    assert b".dockerfile" not in result.stdout


def test_docker_says_which_line_is_wrong(engine: NativeEngine, docker_cli: str, folder: Path) -> None:
    result = build(engine, folder, "-", stdin=b"FROM busybox:test\nRUNN x\n")
    assert result.returncode == 1
    assert b"dockerfile parse error on line 2: unknown instruction: RUNN" in result.stderr


def test_docker_py_builds_and_yields_its_lines(client: Any, folder: Path) -> None:
    image, lines = client.images.build(path=str(folder), tag="py:1", buildargs={"A": "py"}, rm=True)
    assert image.tags == ["py:1"]
    assert any("Successfully built" in line.get("stream", "") for line in lines)
    assert client.containers.run("py:1", ["cat", "/a"], remove=True) == b"py\n"


def test_docker_py_builds_from_a_file_object(client: Any) -> None:
    image, _ = client.images.build(fileobj=io.BytesIO(b"FROM busybox:test\nLABEL a=b\n"))
    assert image.labels == {"a": "b"}


def test_docker_py_raises_what_the_build_says(client: Any) -> None:
    with pytest.raises(docker.errors.BuildError, match="returned a non-zero code: 3"):
        client.images.build(fileobj=io.BytesIO(b"FROM busybox:test\nRUN exit 3\n"))
    with pytest.raises(docker.errors.APIError, match="unknown instruction"):
        client.images.build(fileobj=io.BytesIO(b"FROM busybox:test\nNOPE\n"))


def test_docker_py_takes_steps_from_the_images_that_it_names(client: Any) -> None:
    """As docker-py's own suite asks of an engine: from these images, and from no other."""
    file = b"FROM busybox:test\nENV OF=cache_from\nRUN head -c 8 /dev/urandom > /r\n"

    def build(**options: Any) -> tuple[str, int]:
        image, lines = client.images.build(fileobj=io.BytesIO(file), **options)
        return str(image.id), sum("Using cache" in line.get("stream", "") for line in lines)

    source, _ = build(tag="py:source")
    assert build(cache_from=["py:source"]) == (source, 2)
    assert build(cache_from=["py:nothing", "py:source"]) == (source, 2)
    other, hits = build(cache_from=["py:nothing"])
    assert hits == 0
    assert other != source


def test_docker_py_prunes_builds(client: Any) -> None:
    client.images.build(fileobj=io.BytesIO(b"FROM busybox:test\nRUN echo to be pruned > /x\n"))
    assert "SpaceReclaimed" in client.api.prune_builds()


def wherry(engine: NativeEngine, folder: Path, *arguments: str, stdin: bytes = b"") -> Any:
    """Our own command, which must say and do the same."""
    return subprocess.run(
        [sys.executable, "-c", "from wherry.cli.main import main; main()", "build", *arguments],
        input=stdin,
        cwd=folder,
        capture_output=True,
        env={**os.environ, "WHERRY_HOST": f"unix://{engine.socket}"},
        timeout=60,
        check=False,
    )


def test_wherry_builds_as_docker_does(engine: NativeEngine, docker_cli: str, folder: Path) -> None:
    theirs = build(engine, folder, "-q", ".")
    ours = wherry(engine, folder, "-q", ".")
    # The very same image: both send the same context, and the engine knows it by its contents.
    assert ours.stdout == theirs.stdout, ours.stderr


def test_wherry_builds_from_stdin_and_ends_with_the_status(engine: NativeEngine, folder: Path) -> None:
    result = wherry(engine, folder, "-", stdin=b"FROM busybox:test\nRUN exit 42\n")
    assert result.returncode == 42
    file = b"FROM busybox:test\nCOPY . /c\nRUN ls -a /c\n"
    result = wherry(engine, folder, "-f", "-", "-t", "w:1", "-t", "w:2", "--iidfile", "iid", ".", stdin=file)
    assert result.returncode == 0, result.stderr
    assert b".dockerfile" not in result.stdout
    assert (folder / "iid").read_text() == engine.call("GET", "/images/w:2/json").json["Id"]


def test_wherry_sends_an_archive_on_stdin_as_it_is(engine: NativeEngine, folder: Path) -> None:
    archive = subprocess.run(["tar", "-cz", "."], cwd=folder, check=True, stdout=subprocess.PIPE).stdout
    result = wherry(engine, folder, "-t", "w:tar", "-", stdin=archive)
    assert result.returncode == 0, result.stderr
    assert b"Successfully tagged w:tar" in result.stdout
