"""What docker's config.json asks for holds for Wherry too."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_call import wherry
from cli_fake_engine import Answer, FakeEngine, fake_engine

from wherry.cli import preferences

Configure = Callable[..., None]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configure:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def write(**fields: Any) -> None:
        (tmp_path / "config.json").write_text(json.dumps(fields))

    return write


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    with fake_engine() as made:
        monkeypatch.setenv("WHERRY_HOST", made.url)
        listed = [{"Id": "a" * 64, "Names": ["/db"], "Created": 1}]
        made.on("GET", "/containers/json", Answer(200, listed))
        made.on("GET", "/images/json", Answer(200, [{"Id": "sha256:1", "RepoTags": ["a:1"], "Created": 1}]))
        made.on("GET", "/networks", Answer(200, [{"Id": "b" * 64, "Name": "back"}]))
        made.on("GET", "/volumes", Answer(200, {"Volumes": [{"Name": "data"}]}))
        made.on("POST", "/containers/create", Answer(201, {"Id": "c" * 64, "Warnings": []}))
        yield made


def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    status, out, err = wherry(monkeypatch, capfd, *arguments)
    assert status == 0, err
    return out


@pytest.mark.parametrize(
    ("field", "command", "form", "shown"),
    [
        ("psFormat", ["ps"], "{{.Names}}!", "db!\n"),
        ("imagesFormat", ["images"], "{{.Repository}}!", "a!\n"),
        ("networksFormat", ["network", "ls"], "{{.Name}}!", "back!\n"),
        ("volumesFormat", ["volume", "ls"], "{{.Name}}!", "data!\n"),
    ],
)
def test_formats_are_used_unless_another_is_given(
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    configure: Configure,
    field: str,
    command: list[str],
    form: str,
    shown: str,
) -> None:
    configure(**{field: form})
    assert run(monkeypatch, capfd, *command) == shown
    assert run(monkeypatch, capfd, *command, "--format", "x") == "x\n"
    assert shown not in run(monkeypatch, capfd, *command, "-q")


def test_proxies_reach_new_containers(
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    configure: Configure,
) -> None:
    configure(proxies={"default": {"httpProxy": "http://p:1", "noProxy": "a,b", "other": "x"}})
    run(monkeypatch, capfd, "create", "-e", "NO_PROXY=mine", "img")
    env = engine.requests[-1].json["Env"]
    assert env == ["NO_PROXY=mine", "HTTP_PROXY=http://p:1", "http_proxy=http://p:1", "no_proxy=a,b"]


def test_proxies_reach_builds(
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    configure: Configure,
    tmp_path: Path,
) -> None:
    configure(proxies={"default": {"httpProxy": "http://p:1", "httpsProxy": "http://p:2"}})
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    engine.on("POST", "/build", Answer(200, {"stream": "done\n"}))
    run(monkeypatch, capfd, "build", "--build-arg", "HTTPS_PROXY=mine", str(tmp_path))
    sent = json.loads(engine.asked("POST", "/build")[-1].query["buildargs"][0])
    assert sent == {
        "HTTPS_PROXY": "mine", "HTTP_PROXY": "http://p:1", "http_proxy": "http://p:1",
        "https_proxy": "http://p:2",
    }  # fmt: skip


def test_proxies_of_one_engine_come_before_the_common_ones(configure: Configure) -> None:
    configure(proxies={"tcp://x:1": {"ftpProxy": "f"}, "default": {"httpProxy": "h"}})
    assert preferences.proxies("tcp://x:1", ()) == ["FTP_PROXY=f", "ftp_proxy=f"]
    assert preferences.proxies("tcp://y:1", ["HTTP_PROXY=mine"]) == ["http_proxy=h"]


def test_prune_filters_hold_unless_the_command_says_otherwise(configure: Configure) -> None:
    configure(pruneFilters=["label=a", "label!=keep", "until=24h", 5])
    assert preferences.prune_filters([("until", "1h")]) == [
        ("until", "1h"), ("label", "a"), ("label!", "keep"),
    ]  # fmt: skip
    assert preferences.prune_filters([("label!", "a"), ("label", "keep")]) == [
        ("label!", "a"), ("label", "keep"),
    ]  # fmt: skip


def test_headers_go_with_every_request(
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    configure: Configure,
) -> None:
    configure(HttpHeaders={"X-Team": "blue", "User-Agent": "mine", "Host": "evil", "Content-Length": "9"})
    run(monkeypatch, capfd, "create", "img")
    for request in engine.requests:
        assert (request.headers["X-Team"], request.headers["User-Agent"]) == ("blue", "mine")
        assert request.headers["Host"] == "docker"


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", '{"psFormat": 5, "proxies": []}', '{"proxies": {"default": 1}}']
)
def test_a_file_that_says_nothing_useful_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert preferences.text("psFormat") == ""
    assert preferences.proxies("unix:///x", ()) == []
