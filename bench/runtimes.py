"""OCI runtimes by their commands: `run` of `true` from one bundle, without a network."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from bench.engines import busybox_tar
from bench.figures import Figure, in_turn, seconds, table
from wherryd.spec import defaults

RUNS = 30


def bundle(folder: Path) -> None:
    """A bundle of a static busybox, with what every runtime's own `spec` command gives."""
    (folder / "rootfs").mkdir(parents=True)
    archive = folder / "busybox.tar"
    busybox_tar(archive)
    shutil.unpack_archive(archive, folder / "rootfs", filter="data")
    (folder / "config.json").write_text(json.dumps(config()))


def config() -> dict[str, Any]:
    capabilities = list(defaults.CAPABILITIES)
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "hostname": "box",
        "process": {
            "args": ["true"],
            "env": [f"PATH={defaults.PATH}"],
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": True,
        },
        "mounts": [each for each in defaults.mounts() if each["type"] != "cgroup"],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": list(defaults.MASKED_PATHS),
            "readonlyPaths": list(defaults.READONLY_PATHS),
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        },
    }


def run(command: list[str], folder: Path, root: Path) -> float:
    """Milliseconds of one `run`, without a second cgroup tree, which crun stumbles over."""
    script = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
    name = f"bench-{os.getpid()}"
    arguments = [*command, "--root", str(root), "run", "--bundle", str(folder), name]
    return 1000 * seconds(
        lambda: subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "-", *arguments], check=True, stdin=subprocess.DEVNULL
        )
    )


def report() -> str:
    """The section of docs/benchmarks.md. Needs root, runc and crun."""
    ours = str(Path(sys.executable).parent / "wherry-runc")
    programs = {"wherry-runc": [ours], "runc": ["runc"], "crun": ["crun", "--cgroup-manager=cgroupfs"]}
    with tempfile.TemporaryDirectory(prefix="wherry-bench-") as name:
        folder = Path(name)
        bundle(folder / "bundle")
        actions = [
            partial(run, command, folder / "bundle", folder / program)
            for program, command in programs.items()
        ]
        figures = [Figure(each, "ms") for each in in_turn(actions, RUNS)]
    python = Figure(
        tuple(
            1000 * seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True))
            for _ in range(RUNS)
        ),
        "ms",
    )
    return (
        "## `run` of an OCI runtime\n\n"
        f"`true` from one bundle, no network, {RUNS} runs each in turn, median (smallest to largest). "
        "wherry-runc is a Python program that begins from nothing each time; an interpreter that does "
        f"nothing takes {python}. Inside wherryd its work is done by forks of a warm process.\n\n"
        + table(["", *programs], [["run", *figures]])
    )
