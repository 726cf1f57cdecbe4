"""`wherry context`: names for engines, in docker's own files, and which of them a command goes to."""

import io
import json
import sys
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import certificates
import pytest
from cli_call import wherry
from cli_fake_engine import Answer, FakeEngine, fake_engine

from wherry.engine.contexts import ContextStore, endpoint

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    for name in ("WHERRY_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.chdir(tmp_path)

    return partial(wherry, monkeypatch, capfd)


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as made:
        made.on("GET", "/containers/json", Answer(200, [{"Id": "a" * 64, "Names": ["/far"], "Created": 1}]))
        yield made


def names(run: Run, *options: str) -> tuple[int, str]:
    return run(*options, "ps", "--format", "{{.Names}}")[:2]


def test_the_engine_is_the_context_s(run: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("context", "create", "far", "--docker", f"host={engine.url}")[:2] == (0, "far\n")
    assert names(run, "-c", "far") == (0, "far\n")
    assert run("context", "use", "far")[0] == 0
    assert names(run) == (0, "far\n")
    assert run("context", "show") == (0, "far\n", "")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/d.sock")
    assert names(run)[0] == 1  # the environment's address comes first
    assert names(run, "--context", "far") == (0, "far\n")
    monkeypatch.delenv("DOCKER_HOST")
    assert run("context", "use", "default")[0] == 0
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    assert names(run) == (0, "far\n")


def test_an_address_and_a_context_contradict_each_other(run: Run) -> None:
    status, _, err = run("-H", "unix:///x", "-c", "far", "ps")
    assert (status, "cannot specify both --host and --context" in err) == (1, True)
    status, _, err = run("-c", "nope", "ps")
    assert (status, "wherry context ls" in err) == (1, True)


def test_certificates_are_kept_with_it(run: Run, tmp_path: Path) -> None:
    certs = certificates.make(tmp_path / "certs")
    with fake_engine(certs.server()) as engine:
        engine.on("GET", "/containers/json", Answer(200, []))
        files = f"ca={certs['ca.pem']},cert={certs['cert.pem']},key={certs['key.pem']}"
        assert run("context", "create", "safe", "--docker", f"host={engine.url},{files}")[0] == 0
        for file in ("ca.pem", "cert.pem", "key.pem"):
            Path(certs[file]).unlink()
        assert names(run, "-c", "safe") == (0, "")
        assert run("context", "export", "safe")[0] == 0
        assert run("context", "rm", "safe")[0] == 0
        assert run("context", "import", "again", "safe.dockercontext")[0] == 0
        assert names(run, "-c", "again") == (0, "")
    found = endpoint("again")
    assert found.tls is not None
    assert found.tls.verify
    if sys.platform != "win32":
        assert (tmp_path / "safe.dockercontext").stat().st_mode & 0o777 == 0o600
        assert Path(found.tls.key).stat().st_mode & 0o777 == 0o600


def test_it_is_shown_changed_and_removed(run: Run) -> None:
    assert run("context", "create", "far", "--docker", "host=tcp://h:1", "--description", "one")[0] == 0
    assert run("context", "update", "far", "--description", "two")[0] == 0
    assert run("context", "create", "copy", "--from", "far")[0] == 0
    form = "{{.Metadata.Description}} {{.Endpoints.docker.Host}}"
    assert run("context", "inspect", "-f", form, "copy") == (0, "two tcp://h:1\n", "")
    assert json.loads(run("context", "inspect", "far", "nope")[1])[0]["Name"] == "far"
    assert run("context", "ls", "-q")[1] == "default\ncopy\nfar\n"
    assert run("context", "use", "far")[0] == 0
    status, _, err = run("context", "rm", "far")
    assert (status, "in use" in err) == (1, True)
    assert run("context", "rm", "-f", "far", "nope")[0] == 0
    assert run("context", "show")[1] == "default\n"
    assert [each.name for each in ContextStore().all()] == ["copy"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("create", "default"), "reserved"),
        (("create", "a/../b"), "is invalid"),
        (("create", "xx", "--docker", "host=foo://h"), "no such scheme"),
        (("create", "xx", "--docker", "hots=tcp://h"), "unrecognized config key: hots"),
        (("create", "xx", "--docker", "host=tcp://h,ca=/nonexistent"), "open /nonexistent"),
        (("create", "xx", "--docker", "host=tcp://h", "--from", "default"), "--from"),
        (("update", "nope", "--description", "x"), "context not found"),
        (("use", "nope"), "context not found"),
        (("rm", "default"), "cannot be removed"),
        (("rm", "nope"), "does not exist"),
        (("export", "nope"), "not found"),
        (("import", "xx", "/nonexistent"), "no such file"),
    ],
)
def test_what_cannot_be_done_says_why(run: Run, given: tuple[str, ...], said: str) -> None:
    status, out, err = run("context", *given)
    assert (status, out) == (1, "")
    assert said in err
    assert list(ContextStore().all()) == []


def test_archives_that_are_none_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no archive")
    assert run("context", "import", "xx", "x")[0] == 1
    with tarfile.open(tmp_path / "y", "w") as archive:
        entry = tarfile.TarInfo("../meta.json")
        entry.size = 2
        archive.addfile(entry, io.BytesIO(b"{}"))
    status, _, err = run("context", "import", "xx", "y")
    assert (status, "no meta.json" in err) == (1, True)
    assert list(ContextStore().all()) == []


def test_a_broken_file_is_named(run: Run) -> None:
    store = ContextStore()
    store.meta_folder("bad").mkdir(parents=True)
    (store.meta_folder("bad") / "meta.json").write_text("{")
    status, _, err = run("-c", "bad", "ps")
    assert (status, "mend it or remove its folder" in err) == (1, True)
