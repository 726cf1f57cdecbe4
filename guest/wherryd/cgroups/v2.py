"""cgroup v2: one tree. The guest VM is like this.

Controllers are switched on from the root downwards, in each parent's cgroup.subtree_control; only the
leaf holds processes ("no internal processes" rule). Kernel: admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wherryd import later
from wherryd.cgroups import blkio, cpu, cpuset, devices, hugetlb, memory, network, pids, rdma, tree
from wherryd.cgroups.files import Write, limit, number, read, table, write
from wherryd.cgroups.manager import FREEZE_TIMEOUT_S, KILL_TIMEOUT_S, Layout, View
from wherryd.errors import Conflict, SystemFault, Unavailable

if TYPE_CHECKING:
    from wherryd.cgroups import stats
    from wherryd.spec.oci import Resources
else:
    stats = later.module("wherryd.cgroups.stats")

_WANTED = ("cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma")


class CgroupV2:
    """See CgroupManager."""

    version = 2

    def __init__(self, layout: Layout, path: str) -> None:
        self.path = path
        self._mount = layout.mounts[""]
        self._directory = self._mount / path.lstrip("/")

    def create(self) -> None:
        parts = self._directory.relative_to(self._mount).parts
        current = self._mount
        for part in parts:
            self._enable_controllers(current)
            current = current / part
            current.mkdir(exist_ok=True)
        if tree.pids(self._directory):
            raise Conflict(f"cgroup {self.path} already has processes: choose another cgroupsPath")

    @staticmethod
    def _enable_controllers(directory: Path) -> None:
        offered = set(read(directory / "cgroup.controllers").split())
        enabled = set(read(directory / "cgroup.subtree_control").split())
        missing = [name for name in _WANTED if name in offered - enabled]
        if missing:
            write(directory, "cgroup.subtree_control", " ".join(f"+{name}" for name in missing))

    def apply(self, resources: Resources) -> None:
        network.check_v2(resources.network)
        for each in self._planned(resources):
            self._write(each)
        if resources.devices:
            devices.attach_v2(self._directory, resources.devices)

    def _planned(self, resources: Resources) -> Iterator[Write]:
        """One controller after the other: what is there now decides about some. `unified` comes last."""
        directory = self._directory
        if resources.memory.check_before_update:
            memory.check_update(resources.memory, number(directory / "memory.current"))
        limit_now = limit(directory / "memory.max") if resources.memory.swap is not None else None
        yield from memory.writes_v2(resources.memory, limit_now=limit_now)
        partial = bool(resources.cpu.quota) is not bool(resources.cpu.period)
        yield from cpu.writes_v2(resources.cpu, max_now=read(directory / "cpu.max") if partial else "")
        yield from cpuset.writes(resources.cpu)
        yield from pids.writes(resources.pids_limit)
        weighted = resources.block_io.weight or resources.block_io.weights
        bfq = bool(weighted) and (directory / "io.bfq.weight").exists()
        yield from blkio.writes_v2(resources.block_io, bfq=bfq)
        yield from hugetlb.writes_v2(resources.hugepage_limits)
        yield from rdma.writes(resources.rdma)
        for name, value in resources.unified.items():
            # A value may have several lines, which the kernel takes one at a time.
            for line in value.splitlines() or [""]:
                yield Write(name.partition(".")[0], name, line)

    def _write(self, each: Write) -> None:
        if (
            each.controller != "cgroup"
            and each.controller not in read(self._directory / "cgroup.controllers").split()
        ):
            raise Unavailable(
                f"{each.file} cannot be set: the {each.controller} controller is not available in "
                f"{self._directory}; boot with it enabled, or leave the limit out"
            )
        write(self._directory, each.file, each.value)

    def enter(self) -> None:
        self.admit(0)

    def admit(self, pid: int) -> tuple[int, ...]:
        write(self._directory, "cgroup.procs", str(pid))
        return ()

    def pids(self) -> list[int]:
        return tree.pids(self._directory)

    def stats(self) -> stats.CgroupStats:
        return stats.CgroupStats(
            version=2,
            cpu=cpu.read_v2(self._directory),
            memory=memory.read_v2(self._directory),
            blkio=blkio.read_v2(self._directory),
            pids=pids.read(self._directory),
            hugetlb=hugetlb.read_v2(self._directory),
        )

    def oom_kills(self) -> int:
        return memory.oom_kills_v2(self._directory)

    def freeze(self) -> None:
        write(self._directory, "cgroup.freeze", "1")
        try:
            tree.wait_until(lambda: self._event("frozen") == 1, FREEZE_TIMEOUT_S, f"freeze {self.path}")
        except SystemFault:
            write(self._directory, "cgroup.freeze", "0")
            raise

    def thaw(self) -> None:
        write(self._directory, "cgroup.freeze", "0")

    def _event(self, name: str) -> int:
        return table(self._directory / "cgroup.events").get(name, 0)

    def kill(self) -> None:
        """cgroup.kill, Linux 5.14: no process can fork itself away from it, and frozen ones die too."""
        if not self._directory.exists():
            return
        write(self._directory, "cgroup.kill", "1")
        tree.wait_until(lambda: self._event("populated") == 0, KILL_TIMEOUT_S, f"kill all of {self.path}")

    def destroy(self) -> None:
        tree.remove(self._directory)

    def views(self) -> list[View]:
        return [View("", self._directory)]
