"""Images to and from a real registry (Debian's docker-registry), and what docker and skopeo make of them."""

import base64
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import registry_fixtures
from images_rig import archive, directory, entry, saved
from native_engine import IMAGE, NativeEngine
from registry_rig import PASSWORD, USER, RealRegistry

from wherryd.daemon.audit import audit

pytestmark = pytest.mark.root


registry = registry_fixtures.registry
locked = registry_fixtures.locked


@pytest.fixture(autouse=True)
def only_busybox(engine: NativeEngine) -> Iterator[None]:
    yield
    engine.remove_containers()
    forget_all(engine)
    engine.import_busybox()


def forget_all(engine: NativeEngine) -> None:
    """All images, and with them their layers."""
    for image in engine.call("GET", "/images/json", all="1").json:
        assert engine.call("DELETE", f"/images/{image['Id']}", force="1").status == 200


def lines(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.split(b"\r\n") if line]


def statuses(body: bytes) -> list[str]:
    return [line["status"] for line in lines(body) if "status" in line]


def auth(**fields: str) -> dict[str, str]:
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()}


def pull(engine: NativeEngine, name: str, headers: dict[str, str] | None = None, **query: str) -> bytes:
    repository, _, tag = name.rpartition(":")
    answer = engine.call(
        "POST", "/images/create", headers=headers, fromImage=repository, **{"tag": tag, **query}
    )
    assert answer.status == 200, answer.text
    assert "errorDetail" not in answer.text, answer.text
    return answer.body


def push(engine: NativeEngine, name: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """The aux of the last line."""
    repository, _, tag = name.rpartition(":")
    answer = engine.call("POST", f"/images/{repository}/push", headers=headers, tag=tag)
    assert answer.status == 200, answer.text
    assert "errorDetail" not in answer.text, answer.text
    last: dict[str, Any] = lines(answer.body)[-1]["aux"]
    return last


def tag(engine: NativeEngine, source: str, target: str) -> None:
    repository, _, name = target.rpartition(":")
    assert engine.call("POST", f"/images/{source}/tag", repo=repository, tag=name).status == 201


def load_layers(engine: NativeEngine, name: str, count: int) -> None:
    """An image of so many layers, each with a file of its own and one they all replace."""
    noise = random.Random(count)  # noqa: S311 - no secret
    layers = [archive(directory("./", mode=0o751))]
    layers += [
        archive(
            directory("d"),
            entry(f"d/{number}", noise.randbytes(20_000)),
            entry("last", str(number).encode()),
            *([entry(f"d/.wh.{number - 1}")] if number % 2 else []),
        )
        for number in range(1, count)
    ]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": {"layers": str(count)}},
        "rootfs": {
            "type": "layers",
            "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers],
        },
    }
    answer = engine.call("POST", "/images/load", saved(json.dumps(config).encode(), layers, [name]))
    assert answer.status == 200, answer.text


def test_push_and_pull_keep_the_image_and_its_digest(engine: NativeEngine, registry: RealRegistry) -> None:
    name = f"{registry.host}/team/app:1"
    load_layers(engine, name, 6)
    before = engine.call("GET", f"/images/{name}/json").json
    pushed = push(engine, name)
    assert (pushed["Tag"], pushed["Digest"]) == ("1", registry.manifest("team/app:1")[0])
    by_digest = f"{registry.host}/team/app@{pushed['Digest']}"
    assert engine.call("GET", f"/images/{name}/json").json["RepoDigests"] == [by_digest]
    forget_all(engine)
    said = statuses(pull(engine, name))
    assert said[0] == "Pulling from team/app"
    assert said[-2:] == [f"Digest: {pushed['Digest']}", f"Status: Downloaded newer image for {name}"]
    after = engine.call("GET", f"/images/{name}/json").json
    assert (after["Id"], after["RootFS"]) == (before["Id"], before["RootFS"])
    assert after["RepoDigests"] == [by_digest]
    assert statuses(pull(engine, name))[-1] == f"Status: Image is up to date for {name}"


def test_layers_pulled_at_once_lie_on_each_other_in_order(
    engine: NativeEngine, registry: RealRegistry
) -> None:
    name = f"{registry.host}/stacked:1"
    load_layers(engine, name, 12)
    saved = engine.call("GET", f"/images/{name}/get").body
    push(engine, name)
    forget_all(engine)
    pull(engine, name)
    assert engine.call("GET", f"/images/{name}/get").body == saved
    container = engine.create("true", image=name)
    assert engine.inspect(container)["GraphDriver"]["Name"] == "overlay"
    # The root's owner and mode come from the lowest layer, through layers that say nothing about it.
    upper = Path(engine.call("GET", f"/images/{name}/json").json["GraphDriver"]["Data"]["UpperDir"])
    assert upper.stat().st_mode & 0o7777 == 0o751
    assert (upper / "last").read_text() == "11"


def test_pull_reports_in_dockers_words(engine: NativeEngine, registry: RealRegistry) -> None:
    name = f"{registry.host}/words:1"
    load_layers(engine, name, 5)
    push(engine, name)
    forget_all(engine)
    found = lines(pull(engine, name))
    by_layer: dict[str, list[str]] = {}
    for line in found[1:-2]:
        assert "progressDetail" in line
        by_layer.setdefault(line["id"], []).append(line["status"])
    digests = [layer["digest"][7:19] for layer in registry.manifest("words:1")[1]["layers"]]
    assert set(by_layer) == set(digests)
    for said in by_layer.values():
        assert [word for word in dict.fromkeys(said) if word != "Waiting"] == [
            "Pulling fs layer",
            "Downloading",
            "Verifying Checksum",
            "Download complete",
            "Extracting",
            "Pull complete",
        ]


def test_image_pushed_by_skopeo_is_pulled_with_its_digest(
    engine: NativeEngine, registry: RealRegistry, tmp_path: Path
) -> None:
    load_layers(engine, "for/skopeo:1", 3)
    saved = tmp_path / "image.tar"
    saved.write_bytes(engine.call("GET", "/images/for/skopeo:1/get").body)
    wanted = engine.call("GET", "/images/for/skopeo:1/json").json["Id"]
    for form in ("v2s2", "oci"):
        registry.skopeo(
            "copy",
            "--dest-tls-verify=false",
            f"--format={form}",
            f"docker-archive:{saved}",
            f"docker://{{}}/sk:{form}",
        )
        forget_all(engine)
        said = statuses(pull(engine, f"{registry.host}/sk:{form}"))
        digest = registry.manifest(f"sk:{form}")[0]
        assert f"Digest: {digest}" in said
        image = engine.call("GET", f"/images/{registry.host}/sk:{form}/json").json
        assert (
            image["RootFS"]["Layers"]
            == engine.call("GET", f"/images/{image['Id']}/json").json["RootFS"]["Layers"]
        )
        if form == "v2s2":
            assert image["Id"] == wanted
        # Back to where it came from, and next door: the blobs are there, the manifest is the same.
        assert push(engine, f"{registry.host}/sk:{form}")["Digest"] == digest
        tag(engine, f"{registry.host}/sk:{form}", f"{registry.host}/next/door:{form}")
        before = registry.blobs()
        assert push(engine, f"{registry.host}/next/door:{form}")["Digest"] == digest
        assert registry.blobs() == before


def test_image_pushed_here_is_whole_to_skopeo(
    engine: NativeEngine, registry: RealRegistry, tmp_path: Path
) -> None:
    name = f"{registry.host}/whole:1"
    load_layers(engine, name, 4)
    image = engine.call("GET", f"/images/{name}/json").json
    push(engine, name)
    # Copying reads and verifies every blob, and unpacks them for a docker-archive.
    registry.skopeo(
        "copy", "--src-tls-verify=false", "docker://{}/whole:1", f"docker-archive:{tmp_path}/a.tar"
    )
    loaded = engine.call("POST", "/images/load", (tmp_path / "a.tar").read_bytes())
    assert image["Id"] in loaded.text


def test_second_push_of_a_layer_sends_nothing(engine: NativeEngine, registry: RealRegistry) -> None:
    load_layers(engine, f"{registry.host}/once:1", 3)
    push(engine, f"{registry.host}/once:1")
    tag(engine, f"{registry.host}/once:1", f"{registry.host}/twice:1")
    answer = engine.call("POST", f"/images/{registry.host}/twice/push", tag="1")
    assert statuses(answer.body).count("Mounted from once") == 3
    answer = engine.call("POST", f"/images/{registry.host}/twice/push", tag="1")
    assert statuses(answer.body).count("Layer already exists") == 3


def test_push_without_a_tag_pushes_all_and_pull_without_one_pulls_all(
    engine: NativeEngine, registry: RealRegistry
) -> None:
    for number in ("1", "2", "3"):
        tag(engine, IMAGE, f"{registry.host}/many:{number}")
    answer = engine.call("POST", f"/images/{registry.host}/many/push")
    assert [line["aux"]["Tag"] for line in lines(answer.body) if "aux" in line] == ["1", "2", "3"]
    forget_all(engine)
    pulled = engine.call("POST", "/images/create", fromImage=f"{registry.host}/many")
    assert statuses(pulled.body)[-1] == f"Status: Downloaded newer image for {registry.host}/many"
    (image,) = engine.call("GET", "/images/json").json
    assert sorted(image["RepoTags"]) == [f"{registry.host}/many:{number}" for number in ("1", "2", "3")]


def test_pull_by_digest_gives_no_tag(engine: NativeEngine, registry: RealRegistry) -> None:
    tag(engine, IMAGE, f"{registry.host}/pinned:1")
    digest = push(engine, f"{registry.host}/pinned:1")["Digest"]
    forget_all(engine)
    answer = engine.call("POST", "/images/create", fromImage=f"{registry.host}/pinned", tag=digest)
    assert lines(answer.body)[0] == {"status": "Pulling from pinned", "id": digest}
    (image,) = engine.call("GET", "/images/json").json
    assert (image["RepoTags"], image["RepoDigests"]) == ([], [f"{registry.host}/pinned@{digest}"])


def index_of(registry: RealRegistry, path: str, **names: str) -> str:
    """Puts an index at path:all, of path:<tag> for each platform; its digest."""
    manifests = []
    for text, name in names.items():
        os_, architecture, *variant = text.split("_")
        digest, document = registry.manifest(f"{path}:{name}")
        body = urllib.request.urlopen(
            urllib.request.Request(
                f"http://{registry.host}/v2/{path}/manifests/{digest}",
                headers={"Accept": document["mediaType"]},
            )
        ).read()
        platform = {"os": os_, "architecture": architecture}
        manifests.append(
            {
                "mediaType": document["mediaType"],
                "size": len(body),
                "digest": digest,
                "platform": platform | ({"variant": variant[0]} if variant else {}),
            }
        )
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    document = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
    request = urllib.request.Request(
        f"http://{registry.host}/v2/{path}/manifests/all",
        data=json.dumps(document).encode(),
        method="PUT",
        headers={"Content-Type": kind},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return str(answer.headers["Docker-Content-Digest"])


def test_platform_is_chosen_from_an_index(engine: NativeEngine, registry: RealRegistry) -> None:
    for platform in ("amd64", "arm/v6"):
        name = platform.replace("/", "")
        answer = engine.call(
            "POST", "/images/create", archive(entry("f", platform.encode())),
            fromSrc="-", repo=f"{registry.host}/multi", tag=name, platform=f"linux/{platform}",
        )  # fmt: skip
        assert answer.status == 200
        push(engine, f"{registry.host}/multi:{name}")
    digest = index_of(registry, "multi", linux_amd64="amd64", linux_arm_v6="armv6")
    forget_all(engine)
    said = statuses(pull(engine, f"{registry.host}/multi:all"))
    assert f"Digest: {digest}" in said
    image = engine.call("GET", f"/images/{registry.host}/multi:all/json").json
    assert image["RepoDigests"] == [f"{registry.host}/multi@{digest}"]
    if os.uname().machine == "x86_64":
        assert image["Architecture"] == "amd64"
    pull(engine, f"{registry.host}/multi:all", platform="linux/arm/v7")
    image = engine.call(
        "GET", f"/images/{registry.host}/multi:all/json", platform='{"os":"linux","architecture":"arm"}'
    ).json
    assert (image["Architecture"], image["Variant"]) == ("arm", "v6")
    answer = engine.call(
        "POST", "/images/create", fromImage=f"{registry.host}/multi", tag="all", platform="linux/s390x"
    )
    assert (answer.status, "no matching manifest for linux/s390x" in answer.message) == (404, True)
    answer = engine.call(
        "POST", "/images/create", fromImage=f"{registry.host}/multi", tag="amd64", platform="linux/arm64"
    )
    assert answer.status == 404
    assert "wanted linux/arm64, actual: linux/amd64" in answer.message
    answer = engine.call("GET", f"/distribution/{registry.host}/multi:all/json")
    assert answer.json["Descriptor"]["digest"] == digest
    assert answer.json["Platforms"] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm", "os": "linux", "variant": "v6"},
    ]


def test_absent_image_is_dockers_404(engine: NativeEngine, registry: RealRegistry) -> None:
    name = f"{registry.host}/no/such"
    answer = engine.call("POST", "/images/create", fromImage=name, tag="1")
    assert answer.status == 404
    assert answer.message == f"manifest for {name}:1 not found: manifest unknown: manifest unknown"
    answer = engine.call("POST", f"/images/{name}/push", tag="1")
    assert answer.status == 404
    assert answer.message == f"An image does not exist locally with the tag: {name}:1"
    answer = engine.call("GET", f"/distribution/{name}:1/json")
    assert answer.status == 404


def test_credentials_open_a_locked_registry(engine: NativeEngine, locked: RealRegistry) -> None:
    name = f"{locked.host}/secret:1"
    me = auth(username=USER, password=PASSWORD, serveraddress=locked.host)
    tag(engine, IMAGE, name)
    denied = engine.call("POST", f"/images/{locked.host}/secret/push", tag="1")
    assert "unauthorized" in lines(denied.body)[-1]["error"]
    push(engine, name, me)
    forget_all(engine)
    denied = engine.call("POST", "/images/create", fromImage=f"{locked.host}/secret", tag="1")
    assert (denied.status, "may require 'docker login'" in denied.message) == (404, True)
    wrong = auth(username=USER, password=PASSWORD, serveraddress="another.example")
    denied = engine.call("POST", "/images/create", headers=wrong, fromImage=f"{locked.host}/secret", tag="1")
    assert denied.status == 404, "credentials of another registry must not be sent"
    pull(engine, name, me)
    found = engine.call("GET", f"/distribution/{name}/json", headers=me)
    assert found.status == 200
    assert engine.call("GET", f"/distribution/{name}/json").status == 401


def test_login_is_checked_by_the_registry(engine: NativeEngine, locked: RealRegistry) -> None:
    body = {"username": USER, "password": PASSWORD, "serveraddress": locked.host}
    answer = engine.call("POST", "/auth", body)
    assert (answer.status, answer.json) == (200, {"Status": "Login Succeeded", "IdentityToken": ""})
    answer = engine.call("POST", "/auth", {**body, "password": "no"})
    assert answer.status == 401
    assert "incorrect username or password" in answer.message
    assert PASSWORD not in engine.log.read_text()


@pytest.mark.usefixtures("docker_cli")
def test_docker_command_logs_in_pushes_pulls_and_runs(engine: NativeEngine, locked: RealRegistry) -> None:
    name = f"{locked.host}/cli/box:1"
    tag(engine, IMAGE, name)
    steps: list[tuple[list[str], bytes | None]] = [
        (["login", "-u", USER, "--password-stdin", locked.host], PASSWORD.encode()),
        (["push", name], None),
        (["rmi", name, IMAGE], None),
        (["run", "--rm", name, "echo", "it runs"], None),
        (["pull", "-q", name], None),
        (["logout", locked.host], None),
    ]
    said = []
    for words, stdin in steps:
        done = engine.docker(*words, stdin=stdin)
        assert done.returncode == 0, (words, done.stderr.decode())
        said.append(done.stdout.decode())
    assert "Login Succeeded" in said[0]
    assert said[3] == "it runs\n"
    assert said[4] == f"{name}\n"
    assert engine.docker("pull", name).returncode == 1


def test_pull_and_push_are_events(engine: NativeEngine, registry: RealRegistry) -> None:
    name = f"{registry.host}/events:1"
    tag(engine, IMAGE, name)
    since = f"{time.time():.6f}"
    push(engine, name)
    pull(engine, name)
    answer = engine.call("GET", "/events", since=since, until=f"{time.time():.6f}")
    found = [json.loads(line) for line in answer.body.splitlines()]
    seen = [(event["Action"], event["Actor"]["ID"], event["Actor"]["Attributes"]["name"]) for event in found]
    assert ("push", name, f"{registry.host}/events") in seen
    assert ("pull", name, f"{registry.host}/events") in seen


def test_two_pulls_at_once_share_their_layers(engine: NativeEngine, registry: RealRegistry) -> None:
    name = f"{registry.host}/shared:1"
    load_layers(engine, name, 8)
    push(engine, name)
    forget_all(engine)
    with ThreadPoolExecutor(4) as pool:
        said = [statuses(body) for body in pool.map(lambda _: pull(engine, name), range(4))]
    assert sum(words.count("Pull complete") - words.count("Already exists") for words in said) <= 8
    answer = engine.call("GET", "/images/json")
    assert sum(name in (image["RepoTags"] or []) for image in answer.json) == 1


def test_killed_during_a_pull_keeps_for_the_next_one_only_what_prune_frees(
    fresh_engine: NativeEngine, registry: RealRegistry
) -> None:
    engine, name = fresh_engine, f"{registry.host}/killed:1"
    load_layers(engine, name, 20)
    push(engine, name)
    forget_all(engine)
    layers = engine.data_root / "overlay" / "l"
    rest = len(list(layers.iterdir()))
    moments = random.Random(5)  # noqa: S311 - no secret
    for _ in range(6):
        puller = subprocess.Popen(
            ["curl", "-s", "--unix-socket", str(engine.socket), "-X", "POST",
             f"http://x/images/create?fromImage={registry.host}/killed&tag=1"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(moments.uniform(0.05, 0.8))
        engine.kill()
        puller.wait(10)
        engine.start()
        known = [image["RepoTags"] for image in engine.call("GET", "/images/json").json]
        if [name] in known:
            assert engine.call("GET", f"/images/{name}/get").status == 200
            forget_all(engine)
        content = engine.data_root / "content"
        assert not list((content / "ingest").iterdir())
        assert audit(engine.data_root).clean
        assert engine.call("POST", "/images/prune").status == 200
        assert len(list(layers.iterdir())) == rest
        assert not list((content / "partial").iterdir())
    pull(engine, name)
    assert len(engine.call("GET", f"/images/{name}/get").body) > 20 * 20_000


# dockerd


@pytest.fixture(scope="module")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A dockerd of the tests' own; the environment for its client."""
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        pytest.skip("needs dockerd and docker (scripts/setup.sh dev)")
    folder = Path(tempfile.mkdtemp(prefix="wherry-dockerd-"))
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        ["dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
         "--host", f"unix://{folder}/sock", "--pidfile", str(folder / "pid"), "--bridge", "none",
         "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        environment = {
            **os.environ,
            "DOCKER_HOST": f"unix://{folder}/sock",
            "DOCKER_CONFIG": str(folder / "config"),
            "DOCKER_API_VERSION": "1.41",
        }
        deadline = time.monotonic() + 60
        while subprocess.run(
            ["docker", "info"], env=environment, capture_output=True, check=False
        ).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip("dockerd does not start here: " + (folder / "log").read_text()[-500:])
            time.sleep(0.3)
        yield environment
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def docker(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(["docker", *words], env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_dockerd_and_wherryd_exchange_images_with_equal_digests(
    engine: NativeEngine, registry: RealRegistry, dockerd: dict[str, str]
) -> None:
    ours = f"{registry.host}/exchange:ours"
    load_layers(engine, ours, 4)
    digest = push(engine, ours)["Digest"]
    assert f"Digest: {digest}" in docker(dockerd, "pull", ours)
    image = engine.call("GET", f"/images/{ours}/json").json
    there = json.loads(docker(dockerd, "image", "inspect", ours))[0]
    assert (there["Id"], there["RepoDigests"]) == (image["Id"], image["RepoDigests"])
    assert there["RootFS"]["Layers"] == image["RootFS"]["Layers"]
    # dockerd pushes it elsewhere, compressed or mounted its own way; we pull that.
    theirs = f"{registry.host}/exchange/theirs:1"
    docker(dockerd, "tag", ours, theirs)
    said = docker(dockerd, "push", theirs)
    forget_all(engine)
    pulled = statuses(pull(engine, theirs))
    (line,) = [line for line in pulled if line.startswith("Digest: ")]
    assert line.removeprefix("Digest: ") in said
    assert engine.call("GET", f"/images/{theirs}/json").json["Id"] == image["Id"]


# docker-py


def test_docker_py_pushes_and_pulls(engine: NativeEngine, locked: RealRegistry) -> None:
    docker_py = pytest.importorskip("docker")
    client = docker_py.DockerClient(base_url=f"unix://{engine.socket}", timeout=30)
    login = {"username": USER, "password": PASSWORD, "serveraddress": locked.host}
    try:
        assert client.login(USER, PASSWORD, registry=locked.host)["Status"] == "Login Succeeded"
        name = f"{locked.host}/py"
        client.images.get(IMAGE).tag(name, "1")
        said = list(client.images.push(name, "1", auth_config=login, stream=True, decode=True))
        assert said[-1]["aux"]["Tag"] == "1"
        forget_all(engine)
        image = client.images.pull(name, "1", auth_config=login)
        assert image.tags == [f"{name}:1"]
        assert client.images.get_registry_data(f"{name}:1", auth_config=login).id == said[-1]["aux"]["Digest"]
        with pytest.raises(docker_py.errors.NotFound, match="manifest unknown"):
            client.images.pull(name, "2", auth_config=login)
        with pytest.raises(docker_py.errors.APIError, match="no search"):
            client.images.search(f"{locked.host}/x")
    finally:
        client.close()


# our own client


def test_wherrys_own_client_logs_in_pushes_and_runs(
    engine: NativeEngine, locked: RealRegistry, tmp_path: Path
) -> None:
    name = f"{locked.host}/own/box"
    tag(engine, IMAGE, f"{name}:latest")
    environment = {
        **os.environ,
        "WHERRY_HOST": f"unix://{engine.socket}",
        "DOCKER_CONFIG": str(tmp_path),
    }

    def wherry(*words: str, stdin: bytes = b"") -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", "from wherry.cli.main import main; main()", *words],
            input=stdin, capture_output=True, env=environment, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    assert wherry("push", name)[0] == 1
    assert wherry("login", "-u", USER, "--password-stdin", locked.host, stdin=b"no")[0] == 1
    status, out, _ = wherry("login", "-u", USER, "--password-stdin", locked.host, stdin=PASSWORD.encode())
    assert (status, out) == (0, "Login Succeeded\n")
    status, out, _ = wherry("push", name)
    assert out.splitlines()[:2] == ["Using default tag: latest", f"The push refers to repository [{name}]"]
    forget_all(engine)
    status, out, err = wherry("run", "--rm", name, "echo", "hi")
    assert (status, out) == (0, "hi\n")
    assert f"Unable to find image '{name}:latest' locally" in err
    assert "Pull complete" in err
    status, out, _ = wherry("pull", name)
    assert out.splitlines()[-2:] == [f"Status: Image is up to date for {name}:latest", f"{name}:latest"]
    status, _, err = wherry("search", f"{locked.host}/box")
    assert (status, "has no search" in err) == (1, True)
    assert wherry("logout", locked.host)[1] == f"Removing login credentials for {locked.host}\n"
    assert wherry("pull", name)[0] == 1
