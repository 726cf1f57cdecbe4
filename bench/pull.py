"""Images in and out, with wherryd, dockerd and podman: pull from a registry on loopback, load, save, commit,
export.

Each engine runs in a network namespace of its own, as in `engines`, and a docker-registry in the same one;
all registries serve the same folder.
"""

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.api import Api
from bench.engines import IMAGE, docker
from bench.figures import Figure, in_turn, seconds, table
from bench.rivals import ENGINES, all_running, versions

RUNS = 3
REGISTRY = "127.0.0.1:5000"
_START_SECONDS = 30
_DISK_BYTES = 16 << 30


@dataclass(frozen=True, slots=True)
class Shape:
    """An image to measure with. file_bytes: of each file, half of it random."""

    name: str
    title: str
    layers: int
    files_per_layer: int
    file_bytes: int


SHAPES = (
    Shape("large", "500 MB in 20 layers", 20, 625, 40_000),
    Shape("many", "50,000 files of 1 kB in 5 layers", 5, 10_000, 1_000),
)


def layer(shape: Shape, number: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        _add_layer(archive, shape, number)
    return out.getvalue()


def _add_layer(archive: tarfile.TarFile, shape: Shape, number: int) -> None:
    noise = random.Random(number)  # noqa: S311 - no secret
    for file in range(shape.files_per_layer):
        half = noise.randbytes(shape.file_bytes // 2)
        _add(archive, f"layer{number}/{file // 100}/{file}", half + bytes(shape.file_bytes - len(half)))


def saved_image(shape: Shape, path: Path) -> str:
    """Writes an archive for `docker load`; the image's name."""
    name = f"{REGISTRY}/{shape.name}:1"
    diff_ids, members = [], []
    with tarfile.open(path, "w") as archive:
        for number in range(shape.layers):
            data = layer(shape, number)
            diff_ids.append("sha256:" + hashlib.sha256(data).hexdigest())
            members.append(f"{number}/layer.tar")
            _add(archive, members[-1], data)
        config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]}}
        rootfs = {"type": "layers", "diff_ids": diff_ids}
        _add(archive, "config.json", json.dumps({**config, "rootfs": rootfs}).encode())
        manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": members}]
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return name


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


@contextmanager
def registry(pid: int, folder: Path) -> Iterator[None]:
    """A docker-registry in the network namespace of that process."""
    config = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": REGISTRY, "secret": "for the benchmark"},
    }
    file = folder / "registry.yml"
    file.write_text(json.dumps(config))
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net"]
    with (folder / "registry.log").open("ab") as log:
        process = subprocess.Popen([*inside, "docker-registry", "serve", str(file)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START_SECONDS
        probe = [*inside, "sh", "-c", f"ss -ltnH | grep -q {REGISTRY}"]
        while subprocess.run(probe, check=False).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"docker-registry did not start:\n{(folder / 'registry.log').read_text()}")
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True)
class Subject:
    """One engine with one image. image: its name. written: a container that wrote as much as the image holds;
    fresh: one that wrote nothing."""

    host: str
    image: str
    archive: Path
    written: str
    fresh: str

    def _timed(self, *arguments: str) -> float:
        return seconds(lambda: docker(self.host, *arguments))

    def _without_image(self) -> None:
        docker(self.host, "rmi", "-f", self.image, check=False)

    def pull(self) -> float:
        self._without_image()
        return self._timed("pull", "-q", self.image)

    def load(self) -> float:
        self._without_image()
        return self._timed("load", "-q", "-i", str(self.archive))

    def save(self) -> float:
        return self._timed("save", "-o", str(self.archive.with_name("saved.tar")), self.image)

    def commit(self) -> float:
        """By a call of the API: podman 4.3 refuses that of docker's newer commands, which has no body."""
        api = Api(Path(self.host.removeprefix("unix://")))
        path = f"/commit?container={self.written}&repo=committed&tag=1&pause=0"
        duration = seconds(lambda: api.call("POST", path, {}))
        api.close()
        docker(self.host, "rmi", "committed:1")
        return duration

    def export(self) -> float:
        return self._timed("export", "-o", str(self.archive.with_name("exported.tar")), self.fresh)


def subject(host: str, image: str, archive: Path, files: Path) -> Subject:
    """files: an archive of all the image's files, for the container that writes."""
    docker(host, "load", "-i", str(archive))
    written, fresh = (docker(host, "create", base, "true").stdout.decode().strip() for base in (IMAGE, image))
    with files.open("rb") as stream:
        subprocess.run(
            ["docker", "cp", "-", f"{written}:/"],
            env={**os.environ, "DOCKER_HOST": host}, stdin=stream, stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
    return Subject(host, image, archive, written, fresh)


def all_files(shape: Shape, path: Path) -> None:
    """The files of all layers in one archive."""
    with tarfile.open(path, "w") as archive:
        for number in range(shape.layers):
            _add_layer(archive, shape, number)


def measure(hosts: Sequence[str], shape: Shape, root: Path) -> list[list[object]]:
    archive, files = root / "image.tar", root / "files.tar"
    image = saved_image(shape, archive)
    all_files(shape, files)
    subjects = [subject(host, image, archive, files) for host in hosts]
    docker(hosts[0], "push", image)
    out = [_row(shape, verb, subjects) for verb in (Subject.save, Subject.commit, Subject.export)]
    for each in subjects:
        docker(each.host, "rm", each.written, each.fresh)
    rows = [_row(shape, verb, subjects) for verb in (Subject.pull, Subject.load)] + out
    for each in subjects:
        docker(each.host, "rmi", "-f", image)
    return rows


def _row(shape: Shape, verb: Callable[[Subject], float], subjects: Sequence[Subject]) -> list[object]:
    samples = in_turn([partial(verb, each) for each in subjects], RUNS)
    ours, *theirs = figures = [Figure(each, "s") for each in samples]
    return [
        f"{verb.__name__}, {shape.title}",
        *figures,
        *(f"{rival.median / ours.median:.1f}" for rival in theirs),
    ]


@contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """A folder on an ext4 of its own, made as the data disk of a machine is.

    With a journal, above all: without one, as some cloud machines have it, ext4 does not give an inode away
    for some minutes after it was freed, and goes through all of those for each new file. What would be
    measured is how many files the engines removed before.
    """
    image, mounted = folder / "disk", folder / "m"
    mounted.mkdir()
    subprocess.run(["fallocate", "-l", str(_DISK_BYTES), image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard,lazy_itable_init=0", image], check=True)
    attach = ["losetup", "--find", "--show", "--direct-io=on", str(image)]
    device = subprocess.run(attach, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    try:
        subprocess.run(["mount", device, mounted], check=True)
        try:
            yield mounted
        finally:
            subprocess.run(["umount", "-l", mounted], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def report() -> str:
    """The section of docs/benchmarks.md. Needs root, dockerd, podman and docker-registry."""
    rows: list[list[object]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wherry-bench-")))
        root = stack.enter_context(disk(folder))
        engines = stack.enter_context(all_running(root))
        for each in engines:
            stack.enter_context(registry(int((root / f"{each.name}.pid").read_text()), root))
        for shape in SHAPES:
            rows += measure([each.host for each in engines], shape, root)
    return (
        "## Images in and out\n\n"
        f"{RUNS} runs each, in turn, median (smallest to largest), with docker's own command. {versions()}. "
        "The registry is Debian's docker-registry on loopback; a pull and a load begin with none of the "
        "image's layers. Half of each file is random. What is committed is a container that wrote as many "
        "files as the image has; what is exported, one of the image itself. podman answers as a service. All "
        "data lie on one ext4 with a journal, made as that of a machine.\n\n"
        + table(["", *ENGINES, *(f"{rival} / {ENGINES[0]}" for rival in ENGINES[1:])], rows)
    )
