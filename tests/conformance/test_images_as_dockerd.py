"""Names, removal and listing of images, step by step beside a real dockerd: same words, same status.

The same docker command asks both engines. Ids that differ (of builds, imports and containers) are compared by
the order in which they appear.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import rival_rig
from images_rig import archive, directory, entry, saved
from native_engine import BUSYBOX, NativeEngine
from registry_rig import real_registry

pytestmark = pytest.mark.root

REGISTRY = "127.0.0.1:5000"
_SECONDS = 120
TWO = f"{REGISTRY}/two"
_HEX = re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b")


@dataclass
class Side:
    """One engine as the docker command sees it. seen: ids in the order of their first appearance."""

    name: str
    environment: dict[str, str]
    folder: Path
    seen: list[str] = field(default_factory=list)

    def __call__(self, line: str, *, raw: bool = False) -> tuple[int, str]:
        """Status, and what was printed; with numbers for ids, unless it is raw."""
        done = subprocess.run(
            ["sh", "-c", line], cwd=self.folder, env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
        if raw:
            return done.returncode, done.stdout + done.stderr
        return done.returncode, _HEX.sub(self._numbered, done.stdout + done.stderr)

    def in_any_order(self, line: str) -> tuple[int, list[str]]:
        """The same of what prints ids in no order."""
        status, said = self(line)
        return status, sorted(re.sub("<[0-9]+", "<", said).splitlines())

    def _numbered(self, match: re.Match[str]) -> str:
        short = match[0][:12]
        if short not in self.seen:
            self.seen.append(short)
        return f"<{self.seen.index(short)}{' whole' if len(match[0]) == 64 else ''}>"


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    """wherryd and dockerd, and between them a registry."""
    missing = [name for name in ("dockerd", "docker", "docker-registry") if shutil.which(name) is None]
    if missing or not BUSYBOX.exists():
        pytest.skip(f"NOT TESTED beside dockerd: removal of images: install {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("sides")
    (folder / "dockerd").mkdir()
    _material(folder / "material")
    engine = NativeEngine(Path(tempfile.mkdtemp(prefix="wherry-test-")), os.getpid())
    with (
        rival_rig.shared_network() as enter,
        real_registry(folder / "registry", address=REGISTRY, within=enter),
        rival_rig.dockerd(folder / "dockerd", enter) as dockerd,
    ):
        engine.within = enter
        try:
            engine.start()
            engine.import_busybox()
            ours = {"DOCKER_HOST": f"unix://{engine.socket}"}
            common = {
                "DOCKER_BUILDKIT": "0",
                "DOCKER_API_VERSION": "1.41",
                "DOCKER_CONFIG": str(folder / "none"),
            }
            made = [
                Side(name, environment | common, folder / name)
                for name, environment in (("wherryd", ours), ("dockerd-side", dockerd.environment))
            ]
            for side in made:
                shutil.copytree(folder / "material", side.folder)
            _publish(made[0], enter)
            yield made
        finally:
            engine.end()


def _publish(side: Side, enter: Sequence[str]) -> None:
    """In the registry, by one engine alone, since each compresses in its own way: two:1; all:1, an index."""

    def do(line: str) -> str:
        status, said = side(line, raw=True)
        assert not status, said
        return said

    do(f"docker load -q -i two.tar; docker tag two:1 {TWO}:1; docker push -q {TWO}:1")
    do(f"docker rmi {TWO}:1 two:1 two:2")
    manifests = []
    for architecture in ("amd64", "arm64"):
        name = f"{REGISTRY}/all:{architecture}"
        flags = f"--platform linux/{architecture} --change 'LABEL made=by-hand'"
        do(f"docker import {flags} {architecture}.tar {name}")
        pushed = re.search(
            r"digest: (sha256:[0-9a-f]+) size: ([0-9]+)", do(f"docker push {name}; docker rmi {name}")
        )
        assert pushed is not None
        manifests.append(
            {
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "digest": pushed[1],
                "size": int(pushed[2]),
                "platform": {"os": "linux", "architecture": architecture},
            }  # fmt: skip
        )
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": manifests})
    put = ["curl", "-sf", "-X", "PUT", "-H", f"Content-Type: {kind}", "--data-binary", index]
    subprocess.run([*enter, *put, f"http://{REGISTRY}/v2/all/manifests/1"], check=True, timeout=_SECONDS)


def _material(folder: Path) -> None:
    """two.tar: an image of two layers, two:1 and two:2. one.tar: its lower layer alone, one:1."""
    folder.mkdir()
    layers = [archive(directory("d"), entry("d/low", b"low")), archive(entry("d/high", b"high"))]
    for name, count, tags in (("two", 2, ["two:1", "two:2"]), ("one", 1, ["one:1"])):
        diff_ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers[:count]]
        config = {
            "architecture": "amd64", "os": "linux", "created": f"2020-01-0{count}T03:04:05Z",
            "config": {"Cmd": ["true"], "Labels": {"made": "by hand"}},
            "history": [{"created_by": f"layer {number}"} for number in range(count)],
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }  # fmt: skip
        (folder / f"{name}.tar").write_bytes(saved(json.dumps(config).encode(), layers[:count], tags))
    for architecture in ("amd64", "arm64"):
        (folder / f"{architecture}.tar").write_bytes(archive(entry("which", architecture.encode())))
    (folder / "Dockerfile").write_text("FROM two:1\nLABEL a=1\nLABEL b=2\n")


LIST = "docker images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.Digest}} {{.ID}}' | sort"
ALL = "docker images -a --no-trunc --format '{{.Repository}}:{{.Tag}} {{.Digest}} {{.ID}}' | sort"
#: Not busybox, whose size in the two engines differs by a few bytes for its links.
BY_HAND = "--filter label=made"
ID = "$(docker inspect --type image -f '{{.Id}}' %s 2>/dev/null)"

CHAPTERS = {
    "names": [
        "docker load -q -i two.tar", LIST, "docker tag two:1 three:1", "docker tag two:1 host.example/x/y",
        "docker tag two:1 UPPER:1", "docker tag two:1 'bad tag:1'", "docker tag two:1 x:$(printf %0129d 1)",
        "docker tag absent:1 x:1", LIST, "docker rmi two:2", "docker rmi two:2", "docker rmi three",
        "docker rmi three:1", "docker rmi two:1 absent:9 host.example/x/y", LIST,
    ],
    "ids": [
        "docker load -q -i two.tar", f"docker rmi {ID % 'two:1'}", "docker tag two:1 other:1",
        f"docker rmi {ID % 'two:1'}", "docker rmi $(docker images -q two:1)", LIST,
        f"docker rmi -f {ID % 'two:1'}", LIST, "docker rmi sha256:0123456789ab", "docker rmi 0123456789ab",
        "docker load -q -i two.tar", "docker rmi -f $(docker images -q two:1 | cut -c1-7)", LIST,
        "docker load -q -i two.tar", f"docker rmi two:2 && docker rmi {ID % 'two:1'}", LIST,
    ],
    "a tag that moves": [
        "docker load -q -i two.tar", "docker load -q -i one.tar", "docker tag one:1 two:1",
        "docker tag one:1 two:2", LIST, "docker images -f dangling=true -q",
        "docker images -f dangling=false -q one", "docker images -f dangling=maybe -q 2>/dev/null",
        "docker image prune -f", LIST, "docker image prune -f", f"docker image prune -a -f {BY_HAND}", LIST,
    ],
    "shared layers": [
        "docker load -q -i two.tar", "docker load -q -i one.tar", "docker rmi two:1 two:2",
        "docker rmi one:1", "docker load -q -i one.tar", "docker load -q -i two.tar", "docker rmi one:1",
        "docker rmi two:1 two:2",
    ],
    "children": [
        "docker load -q -i two.tar", "docker build -q -t child .", LIST, ALL, "docker history -q two:1",
        f"docker rmi {ID % 'two:1'}", f"docker rmi -f {ID % 'two:1'}", "docker rmi two:1", LIST,
        "docker rmi two:2", LIST, ALL, "docker images -f dangling=true -q", "docker image prune -f", ALL,
        "docker rmi --no-prune child", ALL, "docker image prune -f", ALL,
        "docker load -q -i two.tar", "docker build -q -t child .", "docker rmi child", ALL,
        "docker build -q -t child .", f"docker image prune -a -f {BY_HAND}", ALL,
    ],
    "stopped containers": [
        "docker load -q -i two.tar", "docker create --name kept two:1 true", "docker rmi two:2",
        "docker rmi two:1", f"docker rmi {ID % 'two:1'}", LIST, f"docker image prune -a -f {BY_HAND}", LIST,
        f"docker rmi -f {ID % 'two:1'}", LIST, "docker ps -a --format '{{.Image}} {{.Names}}'",
        "docker inspect -f '{{.Config.Image}}' kept", "docker rm kept", ALL,
        "docker load -q -i two.tar", "docker create --name kept two:1 true", "docker rmi -f two:1",
        f"docker image prune -a -f {BY_HAND}", LIST, "docker rmi -f two:2", ALL,
        "docker ps -a --format '{{.Image}}'", "docker image prune -f", "docker rm kept",
        "docker image prune -f", ALL,
    ],
    "unused names of a used image": [
        "docker load -q -i two.tar", "docker create --name kept two:1 true",
        f"docker image prune -a -f {BY_HAND}", LIST, "docker rm kept", "docker rmi two:1", LIST,
    ],
    "running containers": [
        "docker tag busybox:test work:1", "docker run -d --network none --name r work:1 sleep 100",
        "docker rmi work:1", f"docker rmi {ID % 'work:1'}", f"docker rmi -f {ID % 'work:1'}",
        "docker rmi busybox:test", LIST, "docker rmi work:1", f"docker rmi {ID % 'work:1'}",
        f"docker rmi -f {ID % 'work:1'}", LIST, "docker rmi -f work:1", LIST, ALL,
        "docker ps --format '{{.Image}}'", "docker image prune -f",
        "docker tag $(docker images -aq --no-trunc | head -n 1) busybox:test", "docker rm -f r", LIST,
    ],
    "digests": [
        f"docker pull -q {TWO}:1", LIST, f"docker tag {TWO}:1 {TWO}:2",
        f"docker images --digests {TWO} --format '{{{{.Tag}}}} {{{{.Digest}}}}'",
        f"docker rmi $(docker inspect -f '{{{{index .RepoDigests 0}}}}' {TWO}:1)",
        LIST, f"docker pull -q {TWO}:1", f"docker rmi {TWO}:1", LIST, f"docker rmi {TWO}:2", LIST,
        f"docker pull -q {TWO}@sha256:{'0' * 64}", f"docker pull -q {TWO}:1", f"docker tag {TWO}:1 local:1",
        f"docker rmi {TWO}:1", LIST, "docker inspect -f '{{len .RepoDigests}} {{len .RepoTags}}' local:1",
        "docker rmi local:1", LIST, f"docker pull -q {TWO}:1", f"docker rmi -f {ID % (TWO + ':1')}", LIST,
    ],
    "an image without a tag": [
        f"docker pull -q {TWO}:1", f"docker inspect -f '{{{{index .RepoDigests 0}}}}' {TWO}:1 > digest",
        f"docker rmi {TWO}:1", "docker pull -q $(cat digest)", LIST, "docker images -f dangling=true -q",
        "docker create --name kept $(cat digest) true", "docker ps -a --format '{{.Image}}'",
        "docker rmi $(cat digest)", "docker rm kept", "docker image prune -f", LIST,
        "docker pull -q $(cat digest)", "docker tag $(cat digest) local:1", "docker rmi $(cat digest)",
        LIST, "docker rmi local:1", LIST, "docker pull -q $(cat digest)",
        "docker rmi $(docker images -q --filter dangling=false --digests | head -n 1)", LIST,
    ],
    "an index": [
        f"docker pull -q {REGISTRY}/all:1", LIST,
        f"docker inspect -f '{{{{.RepoDigests}}}} {{{{.Architecture}}}}' {REGISTRY}/all:1",
        f"docker pull -q --platform linux/s390x {REGISTRY}/all:1 2>/dev/null", LIST,
        # dockerd's classic store moves the name to the second platform's image. Here it stands for both, as
        # in its newer store: tests/guest/test_images_indexes.py.
        f"docker pull -q --platform linux/arm64 {REGISTRY}/all:1",
        f"docker inspect -f '{{{{.RepoTags}}}}' {REGISTRY}/all:1",
    ],
    "filters": [
        "docker load -q -i two.tar", "docker load -q -i one.tar", "docker images -q -f label=made",
        "docker images -q -f label=made=no", "docker images -q -f 'reference=tw*'",
        "docker images -q -f 'reference=o*:1'", "docker images -q -f before=two:1",
        "docker images -q -f since=one:1", "docker images -q -f since=absent",
        "docker images -q -f nonsense=1 2>/dev/null", "docker images -q two", "docker images -q two:2",
        "docker image prune -a -f --filter label=none",
        f"docker image prune -a -f --filter until=1h {BY_HAND}", LIST,
    ],
}  # fmt: skip


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_step_says_and_does_what_dockerds_does(sides: list[Side], chapter: str) -> None:
    for side in sides:
        side("docker rm -f $(docker ps -aq)")
        side("docker rmi -f $(docker images -aq --no-trunc two one child other local) ")
        side(f"docker image prune -a -f {BY_HAND}")
        side.seen.clear()
    for number, line in enumerate(CHAPTERS[chapter]):
        # dockerd prunes in the order of a hash table, and the ids of builds are different every time.
        ask = Side.in_any_order if "prune -a" in line or line == ALL else Side.__call__
        ours, theirs = (ask(side, line) for side in sides)
        assert ours == theirs, (
            f"step {number}: {line}\nwherryd: {ours[0]}\n{ours[1]}\ndockerd: {theirs[0]}\n{theirs[1]}"
        )
