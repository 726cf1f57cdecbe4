"""Sources in git repositories, from a real git daemon on loopback; and contexts from web servers."""

import io
import json
import os
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from builder_rig import build, built, context, saved, served, shell, tree
from native_engine import NativeEngine
from test_builder_outputs import wherry

pytestmark = pytest.mark.root


def git(folder: Path, *arguments: str) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "protocol.file.allow",
        "GIT_CONFIG_VALUE_0": "always",
        **{
            f"GIT_{who}_{what}": "test@example"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
        "GIT_AUTHOR_DATE": "1700000000 +0000",
        "GIT_COMMITTER_DATE": "1700000000 +0000",
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class Repository:
    url: str
    first: str


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """Two commits; the tag v1 (annotated) is the first; a submodule, a link, a program, a folder."""
    base = tmp_path_factory.mktemp("git")
    module, work = base / "module", base / "work"
    for folder in (module, work):
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main")
    (module / "in-module").write_text("module")
    git(module, "add", ".")
    git(module, "commit", "-qm", "module")
    (work / "app").mkdir()
    (work / "app" / "Dockerfile").write_text("FROM busybox:test\nCOPY . /ctx\n")
    (work / "app" / "run").write_text("#!/bin/sh\n")
    (work / "app" / "run").chmod(0o755)
    (work / "Dockerfile").write_text("FROM busybox:test\nCOPY app/run /\n")
    (work / "link").symlink_to("/etc/passwd")
    git(work, "add", ".")
    git(work, "commit", "-qm", "first")
    git(work, "tag", "-a", "v1", "-m", "one")
    first = git(work, "rev-parse", "HEAD")
    (work / "app" / "second").write_text("2")
    git(work, "submodule", "add", "-q", "../module", "sub")
    git(work, "add", ".")
    git(work, "commit", "-qm", "second")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A stranger's commit is given only when asked for by a name, unless the server allows it.
    git(work, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(module, "config", "uploadpack.allowAnySHA1InWant", "true")
    program = Path(git(base, "--exec-path")) / "git-daemon"
    daemon = subprocess.Popen(
        [program, f"--base-path={base}", "--export-all", "--listen=127.0.0.1", f"--port={port}", base],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield Repository(f"git://127.0.0.1:{port}/work", first)
    finally:
        daemon.terminate()
        daemon.wait(10)


def test_add_takes_a_repository_with_its_submodules(engine: NativeEngine, repository: Repository) -> None:
    file = f"FROM busybox:test\nADD {repository.url} /src/\n"
    built(engine, {"Dockerfile": file}, t="git:1")
    found = tree(saved(engine, "git:1"))
    assert {"src/app/second", "src/sub/in-module", "src/.gitmodules"} <= set(found)
    assert shell(engine, "git:1", "readlink /src/link; cat /src/sub/in-module; stat -c %a /src/app/run") == (
        "/etc/passwd\nmodule755\n"
    )
    assert "Using cache" in built(engine, {"Dockerfile": file}).text


@pytest.mark.parametrize("ref", ["v1", "commit", "?tag=v1", "?ref=v1&subdir="])
def test_a_ref_is_a_branch_a_tag_or_a_commit(engine: NativeEngine, repository: Repository, ref: str) -> None:
    suffix = ref if ref.startswith("?") else "#" + ref.replace("commit", repository.first)
    file = f"FROM busybox:test\nADD {repository.url}{suffix} /src/\n"
    built(engine, {"Dockerfile": file}, t="git:2")
    assert (
        shell(engine, "git:2", "ls /src /src/app")
        == "/src:\nDockerfile\napp\nlink\n\n/src/app:\nDockerfile\nrun\n"
    )


def test_a_folder_of_a_repository_and_its_checksum(engine: NativeEngine, repository: Repository) -> None:
    good = f"FROM scratch\nADD --checksum={repository.first[:12]} {repository.url}#v1:app /\n"
    built(engine, {"Dockerfile": good}, t="git:3")
    assert {"Dockerfile", "run"} == {name for name, entry in tree(saved(engine, "git:3")).items()}
    bad = build(engine, {"Dockerfile": good.replace("v1", "main")})
    assert f"expected {repository.first[:12]}" in bad.error["message"]


@pytest.mark.parametrize(("ref", "head"), [("#main", "refs/heads/main"), ("#v1", "v1"), ("", "commit")])
def test_a_kept_git_folder_is_one_that_git_can_read(
    engine: NativeEngine, repository: Repository, tmp_path: Path, ref: str, head: str
) -> None:
    file = f"FROM scratch\nADD --keep-git-dir=true {repository.url}{ref} /\n"
    built(engine, {"Dockerfile": file}, t="git:kept")
    assert "Using cache" in built(engine, {"Dockerfile": file}).text
    with tarfile.open(fileobj=io.BytesIO(saved(engine, "git:kept"))) as outer:
        manifest = outer.extractfile("manifest.json")
        assert manifest is not None
        layer = outer.extractfile(json.load(manifest)[0]["Layers"][0])
        assert layer is not None
        with tarfile.open(fileobj=layer) as inner:
            inner.extractall(tmp_path)  # noqa: S202 - made by this test
    assert git(tmp_path, "fsck", "--strict") == ""
    assert git(tmp_path, "status", "--porcelain", "--ignore-submodules") == ""
    assert git(tmp_path, "config", "remote.origin.url") == repository.url
    if head.startswith("refs/"):
        assert git(tmp_path, "symbolic-ref", "HEAD") == head
    elif head == "v1":
        assert git(tmp_path, "describe") == "v1"
        assert git(tmp_path, "rev-parse", "HEAD") == repository.first
    else:
        assert len(git(tmp_path, "rev-parse", "HEAD")) == 40


def test_a_git_context_keeps_its_folder_when_it_is_asked_to(
    engine: NativeEngine, repository: Repository
) -> None:
    for keep, expected in (("1", ".git\n"), ("0", "")):
        arguments = json.dumps({"BUILDKIT_CONTEXT_KEEP_GIT_DIR": keep})
        built(
            engine, b"", remote=f"{repository.url}#v1", dockerfile="app/Dockerfile", buildargs=arguments,
            t="git:6",
        )  # fmt: skip
        assert shell(engine, "git:6", "cd /ctx; ls -d .git 2>/dev/null; true") == expected


@pytest.mark.parametrize(
    ("suffix", "problem"),
    [
        ("#nope", 'there is no branch, tag or commit "nope"'),
        ("#v1:nope", "there is no folder nope"),
        ("#v1:../etc", "is not in the repository"),
        ("-missing", "git://127.0.0.1"),
    ],
)
def test_what_is_not_in_a_repository_is_named(
    engine: NativeEngine, repository: Repository, suffix: str, problem: str
) -> None:
    found = build(engine, {"Dockerfile": f"FROM scratch\nADD {repository.url}{suffix} /\n"})
    assert problem in found.error["message"]


def test_a_repository_is_a_context(engine: NativeEngine, repository: Repository) -> None:
    built(engine, b"", remote=f"{repository.url}#main:app", t="git:4")
    assert shell(engine, "git:4", "ls /ctx") == "Dockerfile\nrun\nsecond\n"
    built(engine, b"", remote=f"{repository.url}#v1", dockerfile="app/Dockerfile", t="git:5")
    assert shell(engine, "git:5", "ls /ctx") == "Dockerfile\napp\nlink\n"


@pytest.fixture
def web() -> Iterator[str]:
    """/context.tar and /Dockerfile."""
    files = {
        "/context.tar": context({"Dockerfile": "FROM busybox:test\nCOPY f /\n", "f": "from the web"}),
        "/any": b"FROM busybox:test\nRUN echo alone > /f\n",
    }
    with served(files) as url:
        yield url


def test_an_archive_or_a_dockerfile_on_the_web_is_a_context(engine: NativeEngine, web: str) -> None:
    built(engine, b"", remote=f"{web}/context.tar", t="web:1")
    assert shell(engine, "web:1", "cat /f") == "from the web"
    built(engine, b"", remote=f"{web}/any", t="web:2")
    assert shell(engine, "web:2", "cat /f") == "alone\n"
    missing = build(engine, b"", remote=f"{web}/nope")
    assert missing.status == 400
    assert "the server answers 404" in missing.text


def test_a_repository_is_a_named_context(engine: NativeEngine, repository: Repository) -> None:
    file = "FROM busybox:test\nCOPY --from=app run /run-it\nRUN --mount=from=APP,target=/m ls /m > /seen\n"
    for ref, seen in (("v1", "Dockerfile\nrun\n"), ("main", "Dockerfile\nrun\nsecond\n")):
        contexts = json.dumps({"app": f"{repository.url}#{ref}:app"})
        built(engine, {"Dockerfile": file}, contexts=contexts, t="git:7")
        assert shell(engine, "git:7", "cat /seen; test -x /run-it") == seen
    # What the second commit did not change is copied once, wherever it comes from.
    contexts = json.dumps({"app": f"{repository.url}#v1:app"})
    assert built(engine, {"Dockerfile": file}, contexts=contexts).text.count("Using cache") == 2
    wrong = build(engine, {"Dockerfile": file}, contexts=json.dumps({"app": f"{repository.url}#nope"}))
    assert 'there is no branch, tag or commit "nope"' in wrong.error["message"]


def test_our_command_takes_repositories_archives_and_dockerfiles_on_the_web(
    engine: NativeEngine, repository: Repository, web: str, tmp_path: Path
) -> None:
    def done(*arguments: str) -> None:
        result = wherry(engine, tmp_path, *arguments)
        assert result.returncode == 0, result.stderr

    done("-t", "url:1", f"{repository.url}#main:app")
    assert shell(engine, "url:1", "ls /ctx") == "Dockerfile\nrun\nsecond\n"
    done("-t", "url:2", "-f", "app/Dockerfile", f"{repository.url}#v1")
    assert shell(engine, "url:2", "ls /ctx") == "Dockerfile\napp\nlink\n"
    done("-t", "url:3", f"{web}/context.tar")
    assert shell(engine, "url:3", "cat /f") == "from the web"
    done("-t", "url:4", f"{web}/any")
    assert shell(engine, "url:4", "cat /f") == "alone\n"
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY --from=lib run /\n")
    done("-t", "url:5", "--build-context", f"lib={repository.url}#v1:app", ".")
    assert "run" in tree(saved(engine, "url:5"))
