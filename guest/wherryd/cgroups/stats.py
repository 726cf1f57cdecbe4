"""What a cgroup has used, in one shape for v1 and v2. Units are in each field's comment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuStats:
    total_ns: int = 0  # CPU time of all tasks
    user_ns: int = 0
    system_ns: int = 0
    percpu_ns: tuple[int, ...] = ()  # v1 only, as the kernel counts it per CPU
    periods: int = 0  # enforcement periods that have passed under a quota
    throttled_periods: int = 0
    throttled_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStats:
    usage_bytes: int = 0  # page cache included; docker stats shows this minus stats["inactive_file"]
    max_usage_bytes: int = 0  # highest usage; 0 when the kernel does not keep it
    limit_bytes: int | None = None  # None = no limit
    failcnt: int = 0  # times usage hit the limit
    swap_bytes: int = 0  # swap in use, without memory
    swap_limit_bytes: int | None = None  # likewise; None = no limit
    oom_kills: int = 0
    stats: Mapping[str, int] = field(default_factory=dict)  # memory.stat as the kernel names it


@dataclass(frozen=True, slots=True, kw_only=True)
class BlkioEntry:
    major: int
    minor: int
    op: str  # "read", "write", "discard", ...
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlkioStats:
    service_bytes: tuple[BlkioEntry, ...] = ()
    serviced: tuple[BlkioEntry, ...] = ()  # number of requests


@dataclass(frozen=True, slots=True, kw_only=True)
class PidsStats:
    current: int = 0
    limit: int | None = None  # None = no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class HugetlbStats:
    usage_bytes: int = 0
    max_usage_bytes: int = 0  # v1 only
    limit_bytes: int | None = None  # None = no limit
    failcnt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupStats:
    version: int  # 1 or 2: names in memory.stats differ between them
    cpu: CpuStats = field(default_factory=CpuStats)
    memory: MemoryStats = field(default_factory=MemoryStats)
    blkio: BlkioStats = field(default_factory=BlkioStats)
    pids: PidsStats = field(default_factory=PidsStats)
    hugetlb: Mapping[str, HugetlbStats] = field(default_factory=dict)  # page size ("2MB") -> use

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> "CgroupStats":
        """The inverse of dataclasses.asdict, after a trip through JSON."""
        cpu, blkio = document["cpu"], document["blkio"]
        return CgroupStats(
            version=document["version"],
            cpu=CpuStats(**cpu | {"percpu_ns": tuple(cpu["percpu_ns"])}),
            memory=MemoryStats(**document["memory"]),
            blkio=BlkioStats(
                service_bytes=tuple(BlkioEntry(**entry) for entry in blkio["service_bytes"]),
                serviced=tuple(BlkioEntry(**entry) for entry in blkio["serviced"]),
            ),
            pids=PidsStats(**document["pids"]),
            # A monitor of an older version, found again after an upgrade, does not tell.
            hugetlb={size: HugetlbStats(**each) for size, each in document.get("hugetlb", {}).items()},
        )
