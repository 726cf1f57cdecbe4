"""`docker run --rm IMAGE true` with wherryd and with dockerd: same client, image, machine, moment.

Both engines run natively, in a network and mount namespace of their own, so that neither touches the
machine's bridges and rules. The client is docker's own command, which costs both the same.
"""

import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.figures import Figure, in_turn, seconds, table

RUNS = 20
START_SECONDS = 60
IMAGE = "bench:busybox"
RUN = "run"


@contextmanager
def engine(command: list[str], socket: Path) -> Iterator[str]:
    """Runs an engine until the block ends; gives its DOCKER_HOST.

    It has a tmpfs at RUN beside its socket, as /run is on the machines that engines are made for.
    """
    log = socket.with_suffix(".log")
    run = socket.parent / RUN
    run.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                "unshare",
                "--net",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                'ip link set lo up; mount -t tmpfs -o mode=755 none "$0"; exec "$@"',
                str(run),
                *command,
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        host = f"unix://{socket}"
        while docker(host, "version", check=False).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield host
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def docker(host: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "DOCKER_HOST": host}
    return subprocess.run(["docker", *arguments], env=environment, check=check, capture_output=True)


def milliseconds(host: str, *arguments: str) -> float:
    """One docker command, from its start to its exit."""
    return 1000 * seconds(lambda: docker(host, *arguments))


def busybox_tar(path: Path) -> None:
    """A root file system of one static program."""
    with tarfile.open(path, "w") as archive:
        archive.add("/bin/busybox", "bin/busybox")
        for name in ("dd", "nc", "sh", "true"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)


def commands(root: Path) -> dict[str, list[str]]:
    """How each engine is started, with all it keeps below `root`; its socket is `root/NAME.sock`."""
    wherryd = str(Path(sys.executable).parent / "wherryd")
    programs = {"wherryd": [wherryd, "--bridge", "wherrybench0"], "dockerd": ["dockerd"]}
    return {
        name: [
            *program,
            f"--host=unix://{root}/{name}.sock",
            f"--data-root={root}/{name}",
            f"--exec-root={root}/{RUN}/{name}",
            f"--pidfile={root}/{name}.pid",
        ]
        for name, program in programs.items()
    }


def compare(hosts: Sequence[str], options: Sequence[str]) -> tuple[Figure, ...]:
    """A figure per host, taken in turn."""
    run = ("run", "--rm", *options, IMAGE, "true")
    samples = in_turn([partial(milliseconds, host, *run) for host in hosts], RUNS)
    return tuple(Figure(each, "ms") for each in samples)


def report() -> str:
    """The section of docs/benchmarks.md. Needs root, dockerd and busybox-static."""
    rows = []
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wherry-bench-")))
        hosts = [
            stack.enter_context(engine(command, root / f"{name}.sock"))
            for name, command in commands(root).items()
        ]
        archive = root / "busybox.tar"
        busybox_tar(archive)
        for host in hosts:
            docker(host, "import", str(archive), IMAGE)
        for title, options in (("bridge network", ()), ("no network", ("--network", "none"))):
            ours, theirs = compare(hosts, options)
            rows.append([title, ours, theirs, f"{theirs.median / ours.median:.1f}"])
        client = Figure(tuple(milliseconds(hosts[0], "version") for _ in range(RUNS)), "ms")
    rival = subprocess.run(["dockerd", "--version"], check=True, stdout=subprocess.PIPE, text=True)
    return (
        f"## `docker run --rm {IMAGE} true`\n\n"
        f"{RUNS} runs each, in turn, median (smallest to largest). {rival.stdout.strip()}. Both engines run "
        f"natively, in namespaces of their own; `docker version`, the client alone, takes {client}.\n\n"
        + table(["", "wherryd", "dockerd", "dockerd / wherryd"], rows)
    )
