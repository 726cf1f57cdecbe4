"""Builds by wherryd, by dockerd (its classic builder, and BuildKit where its client has it) and by buildah.

Each with the client its users type: `wherry build`, `docker build`, `buildah build`. All engines run
natively, in namespaces of their own, on one machine.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.engines import IMAGE, RUN, busybox_tar, commands, docker, engine
from bench.figures import Figure, in_turn, seconds, table

RUNS = 5
#: Debian's own client, which brings BuildKit without a plugin.
_DEBIAN_DOCKER = "/usr/bin/docker"
_CONTEXT_FILES = 3000
_CONTEXT_FILE_BYTES = 100_000
_STAGES = 8
#: As many of the builders, the first ones, are no rivals.
_OURS = 2

STEPS = f"""FROM {IMAGE}
ENV PLACE=/srv
WORKDIR /srv
COPY files files
RUN /bin/busybox mkdir -p /srv/made
RUN echo one > made/1
RUN echo two > made/2
COPY app app
RUN /bin/busybox cat made/* app > /srv/all
CMD ["true"]
"""

CHANGE = f"""FROM {IMAGE}
COPY data /data
COPY app /app
RUN true
"""

# A step of processor time that no builder can skip: half a second of hashing.
_WORK = "dd if=/dev/zero bs=1M count=96 2>/dev/null | /bin/busybox sha256sum > /out"
STAGES = "".join(f"FROM {IMAGE} AS s{each}\nRUN echo {each} && {_WORK}\n" for each in range(_STAGES)) + (
    f"FROM {IMAGE}\n" + "".join(f"COPY --from=s{each} /out /out{each}\n" for each in range(_STAGES))
)


@dataclass(frozen=True, slots=True)
class Builder:
    """One client's command line for a build."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]

    def build(self, folder: Path, *options: str) -> None:
        done = subprocess.run(
            [*self.command, "build", "-q", "-t", f"{folder.name}:bench", *options, str(folder)],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {done.stderr[-1000:]}")


@contextmanager
def _buildah(root: Path, archive: Path) -> Iterator[Builder]:
    """buildah has no daemon: a process holds the namespaces that its calls enter."""
    inner = "ip link set lo up; umount /sys/fs/cgroup/unified 2>/dev/null; echo up; exec sleep infinity"
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", inner], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    configuration = root / "buildah.conf"
    configuration.write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
        '[engine]\nruntime = "crun"\n'
    )
    registries = root / "registries.conf"
    registries.write_text('unqualified-search-registries = ["localhost"]\n')
    environment = {"CONTAINERS_CONF": str(configuration), "TMPDIR": str(root)}
    enter = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt")
    command = (
        *enter, "buildah", f"--root={root}/buildah", f"--runroot={root}/buildah-run",
        "--storage-driver=overlay", f"--registries-conf={registries}",
    )  # fmt: skip
    builder = Builder("buildah", command, {**environment, "BUILDAH_LAYERS": "true"})
    base = root / "buildah-base"
    base.mkdir()
    shutil.copy(archive, base / "root.tar")
    (base / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
    try:
        subprocess.run(
            [*command, "build", "-q", "-t", IMAGE, str(base)],
            env={**os.environ, **environment},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        yield builder
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@contextmanager
def builders(root: Path) -> Iterator[list[Builder]]:
    """Ours first, and second our engine with docker's classic client. The base image is in each."""
    archive = root / "busybox.tar"
    busybox_tar(archive)
    with ExitStack() as stack:
        hosts = {}
        for name, command in commands(root).items():
            hosts[name] = stack.enter_context(engine(command, root / f"{name}.sock"))
            docker(hosts[name], "import", str(archive), IMAGE)
        wherry = str(Path(sys.executable).parent / "wherry")
        ours = {"WHERRY_HOST": hosts["wherryd"], "WHERRY_HOME": str(root / "home")}
        theirs = {"DOCKER_HOST": hosts["dockerd"], "DOCKER_CONFIG": str(root / "docker")}
        classic = {"DOCKER_BUILDKIT": "0"}
        found = [
            Builder("wherry", (wherry,), ours),
            Builder(
                "docker CLI on wherryd", ("docker",), {**theirs, **classic, "DOCKER_HOST": hosts["wherryd"]}
            ),
            Builder("dockerd", ("docker",), {**theirs, **classic}),
        ]
        if Path(_DEBIAN_DOCKER).exists():
            found.append(Builder("BuildKit", (_DEBIAN_DOCKER,), {**theirs, "DOCKER_BUILDKIT": "1"}))
        found.append(stack.enter_context(_buildah(root, archive)))
        yield found


def _steps(root: Path) -> Path:
    folder = root / "steps"
    (folder / "files").mkdir(parents=True)
    for each in range(100):
        (folder / "files" / str(each)).write_bytes(os.urandom(10_000))
    (folder / "app").write_text("app\n")
    (folder / "Dockerfile").write_text(STEPS)
    return folder


def large_context(root: Path) -> Path:
    """A folder of 300 MB and one file that changes, with a Dockerfile that copies both."""
    folder = root / "change"
    (folder / "data").mkdir(parents=True)
    for each in range(_CONTEXT_FILES):
        place = folder / "data" / str(each // 100)
        place.mkdir(exist_ok=True)
        (place / str(each)).write_bytes(os.urandom(_CONTEXT_FILE_BYTES))
    (folder / "app").write_text("app\n")
    (folder / "Dockerfile").write_text(CHANGE)
    return folder


def _stages(root: Path) -> Path:
    folder = root / "stages"
    folder.mkdir()
    (folder / "Dockerfile").write_text(STAGES)
    return folder


def _timed(builder: Builder, folder: Path, *options: str) -> float:
    return seconds(lambda: builder.build(folder, *options))


def _changed(builder: Builder, folder: Path) -> float:
    """With a line in one file that no earlier build had."""
    with (folder / "app").open("a") as file:
        file.write(f"{builder.name}\n")
    return _timed(builder, folder)


def measure(made: Sequence[Builder], root: Path) -> list[list[object]]:
    steps, change, stages = _steps(root), large_context(root), _stages(root)
    rows: list[list[object]] = []

    def row(title: str, once: Callable[[Builder], float]) -> None:
        figures = [Figure(each, "s") for each in in_turn([partial(once, builder) for builder in made], RUNS)]
        best = min(figure.median for figure in figures[_OURS:])
        rows.append([title, *figures, f"{best / figures[0].median:.1f}"])

    row("cold, 9 steps (`--no-cache`)", lambda builder: _timed(builder, steps, "--no-cache"))
    row("again, nothing changed", lambda builder: _timed(builder, steps))
    row("again, nothing changed, context of 300 MB", lambda builder: _timed(builder, change))
    row("one line changed in a context of 300 MB", lambda builder: _changed(builder, change))
    row(f"{_STAGES} independent stages (`--no-cache`)", lambda builder: _timed(builder, stages, "--no-cache"))
    return rows


def report() -> str:
    """The section of docs/benchmarks.md. Needs root, dockerd, buildah and crun."""
    with tempfile.TemporaryDirectory(prefix="wherry-bench-") as name, builders(Path(name)) as made:
        (Path(name) / RUN).mkdir(exist_ok=True)
        rows = measure(made, Path(name))
        names = [builder.name for builder in made]
    versions = [
        subprocess.run([program, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        for program in ("dockerd", "buildah")
    ]
    return (
        "## Builds\n\n"
        f"{RUNS} builds each, in turn, median (smallest to largest): `wherry build`, `docker build` (classic "
        "builder; and BuildKit, which Debian's docker has built in), `buildah build` with its layer cache "
        f"and crun. {'; '.join(versions)}. The second column is our engine with docker's own client "
        "and its classic protocol, as dockerd's column is. The last one is the best rival's time by ours.\n\n"
        + table(["", *names, "best rival / wherry"], rows)
    )
