"""cgroup v2's manager on a real v2 tree; on a hybrid machine that tree has no controllers, but all else."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wherryd.cgroups.manager import Layout
from wherryd.cgroups.v2 import CgroupV2
from wherryd.errors import Conflict, Unavailable
from wherryd.spec import defaults, parse

pytestmark = pytest.mark.root


@pytest.fixture
def cgroup() -> Iterator[CgroupV2]:
    trees = [
        Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line
    ]
    if not trees:
        pytest.skip("no cgroup v2 tree is mounted")
    parent = f"/wherry-rig-{os.getpid()}"
    cgroup = CgroupV2(Layout(2, {"": trees[0]}), f"{parent}/v2")
    cgroup.create()
    yield cgroup
    cgroup.kill()
    cgroup.destroy()
    (trees[0] / parent.lstrip("/")).rmdir()


def _inside(cgroup: CgroupV2, action: Callable[[], int]) -> int:
    """The child's pid; it runs action in the cgroup and ends with its result."""
    pid = os.fork()
    if pid == 0:
        status = 125
        try:
            cgroup.enter()
            status = action()
        finally:
            os._exit(status)
    return pid


def _sleep() -> int:
    signal.pause()
    return 0


def _wait_until_inside(cgroup: CgroupV2, pid: int) -> None:
    for _ in range(100_000):
        if pid in cgroup.pids():
            return
    raise AssertionError("the child did not join")


def test_freeze_thaw_and_kill(cgroup: CgroupV2) -> None:
    pid = _inside(cgroup, _sleep)
    _wait_until_inside(cgroup, pid)
    cgroup.freeze()
    with pytest.raises(Conflict, match="already has processes"):
        cgroup.create()
    cgroup.kill()
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    assert cgroup.pids() == []


def test_devices_outside_the_rules_cannot_be_opened(cgroup: CgroupV2, tmp_path: Path) -> None:
    cgroup.apply(parse.parse_resources({"devices": list(defaults.DEVICE_RULES)}))
    os.mknod(tmp_path / "kmsg", 0o20666, os.makedev(1, 11))

    def action() -> int:
        os.close(os.open("/dev/null", os.O_RDWR))
        os.mknod(tmp_path / "made", 0o20666, os.makedev(1, 11))
        try:
            os.close(os.open(tmp_path / "kmsg", os.O_RDONLY))
        except PermissionError:
            return 7
        return 0

    assert os.waitstatus_to_exitcode(os.waitpid(_inside(cgroup, action), 0)[1]) == 7


def test_new_device_rules_replace_the_old_ones(cgroup: CgroupV2, tmp_path: Path) -> None:
    os.mknod(tmp_path / "kmsg", 0o20666, os.makedev(1, 11))
    deny = {"allow": False, "access": "rwm"}
    for allowed in (False, True, False):
        kmsg = {"allow": allowed, "type": "c", "major": 1, "minor": 11, "access": "r"}
        cgroup.apply(parse.parse_resources({"devices": [deny, kmsg]}))

        def action() -> int:
            try:
                os.close(os.open(tmp_path / "kmsg", os.O_RDONLY))
            except PermissionError:
                return 7
            return 0

        status = os.waitstatus_to_exitcode(os.waitpid(_inside(cgroup, action), 0)[1])
        assert status == (0 if allowed else 7)


def test_unified_keys_are_written_as_they_are(cgroup: CgroupV2) -> None:
    cgroup.apply(parse.parse_resources({"unified": {"cgroup.max.depth": "3"}}))
    assert (cgroup.views()[0].source / "cgroup.max.depth").read_text() == "3\n"
    with pytest.raises(Unavailable, match=r"nosuch\.max"):
        cgroup.apply(parse.parse_resources({"unified": {"nosuch.max": "3"}}))


def test_a_limit_without_its_controller_is_an_error(cgroup: CgroupV2) -> None:
    offered = (cgroup.views()[0].source / "cgroup.controllers").read_text().split()
    if "memory" in offered:
        cgroup.apply(parse.parse_resources({"memory": {"limit": 64 << 20}}))
        assert cgroup.stats().memory.limit_bytes == 64 << 20
    else:
        with pytest.raises(Unavailable, match="memory controller is not available"):
            cgroup.apply(parse.parse_resources({"memory": {"limit": 64 << 20}}))


def test_stats_have_cpu_time_even_without_controllers(cgroup: CgroupV2) -> None:
    def action() -> int:
        sum(range(1_000_000))
        return 0

    os.waitpid(_inside(cgroup, action), 0)
    assert cgroup.stats().cpu.total_ns > 0
    assert cgroup.stats().version == 2


def test_destroying_twice_is_fine(cgroup: CgroupV2) -> None:
    cgroup.destroy()
    cgroup.destroy()
    cgroup.kill()
