"""What users have of registries, by our client and by docker's: helpers, tags, mirrors, search, bars."""

import base64
import contextlib
import json
import os
import pty
import random
import re
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import registry_fixtures
from crashes_rig import image_archive
from images_rig import archive, entry
from native_engine import IMAGE, NativeEngine
from registry_rig import PASSWORD, USER, RealRegistry, free_port
from serving import serving

pytestmark = pytest.mark.root

_SECONDS = 60
#: docker-credential-shelf: each login in a file, each call in a log. SHELF is its folder.
_HELPER = r"""#!/bin/sh
echo "$1" >> "$SHELF/calls"
given=$(cat)
key() { printf %s "$1" | tr -c 'a-zA-Z0-9\n' _; }
case $1 in
store) server=$(printf %s "$given" | sed 's/.*"ServerURL": *"\([^"]*\)".*/\1/')
       printf %s "$given" > "$SHELF/login-$(key "$server")" ;;
get) cat "$SHELF/login-$(key "$given")" 2>/dev/null || {
       echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm "$SHELF/login-$(key "$given")" ;;
esac
"""


class User:
    """A shell with a config folder of its own, `wherry` and `docker` on one engine."""

    def __init__(self, engine: NativeEngine, home: Path) -> None:
        self.config = home / "config.json"
        self.shelf = home / "shelf"
        self.shelf.mkdir()
        programs = home / "bin"
        programs.mkdir()
        helper = programs / "docker-credential-shelf"
        helper.write_text(_HELPER)
        helper.chmod(0o755)
        self.env = {
            **os.environ,
            "WHERRY_HOST": f"unix://{engine.socket}",
            "DOCKER_HOST": f"unix://{engine.socket}",
            "DOCKER_CONFIG": str(home),
            "SHELF": str(self.shelf),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        }

    def __call__(self, program: str, *words: str, stdin: bytes = b"", status: int = 0) -> str:
        command = _WHERRY if program == "wherry" else [program]
        done = subprocess.run(
            [*command, *words],
            input=stdin, capture_output=True, env=self.env, timeout=_SECONDS, check=False,
        )  # fmt: skip
        said = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == status, (words, said)
        return said

    def on_terminal(self, *words: str) -> str:
        """What `wherry` writes to a terminal, with its escape sequences."""
        main, side = pty.openpty()
        environment = {**self.env, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        with subprocess.Popen(
            [*_WHERRY, *words], stdin=side, stdout=side, stderr=side, env=environment
        ) as process:
            os.close(side)
            shown = b""
            try:
                while select.select([main], [], [], _SECONDS)[0]:
                    with contextlib.suppress(OSError):  # EIO: the last writer is gone
                        if data := os.read(main, 65536):
                            shown += data
                            continue
                    break
            finally:
                os.close(main)
                process.kill()
        return shown.decode()


_WHERRY = [sys.executable, "-c", "from wherry.cli.main import main; main()"]


@pytest.fixture
def user(engine: NativeEngine, tmp_path: Path) -> User:
    return User(engine, tmp_path)


registry = registry_fixtures.registry
locked = registry_fixtures.locked


@pytest.fixture(autouse=True)
def only_busybox(engine: NativeEngine) -> Iterator[None]:
    yield
    forget_all(engine)
    engine.import_busybox()


def forget_all(engine: NativeEngine) -> None:
    for image in engine.call("GET", "/images/json", all="1").json:
        assert engine.call("DELETE", f"/images/{image['Id']}", force="1").status == 200


# credential helpers


@pytest.mark.usefixtures("docker_cli")
@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_helper_keeps_the_login_that_wherry_and_docker_both_push_with(
    engine: NativeEngine, user: User, locked: RealRegistry, key: str
) -> None:
    name = f"{locked.host}/helped/{key.lower()}:1"
    user.config.write_text(json.dumps({key: "shelf" if key == "credsStore" else {locked.host: "shelf"}}))
    repository, _, tag = name.rpartition(":")
    layer = archive(entry("by", key.encode()))
    engine.call("POST", "/images/create", layer, fromSrc="-", repo=repository, tag=tag)
    user("wherry", "push", name, status=1)
    said = user("wherry", "login", "-u", USER, "--password-stdin", locked.host, stdin=PASSWORD.encode())
    assert "Login Succeeded" in said
    assert "unencrypted" not in said
    assert PASSWORD not in user.config.read_text()
    (kept,) = user.shelf.glob("login-*")
    assert json.loads(kept.read_text()) == {"ServerURL": locked.host, "Username": USER, "Secret": PASSWORD}
    assert "Pushed" in user("wherry", "push", name)
    assert "Layer already exists" in user("docker", "push", name)
    assert "Removing login credentials" in user("wherry", "logout", locked.host)
    assert not list(user.shelf.glob("login-*"))
    assert set((user.shelf / "calls").read_text().split()) == {"store", "get", "erase"}
    user("docker", "push", name, status=1)
    user("docker", "login", "-u", USER, "--password-stdin", locked.host, stdin=PASSWORD.encode())
    assert "Layer already exists" in user("wherry", "push", name)


def test_helper_that_fails_is_told_and_nothing_is_asked_as_nobody(
    engine: NativeEngine, user: User, locked: RealRegistry
) -> None:
    user.config.write_text('{"credsStore": "shelf"}')
    helper = Path(user.env["PATH"].partition(os.pathsep)[0]) / "docker-credential-shelf"
    helper.write_text("#!/bin/sh\necho the keychain is locked >&2\nexit 1\n")
    name = f"{locked.host}/none:1"
    before = locked.log.read_text()
    for words in (("pull", name), ("push", name), ("run", name), ("search", f"{locked.host}/x")):
        said = user("wherry", *words, status=125 if words[0] == "run" else 1)
        assert "docker-credential-shelf get: the keychain is locked" in said
    assert locked.log.read_text() == before, "the registry was not even asked"
    helper.unlink()
    said = user("wherry", "pull", name, status=1)
    assert "docker-credential-shelf is named in docker's config file, but not installed" in said


# all tags


@pytest.mark.usefixtures("docker_cli")
def test_all_tags_go_and_come_with_one_command(
    engine: NativeEngine, user: User, registry: RealRegistry
) -> None:
    said: dict[str, tuple[list[str], list[str]]] = {}
    for program in ("wherry", "docker"):
        name = f"{registry.host}/all/{program}"
        layers = {tag: archive(entry(program, tag.encode())) for tag in ("1", "two", "3.0")}
        for tag, layer in layers.items():
            answer = engine.call("POST", "/images/create", layer, fromSrc="-", repo=name, tag=tag)
            assert answer.status == 200, answer.text
        pushed = user(program, "push", "--all-tags", name)
        digests = {tag: registry.manifest(f"all/{program}:{tag}")[0] for tag in layers}
        for tag, digest in digests.items():
            assert f"{tag}: digest: {digest}" in pushed
        forget_all(engine)
        pulled = user(program, "pull", "--all-tags", name)
        for digest in digests.values():
            assert f"Digest: {digest}" in pulled
        listed = user(program, "images", "--digests", "--format", "{{.Tag}} {{.Digest}}", name).splitlines()
        assert sorted(listed) == sorted(f"{tag} {digest}" for tag, digest in digests.items())
        said[program] = (_without_ids(pushed, program), _without_ids(pulled, program))
    assert said["wherry"] == said["docker"]
    assert "tag can't be used with --all-tags" in user("wherry", "pull", "-a", f"{name}:1", status=1)
    absent = user("wherry", "pull", "-a", f"{registry.host}/no/such", status=1)
    assert "repository name not known to registry" in absent


def _without_ids(text: str, program: str) -> list[str]:
    """Lines in no order; layers come as they like."""
    text = re.sub(r"\b(sha256:)?[0-9a-f]{12,64}\b", "ID", text).replace(f"all/{program}", "all/it")
    return sorted(line for line in text.splitlines() if "Preparing" not in line and "Waiting" not in line)


# uploads


def test_large_layer_goes_up_in_pieces_and_comes_back_the_same(
    engine: NativeEngine, user: User, registry: RealRegistry
) -> None:
    name = f"{registry.host}/large:1"
    noise = random.Random(4).randbytes(33 << 20)  # noqa: S311 - no secret
    layer = archive(entry("noise", noise))
    answer = engine.call("POST", "/images/create", layer, fromSrc="-", repo=name.rpartition(":")[0], tag="1")
    assert answer.status == 200, answer.text
    image_id = engine.call("GET", f"/images/{name}/json").json["Id"]
    seen = len(registry.log.read_text())
    user("wherry", "push", name)
    asked = registry.log.read_text()[seen:]
    assert len(re.findall(r'"PATCH /v2/large/blobs/uploads/[^"]*" 202', asked)) == 2, "33 MiB in two pieces"
    # The config has some hundred bytes and goes in one request; both are ended by a PUT.
    assert len(re.findall(r'"PUT /v2/large/blobs/uploads/[^"]*" 201', asked)) == 2
    forget_all(engine)
    user("wherry", "pull", "-q", name)
    assert engine.call("GET", f"/images/{name}/json").json["Id"] == image_id


# a terminal


def test_pull_on_a_terminal_has_a_live_bar_per_layer_and_elsewhere_lines(
    engine: NativeEngine, user: User, registry: RealRegistry
) -> None:
    name = f"{registry.host}/bars:1"
    assert engine.call("POST", "/images/load", image_archive(name, 4)).status == 200
    user("wherry", "push", "-q", name)
    layers = [layer["digest"][7:19] for layer in registry.manifest("bars:1")[1]["layers"]]
    forget_all(engine)
    shown = user.on_terminal("pull", name)
    for layer in layers:
        assert (
            len(re.findall(rf"{layer}: (?:Downloading|Extracting|Pull complete|Already exists)", shown)) >= 1
        )
    assert "\x1b[" in shown
    assert "━" in shown
    assert re.search(r"\d+(\.\d+)?/\d+(\.\d+)? [kMG]?B|bytes", shown)
    forget_all(engine)
    lines = user("wherry", "pull", name)
    assert "\x1b[" not in lines
    assert "Downloading" not in lines
    assert lines.count("Pull complete") == len(layers)


# mirrors


@pytest.mark.usefixtures("docker_cli")
def test_mirrors_of_docker_hub_are_asked_in_their_order_and_only_for_reading(
    user: User, registry: RealRegistry, locked: RealRegistry
) -> None:
    user("wherry", "tag", IMAGE, f"{registry.host}/library/mirrored:1")
    user("wherry", "push", "-q", f"{registry.host}/library/mirrored:1")
    digest = registry.manifest("library/mirrored:1")[0]
    engine = NativeEngine(Path(tempfile.mkdtemp(prefix="wherry-test-")), os.getpid() + 1)
    # One that is down, one that wants a password which the user never gave to it, and one that has the image.
    mirrors = (f"127.0.0.1:{free_port()}", locked.host, registry.host)
    engine.options = tuple(word for host in mirrors for word in ("--registry-mirror", f"http://{host}"))
    engine.options += ("--insecure-registry", "reg.example:5000")
    try:
        engine.start()
        header = base64.urlsafe_b64encode(
            json.dumps({"username": USER, "password": PASSWORD}).encode()
        ).decode()
        before = len(registry.log.read_text())
        answer = engine.call(
            "POST", "/images/create", headers={"X-Registry-Auth": header}, fromImage="mirrored", tag="1"
        )
        assert f"Digest: {digest}" in answer.text, answer.text
        (image,) = engine.call("GET", "/images/json").json
        assert (image["RepoTags"], image["RepoDigests"]) == (["mirrored:1"], [f"mirrored@{digest}"])
        assert USER not in registry.log.read_text()[before:], "Docker Hub's login is not a mirror's"
        assert "/v2/library/mirrored/manifests" in locked.log.read_text()
        user.env |= dict.fromkeys(("WHERRY_HOST", "DOCKER_HOST"), f"unix://{engine.socket}")
        shown = {program: _registries(user(program, "info")) for program in ("wherry", "docker")}
        assert shown["wherry"] == shown["docker"]
        assert [line.strip() for line in shown["wherry"]][-4:-1] == [f"http://{host}" for host in mirrors]
        # A name with a registry in it is asked there, and nowhere else.
        asked = len(registry.log.read_text())
        answer = engine.call("POST", "/images/create", fromImage=f"{mirrors[0]}/mirrored", tag="1")
        assert "Connection refused" in answer.message
        assert len(registry.log.read_text()) == asked
    finally:
        engine.end()


def _registries(info: str) -> list[str]:
    lines = info.splitlines()
    first = lines.index(" Insecure Registries:")
    return [line.rstrip("/") for line in lines[first : lines.index(" Live Restore Enabled: true") + 1]]


# search


class _Index(BaseHTTPRequestHandler):
    """A registry with the v1 search; who asks is written down."""

    asked: list[tuple[dict[str, list[str]], str]] = []  # noqa: RUF012 - one server at a time

    def do_GET(self) -> None:  # noqa: N802 - as the base class wants it
        parts = urlsplit(self.path)
        if parts.path != "/v1/search":
            self.send_error(404)
            return
        self.asked.append((parse_qs(parts.query), self.headers.get("Authorization", "")))
        results = [
            {"name": f"team/app{number}", "description": "d" * number, "star_count": number,
             "is_official": number == 3, "is_automated": False}
            for number in range(int(parse_qs(parts.query)["n"][0]))
        ]  # fmt: skip
        body = json.dumps({"query": "app", "num_results": len(results), "results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.mark.usefixtures("docker_cli")
def test_private_registry_is_searched_as_whoever_is_logged_in_there(user: User, locked: RealRegistry) -> None:
    packed = base64.b64encode(f"{USER}:secret".encode()).decode()
    with serving(_Index) as address:
        host = address.removeprefix("http://")
        user.config.write_text(json.dumps({"auths": {host: {"auth": packed}}}))
        _Index.asked.clear()
        searches: list[Callable[[str], str]] = [
            lambda program: user(program, "search", "--limit", "5", f"{host}/app"),
            lambda program: user(program, "search", "--no-trunc", "-f", "stars=2", f"{host}/app"),
            lambda program: user(program, "search", "-f", "is-official=true", "-f", "stars=1", f"{host}/app"),
            lambda program: user(
                program, "search", "--format", "{{.Name}} {{.StarCount}} {{.IsOfficial}}", f"{host}/team/app"
            ),
        ]
        for search in searches:
            assert search("wherry") == search("docker")
        assert {query["n"][0] for query, _ in _Index.asked} == {"5", "25"}
        assert {query["q"][0] for query, _ in _Index.asked} == {"app", "team/app"}
        assert {who for _, who in _Index.asked} == {f"Basic {packed}"}
        assert "team/app3" in user("wherry", "search", "-f", "is-official=true", f"{host}/app")
        assert "outside the range" in user("wherry", "search", "--limit", "101", f"{host}/app", status=1)
        assert "invalid filter 'colour'" in user(
            "wherry", "search", "-f", "colour=red", f"{host}/app", status=1
        )
    said = user("wherry", "search", f"{locked.host}/app", status=1)
    assert f"{locked.host} has no search" in said
    assert f"{locked.host}/v2/_catalog" in said
