"""Which CPUs and memory nodes. Kernel: admin-guide/cgroup-v1/cpusets.rst, cgroup-v2.rst "Cpuset"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wherryd.cgroups.files import Write, read, write

if TYPE_CHECKING:
    from wherryd.spec.oci import CpuLimits

CONTROLLER = "cpuset"
_FILES = ("cpuset.cpus", "cpuset.mems")


def writes(limits: CpuLimits) -> list[Write]:
    """The same files in v1 and v2."""
    values = zip(_FILES, (limits.cpus, limits.mems), strict=True)
    return [Write(CONTROLLER, file, value) for file, value in values if value]


def fill_from_parent(directory: Path) -> None:
    """v1 only: a new cpuset is empty, and no process may join an empty one."""
    for file in _FILES:
        if not read(directory / file).strip():
            write(directory, file, read(directory.parent / file).strip())
