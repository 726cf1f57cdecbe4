"""pull, push, search, login, logout: what is asked of the engine, printed and returned."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_cli_verbs
from cli_fake_engine import Answer, FakeEngine, Request
from test_cli_verbs import Wherry

from wherry.cli import progress, references
from wherry.engine.progress import read
from wherry.errors import EngineProblem

engine = test_cli_verbs.engine
wherry = test_cli_verbs.wherry

DIGEST = "sha256:" + "d" * 64


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


def lines(*documents: dict[str, Any]) -> Answer:
    def stream() -> Iterator[bytes]:
        for document in documents:
            yield json.dumps(document).encode() + b"\r\n"

    return Answer(200, stream=stream())


def auth_of(request: Request) -> Any:
    return json.loads(base64.urlsafe_b64decode(request.headers["X-Registry-Auth"]))


PULLED = (
    {"status": "Pulling from library/box", "id": "latest"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "abc"},
    {"status": "Downloading", "progressDetail": {"current": 1, "total": 2}, "id": "abc"},
    {"status": "Pull complete", "progressDetail": {}, "id": "abc"},
    {"status": "Digest: " + DIGEST},
)


def test_pull_prints_what_docker_prints(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("POST", "/images/create", lines(*PULLED))
    result = wherry("pull", "box")
    assert result.status == 0
    assert result.out.splitlines() == [
        "Using default tag: latest",
        "latest: Pulling from library/box",
        "abc: Pulling fs layer",
        "abc: Pull complete",
        f"Digest: {DIGEST}",
        "docker.io/library/box:latest",
    ]
    (asked,) = engine.asked("POST", "/images/create")
    assert asked.query == {"fromImage": ["box"], "tag": ["latest"]}
    assert "X-Registry-Auth" not in asked.headers


def test_quiet_pull_prints_the_name_alone(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("POST", "/images/create", lines(*PULLED))
    assert wherry("pull", "-q", "--platform", "linux/arm64", f"reg:5/a@{DIGEST}").out == f"reg:5/a@{DIGEST}\n"
    (asked,) = engine.asked("POST", "/images/create")
    assert asked.query == {"fromImage": ["reg:5/a"], "tag": [DIGEST], "platform": ["linux/arm64"]}


def test_pull_of_all_tags_sends_no_tag(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("POST", "/images/create", lines(*PULLED))
    assert wherry("pull", "-a", "reg:5/a").status == 0
    assert engine.asked("POST", "/images/create")[0].query == {"fromImage": ["reg:5/a"]}
    refused = wherry("pull", "-a", "reg:5/a:1")
    assert (refused.status, "tag can't be used with --all-tags" in refused.err) == (1, True)


def test_failed_pull_is_an_error_also_when_quiet(engine: FakeEngine, wherry: Wherry) -> None:
    for words in (("pull", "x"), ("pull", "-q", "x")):
        engine.on(
            "POST", "/images/create", lines(PULLED[0], {"errorDetail": {"message": "it broke"}, "error": "x"})
        )
        result = wherry(*words)
        assert (result.status, "it broke" in result.err) == (1, True)


def test_push_sends_the_login_of_that_registry_only(engine: FakeEngine, wherry: Wherry, config: Path) -> None:
    config.write_text(json.dumps({"auths": {"reg:5": {"auth": base64.b64encode(b"me:pw").decode()}}}))
    for name in ("reg:5/a/b", "other:5/a/b"):
        engine.on(
            "POST", f"/images/{name}/push", lines({"status": "Pushed", "id": "x"}, {"aux": {"Tag": "1"}})
        )
        assert wherry("push", f"{name}:1").out == "x: Pushed\n"
    mine, theirs = engine.asked("POST", "/images/reg:5/a/b/push") + engine.asked(
        "POST", "/images/other:5/a/b/push"
    )
    assert auth_of(mine) == {"username": "me", "password": "pw", "serveraddress": "reg:5"}
    assert mine.query == {"tag": ["1"]}
    assert "X-Registry-Auth" not in theirs.headers


def test_push_names_its_platform_as_the_api_wants_it(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("POST", "/images/a/push", lines({"status": "x"}))
    assert wherry("push", "-q", "--platform", "linux/arm/v7", "a").out == "docker.io/library/a:latest\n"
    (asked,) = engine.asked("POST", "/images/a/push")
    assert json.loads(asked.query["platform"][0]) == {"os": "linux", "architecture": "arm", "variant": "v7"}
    assert wherry("push", f"a@{DIGEST}").status == 1
    assert wherry("push", "--platform", "linux", "a").status == 1


def test_push_of_all_tags(engine: FakeEngine, wherry: Wherry) -> None:
    engine.on("POST", "/images/reg:5/a/push", lines({"status": "x"}))
    assert wherry("push", "-a", "reg:5/a").status == 0
    assert engine.asked("POST", "/images/reg:5/a/push")[0].query == {}


def test_run_pulls_a_missing_image_as_whoever_is_logged_in(
    engine: FakeEngine, wherry: Wherry, config: Path
) -> None:
    config.write_text(json.dumps({"auths": {"reg:5": {"auth": base64.b64encode(b"me:pw").decode()}}}))
    answers = iter([Answer(404, {"message": "No such image: reg:5/a:1"}), Answer(201, {"Id": "c" * 64})])
    engine.on("POST", "/containers/create", lambda _: next(answers))
    engine.on("POST", "/images/create", lines(*PULLED))
    result = wherry("create", "reg:5/a:1")
    assert (result.status, result.out) == (0, "c" * 64 + "\n")
    assert "Unable to find image 'reg:5/a:1' locally" in result.err
    assert auth_of(engine.asked("POST", "/images/create")[0])["username"] == "me"


def test_search_is_dockers_table(engine: FakeEngine, wherry: Wherry) -> None:
    found = [
        {"name": "mysql", "description": "A\nvery " + "long " * 20, "star_count": 15, "is_official": True},
        {"name": "me/mysql", "description": "", "star_count": 0, "is_official": False},
    ]
    engine.on("GET", "/images/search", Answer(200, found))
    result = wherry("search", "--limit", "5", "-f", "stars=3", "reg:5/mysql")
    assert result.out.splitlines() == [
        "NAME       DESCRIPTION                                     STARS     OFFICIAL",
        "mysql      A very long long long long long long long lo…   15        [OK]",
        "me/mysql                                                   0         ",
    ]
    (asked,) = engine.asked("GET", "/images/search")
    assert asked.query == {"term": ["reg:5/mysql"], "limit": ["5"], "filters": ['{"stars": {"3": true}}']}
    assert wherry("search", "--format", "{{.Name}}:{{.StarCount}}", "x").out == "mysql:15\nme/mysql:0\n"


def test_login_proves_first_and_then_keeps(engine: FakeEngine, wherry: Wherry, config: Path) -> None:
    engine.on("POST", "/auth", Answer(401, {"message": "unauthorized: incorrect username or password"}))
    refused = wherry("login", "-u", "me", "--password-stdin", "reg:5", stdin=b"wrong\n")
    assert (refused.status, "incorrect username or password" in refused.err) == (1, True)
    assert not config.exists()
    engine.on("POST", "/auth", Answer(200, {"Status": "Login Succeeded", "IdentityToken": ""}))
    result = wherry("login", "-u", "me", "--password-stdin", "https://reg:5/", stdin=b"p w\r\n")
    assert result.out == "Login Succeeded\n"
    assert f"stored unencrypted in '{config}'" in result.err
    sent = engine.asked("POST", "/auth")[-1].json
    assert sent == {"username": "me", "password": "p w", "serveraddress": "reg:5"}
    assert json.loads(config.read_text()) == {
        "auths": {"reg:5": {"auth": base64.b64encode(b"me:p w").decode()}}
    }
    again = wherry("login", "reg:5")
    assert "existing credentials... [Username: me]" in again.out
    assert again.out.endswith("Login Succeeded\n")


def test_login_to_docker_hub_keeps_its_token(engine: FakeEngine, wherry: Wherry, config: Path) -> None:
    engine.on("POST", "/auth", Answer(200, {"Status": "Login Succeeded", "IdentityToken": "tok"}))
    assert wherry("login", "-u", "me", "-p", "pw").status == 0
    assert json.loads(config.read_text())["auths"]["https://index.docker.io/v1/"]["identitytoken"] == "tok"
    assert (
        "pw"
        not in base64.b64decode(
            json.loads(config.read_text())["auths"]["https://index.docker.io/v1/"]["auth"]
        ).decode()
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--password-stdin",), "requires --username"),
        (("-u", "me", "-p", "x", "--password-stdin"), "mutually exclusive"),
        (("-u", "me"), "non TTY device"),
        ((), "non TTY device"),
    ],
)
def test_login_that_cannot_ask_says_what_to_give(
    engine: FakeEngine, wherry: Wherry, words: tuple[str, ...], message: str
) -> None:
    result = wherry("login", *words, "reg:5")
    assert result.status == 1
    assert message in result.err
    assert not engine.asked("POST", "/auth")


def test_logout_forgets(engine: FakeEngine, wherry: Wherry, config: Path) -> None:
    config.write_text(
        '{"auths": {"reg:5": {"auth": "eDp5"}, "https://index.docker.io/v1/": {"auth": "eDp5"}}}'
    )
    assert wherry("logout", "reg:5").out == "Removing login credentials for reg:5\n"
    assert wherry("logout").out == "Removing login credentials for https://index.docker.io/v1/\n"
    assert wherry("logout", "reg:5").out == "Removing login credentials for reg:5\n"
    assert json.loads(config.read_text()) == {"auths": {}}


@pytest.mark.parametrize(
    ("name", "domain", "canonical"),
    [
        ("mysql", "docker.io", "docker.io/library/mysql:1"),
        ("me/mysql", "docker.io", "docker.io/me/mysql:1"),
        ("docker.io/me/mysql", "docker.io", "docker.io/me/mysql:1"),
        ("index.docker.io/mysql", "docker.io", "docker.io/library/mysql:1"),
        ("localhost/a", "localhost", "localhost/a:1"),
        ("reg.example:5/a/b", "reg.example:5", "reg.example:5/a/b:1"),
        ("UPPER/a", "UPPER", "UPPER/a:1"),
    ],
)
def test_names_belong_to_the_registry_that_the_engine_asks(name: str, domain: str, canonical: str) -> None:
    assert references.domain(name) == domain
    assert references.canonical(name, "1") == canonical
    assert references.canonical(name, "") == canonical.removesuffix(":1")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_terminal_gets_a_bar_per_layer_and_the_rest_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    out = Terminal()
    sent = b"".join(json.dumps(line).encode() + b"\r\n" for line in (*PULLED, {"aux": {}}, *PULLED[:2]))
    progress.show(read([sent]), out)
    shown = out.getvalue()
    assert "2/2 bytes" in shown, "a finished layer's bar is full"
    first, _, second = shown.partition(f"Digest: {DIGEST}\n")
    assert first.rindex("latest: Pulling from library/box") < first.rindex("abc: Pull complete")
    assert "abc: Pulling fs layer" in second
    assert "Pull complete" not in second
    assert second.rindex("\x1b[?25h") > second.rindex("\x1b[?25l"), "the cursor comes back"


def test_terminal_shows_what_came_before_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    sent = json.dumps(PULLED[2]).encode() + b'\r\n{"errorDetail": {"message": "it broke"}}\r\n'
    with pytest.raises(EngineProblem, match="it broke"):
        progress.show(read([sent]), out)
    assert "abc: Downloading" in out.getvalue()
