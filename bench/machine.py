"""A machine's start, stage by stage, its tunnel, builds in it: a real VM, made for this and removed after."""

import json
from pathlib import Path
from typing import Any

from bench import tunnel, vmbuild
from bench.figures import Figure, seconds, table
from bench.vm import machine
from wherry.paths import paths
from wherrywire import __version__

RUNS = 3
QUESTIONS = 20
STAGES = ("hypervisor", "kernel", "ready", "tunnel", "api")


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
    """The sections of a machine in docs/benchmarks.md. Needs root and QEMU or VirtualBox."""
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
        builds = vmbuild.report(made)
        asked = Figure(tuple(1000 * seconds(made.state) for _ in range(QUESTIONS)), "ms")
    return (
        "## `wherry machine start`\n\n"
        f"{RUNS} starts each, median (smallest to largest), on {hypervisor}. "
        f"`wherry machine init`, once: {init:.1f} s. The box: {box_size()}. "
        f"`wherry machine status`, which asks the hypervisor: {asked}.\n\n"
        + table(["stage", "from stopped", "from saved (`stop --save`)"], stage_rows(cold, resumed))
        + "\n"
        + through_tunnel
        + "\n"
        + builds
    )
