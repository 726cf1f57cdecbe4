"""Images in and out, with wherryd and with dockerd: pull from a registry on loopback, load, save.

Each engine runs in a network namespace of its own, as in `engines`, and a docker-registry in the same one;
both registries serve the same folder.
"""

import hashlib
import io
import json
import random
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.engines import commands, docker, engine
from bench.figures import Figure, in_turn, seconds, table

RUNS = 3
REGISTRY = "127.0.0.1:5000"
_START_SECONDS = 30


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
    noise = random.Random(number)  # noqa: S311 - no secret
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for file in range(shape.files_per_layer):
            member = tarfile.TarInfo(f"layer{number}/{file // 100}/{file}")
            member.size = shape.file_bytes
            half = noise.randbytes(shape.file_bytes // 2)
            archive.addfile(member, io.BytesIO(half + bytes(shape.file_bytes - len(half))))
    return out.getvalue()


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


def without(name: str, arguments: Sequence[str], host: str) -> float:
    """Seconds of one docker command, begun without the image."""
    docker(host, "rmi", "-f", name, check=False)
    return with_it(name, arguments, host)


def with_it(_name: str, arguments: Sequence[str], host: str) -> float:
    return seconds(lambda: docker(host, *arguments))


def measure(hosts: Sequence[str], shape: Shape, root: Path) -> list[list[object]]:
    archive = root / "image.tar"
    name = saved_image(shape, archive)
    docker(hosts[0], "load", "-i", str(archive))
    docker(hosts[0], "push", name)
    rows: list[list[object]] = []
    for title, arguments in (
        ("pull", ("pull", "-q", name)),
        ("load", ("load", "-q", "-i", str(archive))),
        ("save", ("save", "-o", str(root / "saved.tar"), name)),
    ):
        once = partial(with_it if title == "save" else without, name, arguments)
        actions = [partial(once, host) for host in hosts]
        ours, theirs = (Figure(samples, "s") for samples in in_turn(actions, RUNS))
        rows.append([f"{title}, {shape.title}", ours, theirs, f"{theirs.median / ours.median:.1f}"])
    for host in hosts:
        docker(host, "rmi", "-f", name)
    return rows


def report() -> str:
    """The section of docs/benchmarks.md. Needs root, dockerd and docker-registry."""
    rows: list[list[object]] = []
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wherry-bench-")))
        hosts = []
        for name, command in commands(root).items():
            hosts.append(stack.enter_context(engine(command, root / f"{name}.sock")))
            stack.enter_context(registry(int((root / f"{name}.pid").read_text()), root))
        for shape in SHAPES:
            rows += measure(hosts, shape, root)
    rival = subprocess.run(["dockerd", "--version"], check=True, stdout=subprocess.PIPE, text=True)
    return (
        "## Images in and out\n\n"
        f"{RUNS} runs each, in turn, median (smallest to largest), with docker's own command. "
        f"{rival.stdout.strip()}. The registry is Debian's docker-registry on loopback; a pull and a load "
        "begin with none of the image's layers. Half of each file is random.\n\n"
        + table(["", "wherryd", "dockerd", "dockerd / wherryd"], rows)
    )
