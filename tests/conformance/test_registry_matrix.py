"""One real registry, five tools: what one of them pushes the others pull, and all say the same digest.

Debian's docker-registry, with and without TLS by a private CA, with and without passwords; wherryd through
docker's command and through our own, dockerd, podman, skopeo. All of it in a network namespace whose loopback
has one more address: on 127.0.0.0/8 dockerd and wherryd would not verify a certificate.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
import rival_rig
from native_engine import BUSYBOX, IMAGE, NativeEngine
from registry_rig import PASSWORD, USER, RealRegistry, private_authority, real_registry

pytestmark = pytest.mark.root

#: Not 127.0.0.0/8, and only in the namespace.
_ADDRESS = "10.77.0.1"
_SECONDS = 120


@dataclass
class Namespace:
    """certificates: certs.d of dockerd, podman and skopeo, seen inside alone."""

    enter: tuple[str, ...]
    certificates: Path


@dataclass
class Tool:
    """How one tool is used. arguments: words for `login`, `push` and `pull`."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, stdin: str = "", check: bool = True) -> str:
        done = subprocess.run(
            [*self.command, *words],
            input=stdin, capture_output=True, text=True, timeout=_SECONDS, check=False,
            env={**os.environ, **self.environment},
        )  # fmt: skip
        assert not check or done.returncode == 0, (self.name, words, done.stdout, done.stderr)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    folder = Path(tempfile.mkdtemp(prefix="wherry-matrix-"))
    script = (
        f"ip address add {_ADDRESS}/32 dev lo && mkdir -p /etc/docker && mount -t tmpfs none /etc/docker && "
        'mkdir /etc/docker/certs.d && mount --bind "$1" /etc/docker/certs.d'
    )
    try:
        with rival_rig.shared_network(script, str(folder)) as enter:
            yield Namespace(enter, folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def here(namespace: Namespace) -> Iterator[NativeEngine]:
    """wherryd in the namespace."""
    engine = NativeEngine(Path(tempfile.mkdtemp(prefix="wherry-test-")), os.getpid())
    engine.within = namespace.enter
    try:
        engine.start()
        yield engine
    finally:
        engine.end()


@pytest.fixture(scope="module")
def tools(
    namespace: Namespace, here: NativeEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Tool]]:
    missing = [
        name
        for name in ("dockerd", "docker", "podman", "skopeo", "docker-registry", "openssl")
        if shutil.which(name) is None
    ]
    if missing or not BUSYBOX.exists():
        pytest.skip(f"NOT TESTED: registries with others' tools: install {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("tools")
    ours = f"unix://{here.socket}"
    with contextlib.ExitStack() as stack:
        (folder / "dockerd").mkdir()
        (folder / "podman").mkdir()
        dockerd = stack.enter_context(rival_rig.dockerd(folder / "dockerd", namespace.enter))
        podman = stack.enter_context(rival_rig.podman(folder / "podman", namespace.enter))

        for name in ("podman", "skopeo"):
            (folder / f"{name}-auth").write_text("{}")

        def configured(name: str) -> dict[str, str]:
            return {"DOCKER_CONFIG": str(folder / f"{name}-config")}

        wherry = [sys.executable, "-c", "from wherry.cli.main import main; main()"]
        docker = ["docker"]
        yield {
            "wherry": Tool("wherry", wherry, {"WHERRY_HOST": ours, **configured("wherry")}),
            "docker-to-wherryd": Tool("docker", docker, {"DOCKER_HOST": ours, **configured("docker")}),
            "dockerd": Tool("dockerd", docker, {**dockerd.environment, **configured("dockerd")}),
            "podman": Tool(
                "podman",
                podman.command,
                {**podman.environment, "REGISTRY_AUTH_FILE": str(folder / "podman-auth")},
            ),
            "skopeo": Tool(
                "skopeo", [*namespace.enter, "skopeo", "--insecure-policy"],
                {"REGISTRY_AUTH_FILE": str(folder / "skopeo-auth")},
            ),
        }  # fmt: skip


_ports = count(5000)


@pytest.fixture(params=["plain", "plain-locked", "tls", "tls-locked"])
def place(
    request: pytest.FixtureRequest, namespace: Namespace, here: NativeEngine, tmp_path: Path
) -> Iterator["Place"]:
    kind: str = request.param
    tls, locked = kind.startswith("tls"), kind.endswith("locked")
    # Plain HTTP is for 127.0.0.0/8, where nobody has to be told.
    host = f"{_ADDRESS if tls else '127.0.0.1'}:{next(_ports)}"
    authority = private_authority(tmp_path / "ca", _ADDRESS) if tls else None
    if authority is not None:
        for folder in (namespace.certificates, here.data_root / "certs.d"):
            (folder / host).mkdir(parents=True)
            shutil.copy(authority.ca, folder / host / "ca.crt")
    with real_registry(
        tmp_path / "registry", auth=locked, address=host, authority=authority, within=namespace.enter
    ) as registry:
        yield Place(registry, tls, locked)


@dataclass(frozen=True)
class Place:
    """A registry of one kind."""

    registry: RealRegistry
    tls: bool
    locked: bool

    def name(self, path: str) -> str:
        return f"{self.registry.host}/{path}"

    def insecure(self, tool: str, prefix: str = "") -> list[str]:
        """podman and skopeo have to be told of plain HTTP."""
        return [] if self.tls or tool not in ("podman", "skopeo") else [f"--{prefix}tls-verify=false"]

    def login(self, name: str, tool: Tool) -> None:
        words = ["login", *self.insecure(name), "-u", USER, "--password-stdin", self.registry.host]
        assert "Login Succeeded" in tool(*words, stdin=PASSWORD)

    def raw_digest(self, skopeo: Tool, path: str) -> str:
        """What the registry itself says the name stands for."""
        words = ["inspect", *self.insecure("skopeo"), "--format={{.Digest}}", f"docker://{self.name(path)}"]
        return skopeo(*words).strip()


def test_every_tool_pulls_what_every_tool_pushed_with_the_same_digest(
    place: Place, tools: dict[str, Tool], here: NativeEngine, tmp_path: Path
) -> None:
    if place.locked:
        refused = tools["wherry"]("pull", place.name("none:1"), check=False)
        assert "may require 'docker login'" in refused
        for name, tool in tools.items():
            place.login(name, tool)
    here.import_busybox()
    image_id = here.call("GET", f"/images/{IMAGE}/json").json["Id"]
    saved = tmp_path / "saved.tar"
    saved.write_bytes(here.call("GET", f"/images/{IMAGE}/get").body)
    pushers = {name: _pusher(name, tools[name], place, saved, image_id) for name in tools}
    digests: dict[str, str] = {}
    for name, push in pushers.items():
        path = f"by-{name}:1"
        push(path)
        digests[path] = place.raw_digest(tools["skopeo"], path)
        assert digests[path].startswith("sha256:")
    for path, digest in digests.items():
        for name, tool in tools.items():
            assert _pulled(name, tool, place, path, image_id, tmp_path) == (digest, image_id), (path, name)


def _pusher(name: str, tool: Tool, place: Place, saved: Path, image_id: str) -> Callable[[str], None]:
    """Pushes the one image under path, from wherever the tool keeps it."""

    def push(path: str) -> None:
        target = place.name(path)
        if name == "skopeo":
            insecure = place.insecure(name, "dest-")
            tool("copy", "--quiet", *insecure, f"docker-archive:{saved}", f"docker://{target}")
            return
        if name in ("dockerd", "podman"):
            tool("load", "--quiet", "--input", str(saved))
        tool("tag", image_id, target)
        tool("push", *(["--format=v2s2"] if name == "podman" else []), *place.insecure(name), target)

    return push


def _pulled(name: str, tool: Tool, place: Place, path: str, image_id: str, folder: Path) -> tuple[str, str]:
    """(digest, image id) as the tool says them, of an image of which it had nothing."""
    source = place.name(path)
    if name == "skopeo":
        target = folder / path.replace(":", "-")
        insecure = place.insecure(name, "src-")
        tool("copy", "--quiet", "--preserve-digests", *insecure, f"docker://{source}", f"dir:{target}")
        manifest = (target / "manifest.json").read_bytes()
        shutil.rmtree(target)
        return "sha256:" + hashlib.sha256(manifest).hexdigest(), json.loads(manifest)["config"]["digest"]
    tool("rmi", "--force", image_id.removeprefix("sha256:"), check=False)
    tool("pull", "--quiet", *place.insecure(name), source)
    found = json.loads(tool("inspect", source))[0]
    prefix = source.rpartition(":")[0] + "@"
    (digest,) = [each.removeprefix(prefix) for each in found["RepoDigests"] if each.startswith(prefix)]
    return digest, "sha256:" + found["Id"].removeprefix("sha256:")


def test_certificate_of_an_unknown_authority_is_refused_with_where_to_put_it(
    namespace: Namespace, tools: dict[str, Tool], tmp_path: Path
) -> None:
    authority = private_authority(tmp_path / "ca", _ADDRESS)
    host = f"{_ADDRESS}:{next(_ports)}"
    with real_registry(tmp_path / "r", address=host, authority=authority, within=namespace.enter):
        for name in ("wherry", "docker-to-wherryd"):
            said = tools[name]("pull", f"{host}/any:1", check=False)
            assert "failed to verify certificate" in said
            assert f"certs.d/{host}/ca.crt" in said


def test_insecure_registries_are_those_that_the_engine_was_told_of(
    namespace: Namespace, tmp_path: Path
) -> None:
    """By address, network or name; over HTTP, or with a certificate that nobody vouches for."""
    plain, private = (f"{_ADDRESS}:{next(_ports)}" for _ in range(2))
    engine = NativeEngine(Path(tempfile.mkdtemp(prefix="wherry-test-")), os.getpid() + 1)
    engine.within = namespace.enter

    def pushed(host: str) -> str:
        assert engine.call("POST", f"/images/{IMAGE}/tag", repo=f"{host}/box", tag="1").status == 201
        answer = engine.call("POST", f"/images/{host}/box/push", tag="1")
        return "" if "aux" in answer.text else answer.text

    authority = private_authority(tmp_path / "ca", _ADDRESS)
    with (
        real_registry(tmp_path / "plain", address=plain, within=namespace.enter),
        real_registry(tmp_path / "tls", address=private, authority=authority, within=namespace.enter),
    ):
        try:
            engine.start()
            engine.import_busybox()
            said = pushed(plain)
            assert "server gave HTTP response to HTTPS client" in said
            assert f"--insecure-registry {plain}" in said
            assert "failed to verify certificate" in pushed(private)
            for named, refused in (((plain,), (private,)), (("10.77.0.0/24",), ())):
                engine.stop()
                engine.start(*(word for each in named for word in ("--insecure-registry", each)))
                assert [host for host in (plain, private) if pushed(host)] == list(refused)
                answer = engine.call("GET", f"/distribution/{plain}/box:1/json")
                assert answer.status == 200, answer.text
        finally:
            engine.end()
