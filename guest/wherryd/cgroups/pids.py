"""Number of tasks. Kernel: admin-guide/cgroup-v1/pids.rst; the same files in v2."""

from pathlib import Path

from wherryd.cgroups.files import Write, limit, number
from wherryd.cgroups.stats import PidsStats

CONTROLLER = "pids"


def writes(tasks: int | None) -> list[Write]:
    """0 and less mean no limit, as in Docker; None leaves it."""
    if tasks is None:
        return []
    return [Write(CONTROLLER, "pids.max", str(tasks) if tasks > 0 else "max")]


def read(directory: Path) -> PidsStats:
    return PidsStats(current=number(directory / "pids.current"), limit=limit(directory / "pids.max"))
