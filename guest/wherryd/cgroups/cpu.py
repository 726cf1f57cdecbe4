"""CPU shares, quota and use. Kernel: scheduler/sched-bwc.rst, admin-guide/cgroup-v2.rst "CPU"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wherryd import later
from wherryd.cgroups.files import Write, ids, number, read, table
from wherryd.errors import InvalidParameter

if TYPE_CHECKING:
    from wherryd.cgroups import stats
    from wherryd.spec.oci import CpuLimits
else:
    stats = later.module("wherryd.cgroups.stats")

CONTROLLER = "cpu"
_DEFAULT_PERIOD_US = 100_000
#: USER_HZ, in which cpuacct.stat counts: 100 on every architecture we run on.
_TICK_NS = 10_000_000


def writes_v1(limits: CpuLimits) -> list[Write]:
    """The period goes first: a quota is checked against it. 0 means "leave it", as in Docker.

    An idle group has no shares to set: it stops being idle before, and becomes it after.
    """
    writes = [
        _v1("cpu.idle", limits.idle) if not limits.idle else None,
        _v1("cpu.shares", limits.shares or None),
        _v1("cpu.cfs_period_us", limits.period or None),
        _v1("cpu.cfs_quota_us", limits.quota or None),
        _v1("cpu.cfs_burst_us", limits.burst),
        _v1("cpu.rt_period_us", limits.realtime_period or None),
        _v1("cpu.rt_runtime_us", limits.realtime_runtime or None),
        _v1("cpu.idle", limits.idle) if limits.idle else None,
    ]
    return [write for write in writes if write is not None]


def _v1(file: str, value: int | None) -> Write | None:
    return None if value is None else Write(CONTROLLER, file, str(value))


def writes_v2(limits: CpuLimits, *, max_now: str = "") -> list[Write]:
    """max_now: cpu.max as it is, from which what is not given is taken. Raises InvalidParameter."""
    if limits.realtime_runtime or limits.realtime_period:
        raise InvalidParameter("linux.resources.cpu.realtimeRuntime: cgroup v2 has none; leave it out")
    writes = []
    if limits.idle == 0:
        writes.append(Write(CONTROLLER, "cpu.idle", "0"))
    if limits.shares:
        writes.append(Write(CONTROLLER, "cpu.weight", str(weight(limits.shares))))
    if limits.quota or limits.period:
        now = max_now.split() or ["max", str(_DEFAULT_PERIOD_US)]
        quota = now[0] if not limits.quota else str(limits.quota) if limits.quota > 0 else "max"
        # 50000 100000 -> half a CPU
        writes.append(Write(CONTROLLER, "cpu.max", f"{quota} {limits.period or now[1]}"))
    if limits.burst is not None:
        writes.append(Write(CONTROLLER, "cpu.max.burst", str(limits.burst)))
    if limits.idle:
        writes.append(Write(CONTROLLER, "cpu.idle", "1"))
    return writes


def weight(shares: int) -> int:
    """v1's 2..262144 (default 1024) on v2's 1..10000: 2 -> 1, 1024 -> 39, 262144 -> 10000.

    Source: the conversion crun and runc have documented for cgroup v2.
    """
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def read_v1(cpu: Path | None, cpuacct: Path | None) -> stats.CpuStats:
    throttling = table(cpu / "cpu.stat") if cpu else {}
    ticks = table(cpuacct / "cpuacct.stat") if cpuacct else {}
    return stats.CpuStats(
        total_ns=number(cpuacct / "cpuacct.usage") if cpuacct else 0,
        user_ns=ticks.get("user", 0) * _TICK_NS,
        system_ns=ticks.get("system", 0) * _TICK_NS,
        percpu_ns=tuple(ids(read(cpuacct / "cpuacct.usage_percpu").split())) if cpuacct else (),
        periods=throttling.get("nr_periods", 0),
        throttled_periods=throttling.get("nr_throttled", 0),
        throttled_ns=throttling.get("throttled_time", 0),
    )


def read_v2(directory: Path) -> stats.CpuStats:
    """cpu.stat is there, without the quota's lines, even when the controller is off."""
    stat = table(directory / "cpu.stat")
    return stats.CpuStats(
        total_ns=stat.get("usage_usec", 0) * 1000,
        user_ns=stat.get("user_usec", 0) * 1000,
        system_ns=stat.get("system_usec", 0) * 1000,
        periods=stat.get("nr_periods", 0),
        throttled_periods=stat.get("nr_throttled", 0),
        throttled_ns=stat.get("throttled_usec", 0) * 1000,
    )
