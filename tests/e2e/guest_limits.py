"""Sets each limit of cgroup v2 on a container, and prints as JSON what its files and it say.

Runs inside the machine, as root, on the engine's own code there: the test sends it to `python3 -` and judges
what it prints. Only the guest has a machine whose controllers are all v2's.
"""

import errno
import json
import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wherryd.cgroups.manager import CgroupManager
from wherryd.errors import InvalidParameter
from wherryd.runtime import ending, standalone, status
from wherryd.runtime.state import StateDir
from wherryd.spec import defaults, parse

MIB = 1 << 20
NAME = "limits"
#: A real disk: a memory file system has no I/O to count.
DISK = "/var/lib/wherry"
HUGE = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
MAP_HUGETLB = 0x40000
FILES = (
    "cpu.weight", "cpu.max", "cpu.max.burst", "cpuset.cpus", "cpuset.cpus.effective", "cpuset.mems",
    "memory.max", "memory.low", "memory.swap.max", "memory.min", "io.max", "io.weight", "pids.max",
    "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max", "cgroup.max.depth",
)  # fmt: skip
DENY_ALL = {"allow": False, "access": "rwm"}


def resources(device: int) -> dict[str, Any]:
    rate = {"major": os.major(device), "minor": os.minor(device), "rate": 64 * MIB}
    return {
        "devices": list(defaults.DEVICE_RULES),
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 10000, "cpus": "1", "mems": "0"},
        "memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB},
        "pids": {"limit": 12},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}],
        "blockIO": {
            "weight": 500,
            "throttleReadBpsDevice": [rate],
            "throttleWriteBpsDevice": [rate],
            "throttleReadIOPSDevice": [rate | {"rate": 5000}],
            "throttleWriteIOPSDevice": [rate | {"rate": 6000}],
        },
        "unified": {"memory.min": str(MIB), "cgroup.max.depth": "3"},
    }


def bundle(base: Path) -> Path:
    (base / "rootfs/bin").mkdir(parents=True)
    shutil.copy("/usr/bin/busybox", base / "rootfs/bin/busybox")
    for applet in ("sh", "cat", "dd", "grep", "mknod", "sleep"):
        (base / "rootfs/bin" / applet).symlink_to("busybox")
    capabilities = list(defaults.CAPABILITIES)
    document = {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {
            "args": ["sleep", "1000"],
            "env": [f"PATH={defaults.PATH}"],
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        },
        "mounts": defaults.mounts(),
        "linux": {
            "namespaces": [{"type": kind} for kind in defaults.NAMESPACES],
            "resources": resources(base.stat().st_dev),
            "cgroupsPath": "/wherry-limits/one",
        },
    }
    (base / "config.json").write_text(json.dumps(document))
    return base


def forked(action: Callable[[], int]) -> tuple[int, str]:
    """The exit status of a child that does it, and what it wrote."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        result = 125
        try:
            os.dup2(write, 1)
            os.dup2(write, 2)
            os.close(read)
            os.close(write)
            result = action()
        finally:
            os._exit(result)
    os.close(write)
    with os.fdopen(read) as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


class Container:
    def __init__(self, base: Path) -> None:
        self.root = base / "state"
        self.options = standalone.Options(root=self.root)
        null = os.open("/dev/null", os.O_RDWR)
        # Its streams are a file: one that held our pipe would keep its reader waiting.
        saved = [os.dup(number) for number in range(3)]
        for number in range(3):
            os.dup2(null, number)
        try:
            standalone.create(NAME, bundle(base), self.options)
            standalone.start(NAME, self.root)
        finally:
            for number in range(3):
                os.dup2(saved[number], number)
        self.state = StateDir(self.root, NAME).read_state()
        self.cgroup: CgroupManager = status.cgroup_of(self.state)
        self.directory = self.cgroup.views()[0].source

    def files(self) -> dict[str, str]:
        return {name: (self.directory / name).read_text().strip() for name in FILES}

    def inside(self, script: str) -> tuple[int, str]:
        """What a shell in it says, and ends with."""
        process = standalone.exec_template(NAME, self.root)
        shell = standalone.replace(process, args=("sh", "-c", script))
        return forked(lambda: standalone.exec_process(NAME, self.options, shell, detach=False))

    def in_group(self, action: Callable[[], int]) -> int:
        """The exit status of a process of ours that has joined its cgroup."""

        def joined() -> int:
            self.cgroup.enter()
            return action()

        return forked(joined)[0]

    def update(self, document: dict[str, Any]) -> None:
        self.cgroup.apply(parse.parse_resources(document))


def map_huge(size: int) -> int:
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | MAP_HUGETLB).close()
    except OSError as error:
        return error.errno or 1
    return 0


def refused(container: Container, document: dict[str, Any]) -> str:
    try:
        container.update(document)
    except InvalidParameter as error:
        return str(error)
    return ""


def probe(base: Path) -> dict[str, Any]:
    container = Container(base)
    try:
        found: dict[str, Any] = {"files": container.files()}
        found["namespace"] = container.inside("cat /proc/self/cgroup")
        found["processors"] = container.inside("grep Cpus_allowed_list /proc/self/status")
        major, minor = os.major(base.stat().st_dev), os.minor(base.stat().st_dev)
        found["device_denied"] = container.inside(f"mknod /disk b {major} {minor} && dd if=/disk count=0")
        disk = {"allow": True, "type": "b", "major": major, "minor": minor, "access": "r"}
        container.update({"devices": [DENY_ALL, disk]})
        found["device_allowed"] = container.inside("dd if=/disk count=0")
        container.update({"devices": list(defaults.DEVICE_RULES)})
        found["written"] = container.inside("dd if=/dev/zero of=/data bs=64k count=16 conv=fsync")
        found["too_much_memory"] = container.inside("dd if=/dev/zero of=/dev/null bs=200M count=1")
        container.inside("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done")
        found["oom_kills"] = container.cgroup.oom_kills()
        HUGE.write_text("4")
        found["huge_within"] = container.in_group(lambda: map_huge(4 * MIB))
        found["huge_beyond"] = container.in_group(lambda: map_huge(6 * MIB)) == errno.ENOMEM
        HUGE.write_text("0")
        stats = container.cgroup.stats()
        found["stats"] = {
            "version": stats.version,
            "throttled": stats.cpu.throttled_periods,
            "cpu_ns": stats.cpu.total_ns,
            "limit": stats.memory.limit_bytes,
            "swap_limit": stats.memory.swap_limit_bytes,
            "peak": stats.memory.max_usage_bytes,
            "pids": [stats.pids.current, stats.pids.limit],
            "written": sum(each.value for each in stats.blkio.service_bytes if each.op == "write"),
            "huge_limit": stats.hugetlb["2MB"].limit_bytes,
            "huge_failures": stats.hugetlb["2MB"].failcnt,
        }
        container.cgroup.freeze()
        found["paused"] = [status.of(container.state), (container.directory / "cgroup.freeze").read_text()]
        container.cgroup.thaw()
        found["resumed"] = status.of(container.state)
        container.update({"memory": {"limit": 48 * MIB, "swap": 48 * MIB}, "cpu": {"quota": 20000}})
        container.update({"pids": {"limit": 9}, "cpu": {"cpus": "0-1", "shares": 2048}})
        found["updated"] = container.files()
        found["network"] = refused(container, {"network": {"classID": 7}})
        ten = "1 2 3 4 5 6 7 8 9 10"
        found["forks"] = container.inside(f"for i in {ten}; do sleep 1000 >/dev/null 2>&1 & done; echo all")
        found["before_kill"] = len(container.cgroup.pids())
        container.cgroup.kill()
        found["after_kill"] = container.cgroup.pids()
    finally:
        container.cgroup.kill()
        ending.delete(NAME, container.root, force=True)
    found["left"] = container.directory.exists()
    return found


def main() -> None:
    base = Path(tempfile.mkdtemp(prefix="limits-", dir=DISK))
    try:
        json.dump(probe(base), sys.stdout)
    finally:
        shutil.rmtree(base)
        parent = Path("/sys/fs/cgroup/wherry-limits")
        if parent.exists():
            parent.rmdir()


if __name__ == "__main__":
    main()
