"""Number of tasks. Kernel: admin-guide/cgroup-v1/pids.rst; the same files in v2."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wherryd import later
from wherryd.cgroups.files import Write, limit, number

if TYPE_CHECKING:
    from wherryd.cgroups import stats
else:
    stats = later.module("wherryd.cgroups.stats")

CONTROLLER = "pids"


def writes(tasks: int | None) -> list[Write]:
    """0 and less mean no limit, as in Docker; None leaves it."""
    if tasks is None:
        return []
    return [Write(CONTROLLER, "pids.max", str(tasks) if tasks > 0 else "max")]


def read(directory: Path) -> stats.PidsStats:
    return stats.PidsStats(current=number(directory / "pids.current"), limit=limit(directory / "pids.max"))
