"""Memory and swap. Kernel: admin-guide/cgroup-v1/memory.rst, admin-guide/cgroup-v2.rst "Memory"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wherryd import later
from wherryd.cgroups.files import Write, limit, number, table
from wherryd.errors import Conflict, InvalidParameter

if TYPE_CHECKING:
    from wherryd.cgroups import stats
    from wherryd.spec.oci import MemoryLimits
else:
    stats = later.module("wherryd.cgroups.stats")

CONTROLLER = "memory"


def writes_v1(limits: MemoryLimits, *, swap_limit_now: int | None) -> list[Write]:
    """swap_limit_now: memory.memsw.limit_in_bytes as it is, None = no limit.

    The kernel refuses a moment in which the limit is above that of memory and swap together, so when
    both grow, swap goes first. A fresh cgroup has no limit: then it goes second. Without a limit of memory
    there can be none of both.
    """
    wanted_swap = limits.swap
    if limits.limit == -1 and wanted_swap is None and swap_limit_now is not None:
        wanted_swap = -1
    memory = [_v1("memory.limit_in_bytes", limits.limit)]
    swap = [_v1("memory.memsw.limit_in_bytes", wanted_swap)]
    grows = swap_limit_now is not None and (
        wanted_swap == -1 or (wanted_swap is not None and wanted_swap > swap_limit_now)
    )
    writes = swap + memory if grows else memory + swap
    writes += [
        _v1("memory.soft_limit_in_bytes", limits.reservation),
        _v1("memory.swappiness", limits.swappiness),
        Write(CONTROLLER, "memory.oom_control", "1") if limits.disable_oom_killer else None,
    ]
    return [write for write in writes if write is not None]


def _v1(file: str, value: int | None) -> Write | None:
    return None if value is None else Write(CONTROLLER, file, str(value))


def writes_v2(limits: MemoryLimits, *, limit_now: int | None = None) -> list[Write]:
    """limit_now: memory.max as it is, None = no limit; for a swap limit that comes without one of memory.

    Raises InvalidParameter for what v2 does not have, or when swap is below the limit.
    """
    if limits.swappiness is not None:
        raise InvalidParameter(
            "linux.resources.memory.swappiness: cgroup v2 has no such setting; leave it out"
        )
    if limits.disable_oom_killer:
        raise InvalidParameter("linux.resources.memory.disableOOMKiller: cgroup v2 cannot; leave it out")
    writes = []
    if limits.swap is not None:
        writes.append(Write(CONTROLLER, "memory.swap.max", _swap_alone(limits, limit_now)))
    if limits.limit is not None:
        writes.append(Write(CONTROLLER, "memory.max", _max(limits.limit)))
    if limits.reservation is not None:
        writes.append(Write(CONTROLLER, "memory.low", str(max(limits.reservation, 0))))
    return writes


def _swap_alone(limits: MemoryLimits, limit_now: int | None) -> str:
    """v2 counts swap by itself, OCI counts memory and swap: 256 MiB of 128 MiB memory -> 128 MiB."""
    if limits.swap in (-1, 0):
        return "max" if limits.swap == -1 else "0"
    memory = limits.limit or limit_now
    if memory is None or memory <= 0:
        raise InvalidParameter("linux.resources.memory.swap: set a memory limit as well")
    alone = (limits.swap or 0) - memory
    if alone < 0:
        raise InvalidParameter("linux.resources.memory.swap: must not be below the memory limit")
    return str(alone)


def _max(value: int) -> str:
    return "max" if value == -1 else str(value)


def check_update(limits: MemoryLimits, usage_bytes: int) -> None:
    """config-linux.md, "checkBeforeUpdate". Raises Conflict: a lower limit would have something killed."""
    if limits.check_before_update and limits.limit is not None and 0 < limits.limit < usage_bytes:
        raise Conflict(
            f"rejecting memory limit {limits.limit} because of the usage {usage_bytes}: "
            "free some, or leave checkBeforeUpdate out"
        )


def read_v1(directory: Path) -> stats.MemoryStats:
    """memsw counts memory and swap together, and is not there when the kernel does not account for swap."""
    used, most = number(directory / "memory.usage_in_bytes"), limit(directory / "memory.limit_in_bytes")
    together = limit(directory / "memory.memsw.limit_in_bytes")
    return stats.MemoryStats(
        swap_bytes=max(number(directory / "memory.memsw.usage_in_bytes", used) - used, 0),
        swap_limit_bytes=None if together is None else max(together - (most or 0), 0),
        usage_bytes=used,
        max_usage_bytes=number(directory / "memory.max_usage_in_bytes"),
        limit_bytes=most,
        failcnt=number(directory / "memory.failcnt"),
        oom_kills=oom_kills_v1(directory),
        stats=table(directory / "memory.stat"),
    )


def read_v2(directory: Path) -> stats.MemoryStats:
    events = table(directory / "memory.events")
    return stats.MemoryStats(
        usage_bytes=number(directory / "memory.current"),
        max_usage_bytes=number(directory / "memory.peak"),
        limit_bytes=limit(directory / "memory.max"),
        swap_bytes=number(directory / "memory.swap.current"),
        swap_limit_bytes=limit(directory / "memory.swap.max"),
        failcnt=events.get("max", 0),
        oom_kills=events.get("oom_kill", 0),
        stats=table(directory / "memory.stat"),
    )


def oom_kills_v1(directory: Path) -> int:
    """How often the kernel killed for want of memory. Counted since Linux 4.13."""
    return table(directory / "memory.oom_control").get("oom_kill", 0)


def oom_kills_v2(directory: Path) -> int:
    return table(directory / "memory.events").get("oom_kill", 0)
