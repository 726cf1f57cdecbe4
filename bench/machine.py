"""A machine's start, stage by stage, and its tunnel: a real VM, made for this and removed after."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import tunnel
from bench.figures import Figure, seconds, table
from wherry.paths import paths
from wherrywire import __version__

RUNS = 3
STAGES = ("hypervisor", "kernel", "ready", "tunnel", "api")


class Machine:
    """The client's own commands, on a home folder of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._wherry = str(Path(sys.executable).parent / "wherry")
        self._environment = {**os.environ, "WHERRY_HOME": str(home), "WHERRY_CACHE": str(paths().cache)}
        for name in ("WHERRY_HOST", "DOCKER_HOST"):
            self._environment.pop(name, None)

    def wherry(self, *arguments: str) -> str:
        """Runs `wherry ARGUMENTS`; gives its output. Raises CalledProcessError."""
        done = subprocess.run(
            [self._wherry, *arguments],
            env=self._environment,
            check=True,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        return done.stdout

    def start(self) -> dict[str, Any]:
        """`wherry machine start`: seconds per stage, and in all."""
        document: dict[str, Any] = json.loads(self.wherry("machine", "start", "--json"))
        return document

    def inspect(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.wherry("machine", "inspect"))
        return document


@contextmanager
def machine() -> Iterator[Machine]:
    """A new machine, stopped; removed at the end whatever happened."""
    # A short path: the machine's socket lies below it, and such a path may hold 103 bytes.
    with tempfile.TemporaryDirectory(prefix="wb-", dir="/tmp") as folder:
        made = Machine(Path(folder))
        try:
            yield made
        except BaseException as exc:
            try:
                made.wherry("machine", "rm", "--force")
            except subprocess.CalledProcessError as second:
                exc.add_note(f"and the machine below {folder} could not be removed: {second}")
            raise
        made.wherry("machine", "rm", "--force")


def stage_rows(cold: list[dict[str, Any]], resumed: list[dict[str, Any]]) -> list[list[object]]:
    """A row per stage: seconds from a stopped machine, and from a saved one."""

    def figure(starts: list[dict[str, Any]], stage: str) -> object:
        samples = tuple(start["seconds"][stage] for start in starts if stage in start["seconds"])
        return Figure(samples, "s") if samples else "-"

    rows: list[list[object]] = [[stage, figure(cold, stage), figure(resumed, stage)] for stage in STAGES]
    totals = [Figure(tuple(start["total_seconds"] for start in starts), "s") for starts in (cold, resumed)]
    return [*rows, ["**in all**", *totals]]


def box_size() -> str:
    """Size of the box, which `make box` has put into the cache."""
    pointer = json.loads((paths().boxes / f"{__version__}-amd64.json").read_text())
    return f"{Path(pointer['box']).stat().st_size / 1e6:.0f} MB"


def report() -> str:
    """The sections "machine" and "tunnel" of docs/benchmarks.md. Needs root and QEMU or VirtualBox."""
    with machine() as made:
        init = seconds(lambda: made.wherry("machine", "init"))
        cold, resumed = [], []
        for _ in range(RUNS):
            cold.append(made.start())
            made.wherry("machine", "stop", "--save")
            resumed.append(made.start())
            made.wherry("machine", "stop")
        made.start()
        hypervisor = made.inspect()["hypervisor"]
        through_tunnel = tunnel.report(made)
    return (
        "## `wherry machine start`\n\n"
        f"{RUNS} starts each, median (smallest to largest), on {hypervisor}. "
        f"`wherry machine init`, once: {init:.1f} s. The box: {box_size()}.\n\n"
        + table(["stage", "from stopped", "from saved (`stop --save`)"], stage_rows(cold, resumed))
        + "\n"
        + through_tunnel
    )
