"""cgroup v1: a hierarchy per controller, each its own mount; the container has a directory in each.

CI machines and many Linux hosts are like this. The guest VM is not: see v2.py.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wherryd import later
from wherryd.cgroups import blkio, cpu, cpuset, devices, hugetlb, memory, network, pids, rdma, tree
from wherryd.cgroups.files import Write, limit, number, read, write
from wherryd.cgroups.manager import FREEZE_TIMEOUT_S, KILL_TIMEOUT_S, Layout, View, join
from wherryd.errors import Conflict, InvalidParameter, SystemFault, Unavailable

if TYPE_CHECKING:
    from wherryd.cgroups import stats
    from wherryd.spec.oci import Resources
else:
    stats = later.module("wherryd.cgroups.stats")


class CgroupV1:
    """See CgroupManager."""

    version = 1

    def __init__(self, layout: Layout, path: str) -> None:
        self.path = path
        self._directories = {name: mount / path.lstrip("/") for name, mount in layout.mounts.items()}
        self._mounts = dict(layout.mounts)
        # cpu and cpuacct are often one mount: join each place once.
        self._places = tuple(dict.fromkeys(self._directories.values()))
        # pids and freezer are never shared with others' use: the list of processes is read there.
        self._main = self._directories.get("pids") or self._directories.get("freezer") or self._places[0]

    def create(self) -> None:
        found = [self._make(directory, name) for name, directory in self._directories.items()]
        if any(found) and tree.pids(self._main):
            raise Conflict(f"cgroup {self.path} already has processes: choose another cgroupsPath")

    def _make(self, directory: Path, controller: str) -> bool:
        """Whether it was there already."""
        try:
            os.mkdir(directory)  # noqa: PTH102 - on every start's path, and pathlib is several times slower
        except FileExistsError:
            return True
        except FileNotFoundError:
            self._make(directory.parent, controller)
            return self._make(directory, controller)
        if controller == cpuset.CONTROLLER:
            cpuset.fill_from_parent(directory)
        return False

    def apply(self, resources: Resources) -> None:
        if resources.unified:
            raise InvalidParameter(
                f"linux.resources.unified ({', '.join(resources.unified)}) is of cgroup v2, "
                "and this machine has v1: leave it out"
            )
        for each in self._planned(resources):
            self._write(each)

    def _planned(self, resources: Resources) -> Iterator[Write]:
        """One controller after the other: what is there now decides about some."""
        memory_dir, blkio_dir = (self._directories.get(name) for name in ("memory", "blkio"))
        if memory_dir is not None and resources.memory.check_before_update:
            memory.check_update(resources.memory, number(memory_dir / "memory.usage_in_bytes"))
        swap_now = limit(memory_dir / "memory.memsw.limit_in_bytes") if memory_dir else None
        yield from memory.writes_v1(resources.memory, swap_limit_now=swap_now)
        yield from cpu.writes_v1(resources.cpu)
        yield from cpuset.writes(resources.cpu)
        yield from pids.writes(resources.pids_limit)
        bfq = blkio_dir is None or not (blkio_dir / "blkio.weight").exists()
        yield from blkio.writes_v1(resources.block_io, bfq=bfq)
        yield from hugetlb.writes_v1(resources.hugepage_limits)
        yield from network.writes_v1(resources.network)
        yield from rdma.writes(resources.rdma)
        yield from devices.writes_v1(resources.devices)

    def _write(self, each: Write) -> None:
        directory = self._directories.get(each.controller)
        if directory is None:
            raise Unavailable(
                f"{each.file} cannot be set: no {each.controller} cgroup controller is mounted here; "
                f"mount it, or leave the limit out"
            )
        write(directory, each.file, each.value)

    def enter(self) -> None:
        join(self.admit(0))

    def admit(self, pid: int) -> tuple[int, ...]:  # noqa: ARG002 - it moves itself
        # "tasks" and not "cgroup.procs": only a thread that moves nobody but itself is spared the lock that
        # waits for every processor.
        with contextlib.ExitStack() as opened:
            found = []
            for place in self._places:
                try:
                    fd = os.open(f"{place}/tasks", os.O_WRONLY | os.O_CLOEXEC)
                except OSError as error:
                    raise SystemFault(f"cannot join cgroup {self.path}: {error.strerror}") from error
                opened.callback(os.close, fd)
                found.append(fd)
            opened.pop_all()
        return tuple(found)

    def pids(self) -> list[int]:
        return tree.pids(self._main)

    def stats(self) -> stats.CgroupStats:
        at = self._directories.get
        memory_dir, pids_dir, blkio_dir = at("memory"), at("pids"), at("blkio")
        hugetlb_dir = at("hugetlb")
        return stats.CgroupStats(
            version=1,
            cpu=cpu.read_v1(at("cpu"), at("cpuacct")),
            memory=memory.read_v1(memory_dir) if memory_dir else stats.MemoryStats(),
            blkio=blkio.read_v1(blkio_dir) if blkio_dir else stats.BlkioStats(),
            pids=pids.read(pids_dir) if pids_dir else stats.PidsStats(),
            hugetlb=hugetlb.read_v1(hugetlb_dir) if hugetlb_dir else {},
        )

    def oom_kills(self) -> int:
        directory = self._directories.get("memory")
        return memory.oom_kills_v1(directory) if directory else 0

    def freeze(self) -> None:
        directory = self._freezer()
        write(directory, "freezer.state", "FROZEN")
        try:
            # A process that forks while it is frozen leaves the state at FREEZING: writing again helps.
            tree.wait_until(lambda: self._is_frozen(directory), FREEZE_TIMEOUT_S, f"freeze {self.path}")
        except SystemFault:
            write(directory, "freezer.state", "THAWED")
            raise

    @staticmethod
    def _is_frozen(directory: Path) -> bool:
        if read(directory / "freezer.state").strip() == "FROZEN":
            return True
        write(directory, "freezer.state", "FROZEN")
        return False

    def thaw(self) -> None:
        write(self._freezer(), "freezer.state", "THAWED")

    def _freezer(self) -> Path:
        directory = self._directories.get("freezer")
        if directory is None:
            raise Unavailable("this machine has no freezer cgroup controller mounted; mount it to pause")
        return directory

    def kill(self) -> None:
        if not self._main.exists():
            return
        tree.signal_all(lambda: tree.pids(self._main), 9)
        freezer = self._directories.get("freezer")
        if freezer is not None and freezer.exists():
            # A frozen process dies only once it is thawed.
            write(freezer, "freezer.state", "THAWED")
        tree.kill_until_empty(self._main, KILL_TIMEOUT_S)

    def destroy(self) -> None:
        for place in self._places:
            tree.remove(place)

    def views(self) -> list[View]:
        """One per mount, named as on this machine ("cpu,cpuacct"); a link for each name of a pair."""
        return [
            View(os.path.relpath(self._mounts[name], "/sys/fs/cgroup"), directory)
            for name, directory in self._directories.items()
        ]
