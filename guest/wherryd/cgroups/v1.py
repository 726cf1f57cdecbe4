"""cgroup v1: a hierarchy per controller, each its own mount; the container has a directory in each.

CI machines and many Linux hosts are like this. The guest VM is not: see v2.py.
"""

import contextlib
import os
from pathlib import Path

from wherryd.cgroups import blkio, cpu, cpuset, devices, memory, pids, tree
from wherryd.cgroups.files import Write, limit, read, write
from wherryd.cgroups.manager import FREEZE_TIMEOUT_S, KILL_TIMEOUT_S, Layout, View, join
from wherryd.cgroups.stats import BlkioStats, CgroupStats, MemoryStats, PidsStats
from wherryd.errors import Conflict, SystemFault, Unavailable
from wherryd.spec.oci import Resources


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
        memory_dir = self._directories.get(memory.CONTROLLER)
        swap_now = limit(memory_dir / "memory.memsw.limit_in_bytes") if memory_dir else None
        for each in (
            *memory.writes_v1(resources.memory, swap_limit_now=swap_now),
            *cpu.writes_v1(resources.cpu),
            *cpuset.writes(resources.cpu),
            *pids.writes(resources.pids_limit),
            *blkio.writes_v1(resources.block_io),
            *devices.writes_v1(resources.devices),
        ):
            self._write(each)

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

    def stats(self) -> CgroupStats:
        at = self._directories.get
        memory_dir, pids_dir, blkio_dir = at("memory"), at("pids"), at("blkio")
        return CgroupStats(
            version=1,
            cpu=cpu.read_v1(at("cpu"), at("cpuacct")),
            memory=memory.read_v1(memory_dir) if memory_dir else MemoryStats(),
            blkio=blkio.read_v1(blkio_dir) if blkio_dir else BlkioStats(),
            pids=pids.read(pids_dir) if pids_dir else PidsStats(),
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
        tree.signal_all(self._main, 9)
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
