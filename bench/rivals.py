"""The three engines that are measured side by side, each natively and in namespaces of its own."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.api import Api
from bench.engines import IMAGE, RUN, busybox_tar, commands, docker, engine

ENGINES = ("wherryd", "dockerd", "podman")

#: podman asks for limits above its caller's otherwise, which a machine without CAP_SYS_RESOURCE refuses.
_CONTAINERS_CONF = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
#: dockerd and wherryd speak HTTP to loopback unasked.
_REGISTRIES_CONF = '[[registry]]\nlocation = "127.0.0.1:5000"\ninsecure = true\n'
#: Where v1 and v2 are both mounted, crun takes the empty v2 tree for the real one.
_PODMAN = (
    "umount /sys/fs/cgroup/unified 2>/dev/null; echo $$ > {root}/podman.pid; "
    "exec podman --root {root}/podman --runroot {run}/podman --tmpdir {run}/podman-tmp "
    "--network-config-dir {root}/podman-networks --storage-driver overlay --cgroup-manager cgroupfs "
    "--runtime crun --events-backend file system service --time=0 unix://{root}/podman.sock"
)


@dataclass(frozen=True, slots=True)
class Engine:
    """host: its DOCKER_HOST. marks: what the command lines of all its processes have in them."""

    name: str
    host: str
    api: Api
    root: Path


def command_of(name: str, root: Path) -> list[str]:
    if name != "podman":
        return commands(root)[name]
    configuration = root / "containers.conf"
    configuration.write_text(_CONTAINERS_CONF)
    registries = root / "registries.conf"
    registries.write_text(_REGISTRIES_CONF)
    script = _PODMAN.format(root=root, run=root / RUN)
    environment = [f"CONTAINERS_CONF={configuration}", f"CONTAINERS_REGISTRIES_CONF={registries}"]
    return ["env", *environment, "sh", "-c", script]


@contextmanager
def running(root: Path, name: str) -> Iterator[Engine]:
    """One engine with the image loaded, until the block ends."""
    socket = root / f"{name}.sock"
    archive = root / "busybox.tar"
    if not archive.exists():
        busybox_tar(archive)
    with engine(command_of(name, root), socket) as host:
        docker(host, "import", str(archive), IMAGE)
        yield Engine(name, host, Api(socket), root)


@contextmanager
def all_running(root: Path) -> Iterator[list[Engine]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running(root, name)) for name in ENGINES]


def versions() -> str:
    """In one sentence."""
    lines = [
        subprocess.run(
            [name, "--version"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.splitlines()[0]
        for name in ("dockerd", "podman", "crun", "runc")
    ]
    return "; ".join(lines)
