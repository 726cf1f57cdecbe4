"""A container's use of resources in the Engine API's words. Source: Engine API, ContainerStats."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wherryd import clock
from wherryd.cgroups.stats import BlkioEntry, CgroupStats, CpuStats
from wherryd.containers.record import ContainerRecord

_TICKS = os.sysconf("SC_CLK_TCK")


def system_cpu_ns() -> int:
    """CPU time of the whole machine, idle included: the first eight columns of /proc/stat."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return sum(map(int, first[1:9])) * (1_000_000_000 // _TICKS)


def memory_total_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cpu_document(cpu: CpuStats) -> dict[str, Any]:
    document: dict[str, Any] = {
        "cpu_usage": {
            "total_usage": cpu.total_ns,
            "usage_in_kernelmode": cpu.system_ns,
            "usage_in_usermode": cpu.user_ns,
        },
        "system_cpu_usage": system_cpu_ns(),
        "online_cpus": os.cpu_count() or 1,
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled_ns,
        },
    }
    if cpu.percpu_ns:
        document["cpu_usage"]["percpu_usage"] = list(cpu.percpu_ns)
    return document


def empty_cpu() -> dict[str, Any]:
    return {
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }


def document(
    record: ContainerRecord,
    sample: CgroupStats | None,
    previous: dict[str, Any] | None,
    networks: dict[str, Any] | None,
) -> dict[str, Any]:
    """One object of the stream. sample: None when it does not run. previous: the object before."""
    found: dict[str, Any] = {
        "name": f"/{record.name}",
        "id": record.id,
        "read": clock.now() if sample is not None else clock.ZERO,
        "preread": previous["read"] if previous else clock.ZERO,
        "num_procs": 0,
        "storage_stats": {},
        "precpu_stats": previous["cpu_stats"] if previous else empty_cpu(),
    }
    if sample is None:
        return {**found, "pids_stats": {}, "blkio_stats": {}, "cpu_stats": empty_cpu(), "memory_stats": {}}
    found["cpu_stats"] = cpu_document(sample.cpu)
    found["pids_stats"] = {"current": sample.pids.current}
    if sample.pids.limit is not None:
        found["pids_stats"]["limit"] = sample.pids.limit
    memory = sample.memory
    found["memory_stats"] = {
        "usage": memory.usage_bytes,
        "stats": dict(memory.stats),
        "limit": min(memory.limit_bytes or memory_total_bytes(), memory_total_bytes()),
    }
    if sample.version == 1:
        found["memory_stats"] |= {"max_usage": memory.max_usage_bytes, "failcnt": memory.failcnt}
    found["blkio_stats"] = {
        "io_service_bytes_recursive": _blkio(sample.blkio.service_bytes),
        "io_serviced_recursive": _blkio(sample.blkio.serviced) or None,
        "io_queue_recursive": None,
        "io_service_time_recursive": None,
        "io_wait_time_recursive": None,
        "io_merged_recursive": None,
        "io_time_recursive": None,
        "sectors_recursive": None,
    }
    if networks:
        found["networks"] = networks
    return found


def _blkio(entries: Sequence[BlkioEntry]) -> list[dict[str, Any]]:
    return [
        {"major": entry.major, "minor": entry.minor, "op": entry.op, "value": entry.value}
        for entry in entries
    ]


def network_counters(pid: int) -> dict[str, Any]:
    """Interfaces of a process's network namespace, without lo, from its /proc/<pid>/net/dev."""
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    except OSError:
        return {}  # it ended meanwhile
    found = {}
    for line in lines:
        name, _, numbers = line.partition(":")
        values = [int(number) for number in numbers.split()]
        if name.strip() == "lo" or len(values) < 12:
            continue
        found[name.strip()] = {
            "rx_bytes": values[0],
            "rx_packets": values[1],
            "rx_errors": values[2],
            "rx_dropped": values[3],
            "tx_bytes": values[8],
            "tx_packets": values[9],
            "tx_errors": values[10],
            "tx_dropped": values[11],
        }
    return found
