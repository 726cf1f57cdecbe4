"""Other engines with our runtime: Debian's dockerd and podman, each in a folder and namespaces of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from native_engine import busybox_tar

import wherryd
import wherrywire

IMAGE = "busybox:test"
_START_SECONDS = 60.0
_CALL_SECONDS = 60.0


@dataclass
class Rival:
    """command: what stands before the verb. ready: how it is asked whether it is up."""

    name: str
    folder: Path
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(
        self, *arguments: str, check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.command, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=_CALL_SECONDS,
            env={**os.environ, **self.environment},
            check=False,
        )
        assert not check or done.returncode == 0, (self.name, arguments, done.stderr)
        return done

    def on_terminal(self, *arguments: str) -> str:
        """What a call prints that has a terminal."""
        line = subprocess.list2cmdline([*self.command, *arguments])
        done = subprocess.run(
            ["script", "-qec", line, "/dev/null"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_CALL_SECONDS,
            env={**os.environ, **self.environment},
            check=True,
        )
        return done.stdout


def runtime_command(folder: Path) -> Path:
    """wherry-runc as one program, wherever this source is."""
    places = ":".join(str(Path(str(module.__file__)).parent.parent) for module in (wherryd, wherrywire))
    command = folder / "wherry-runc"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={places} exec {sys.executable} -m wherryd.runtime.cli "$@"\n')
    command.chmod(0o755)
    return command


def _namespace(*options: str) -> list[str]:
    """A command in a mount namespace of its own, without the empty cgroup2 tree of a machine with v1:
    crun and runc take it for the real one."""
    inner = 'ip link set lo up; umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
    return ["unshare", *options, "--mount", "--propagation", "private", "sh", "-c", inner, "-"]


@contextlib.contextmanager
def shared_network(script: str = "", *arguments: str) -> Iterator[tuple[str, ...]]:
    """Network and mount namespaces for several engines and a registry: the command prefix that enters them.

    script, arguments: what a shell does inside first, after loopback is up; it must succeed.
    """
    steps = f"ip link set lo up && {script or 'true'} && echo up && exec sleep 1000"
    holder = subprocess.Popen(
        ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", steps, "-", *arguments],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"up\n"
        yield ("nsenter", f"--target={holder.pid}", "--net", "--mount")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@contextlib.contextmanager
def dockerd(folder: Path, within: Sequence[str] = ()) -> Iterator[Rival]:
    """Needs dockerd, containerd and the docker command. Raises AssertionError with its log's tail.

    within: a command prefix that enters namespaces of the caller's own, instead of a network of its own.
    """
    log, parent = folder / "log", f"/wd{os.getpid()}"
    command = [
        "dockerd", f"--host=unix://{folder}/sock", f"--data-root={folder}/data", f"--exec-root={folder}/run",
        f"--pidfile={folder}/pid", "--bridge=none", "--iptables=false", f"--cgroup-parent={parent}",
        f"--add-runtime=wherry={runtime_command(folder)}", "--default-runtime=wherry",
    ]  # fmt: skip
    docker = Rival("dockerd", folder, ["docker"], {"DOCKER_HOST": f"unix://{folder}/sock"})
    with log.open("wb") as output:
        place = [*within, *_namespace(*(() if within else ("--net",)))]
        process = subprocess.Popen([*place, *command], stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while docker("version", check=False).returncode:
            late = process.poll() is not None or time.monotonic() > deadline
            assert not late, f"dockerd did not start:\n{log.read_text()[-2000:]}"
            time.sleep(0.1)
        docker("import", str(_image(folder)), IMAGE)
        yield docker
        for container in docker("ps", "-aq").stdout.split():
            docker("rm", "-f", container)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        _remove(folder, parent)


@contextlib.contextmanager
def podman(folder: Path, within: Sequence[str] = ()) -> Iterator[Rival]:
    """Needs podman and conmon. It has no daemon: a process holds the namespace that its calls enter.

    within: as of `dockerd`.
    """
    parent = f"/wp{os.getpid()}"
    config = folder / "containers.conf"
    # What a machine without CAP_SYS_RESOURCE can give.
    config.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n')
    holder = subprocess.Popen(
        [*within, *_namespace(), "sh", "-c", "echo up; exec sleep 1000"], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"up\n"
    options = {
        "root": folder / "data", "runroot": folder / "run", "tmpdir": folder / "tmp",
        "runtime": runtime_command(folder), "cgroup-manager": "cgroupfs", "events-backend": "file",
    }  # fmt: skip
    command = ["nsenter", f"--target={holder.pid}", "--mount", "--net", "podman"]
    podman = Rival(
        "podman",
        folder,
        [*command, *(f"--{name}={value}" for name, value in options.items())],
        {"CONTAINERS_CONF": str(config), "TMPDIR": str(folder)},
    )
    try:
        podman("import", str(_image(folder)), IMAGE)
        yield podman
        podman("rm", "--all", "--force", "--time", "0")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
        _remove(folder, parent)


def _image(folder: Path) -> Path:
    archive = folder / "busybox.tar"
    archive.write_bytes(busybox_tar())
    return archive


def _remove(folder: Path, cgroup: str) -> None:
    """The mounts went with the namespace."""
    for group in Path("/sys/fs/cgroup").glob(f"*/{cgroup.lstrip('/')}"):
        with contextlib.suppress(OSError):
            group.rmdir()
    shutil.rmtree(folder)
