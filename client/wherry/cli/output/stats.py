"""One measurement of GET /containers/{id}/stats -> the fields of `stats`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wherry.cli.output import units
from wherry.cli.output.containers import short_id
from wherry.cli.output.values import Row

if TYPE_CHECKING:
    from wherry.cli.watching import Sample

HEADERS = {
    "Container": "CONTAINER",
    "Name": "NAME",
    "ID": "CONTAINER ID",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_NOTHING = "--"
_NOTHING_OF_TWO = "-- / --"


def row(sample: "Sample", *, truncate: bool) -> Row:
    """Dashes where nothing is known yet, or no longer."""
    stats = sample.stats
    if stats is None:
        unknown = dict.fromkeys(HEADERS, _NOTHING)
        pairs = dict.fromkeys(("MemUsage", "NetIO", "BlockIO"), _NOTHING_OF_TWO)
        return Row(unknown | pairs | {"Container": sample.shown})
    used, limit = memory(stats.get("memory_stats") or {})
    identifier = stats.get("id") or ""
    return Row(
        {
            "Container": sample.shown,
            "Name": (stats.get("name") or "").removeprefix("/"),
            "ID": short_id(identifier) if truncate else identifier,
            "CPUPerc": f"{cpu_percent(stats):.2f}%",
            "MemUsage": f"{units.binary_size(used)} / {units.binary_size(limit)}",
            "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
            "NetIO": _pair(*network(stats)),
            "BlockIO": _pair(*block(stats)),
            "PIDs": str((stats.get("pids_stats") or {}).get("current") or 0),
        }
    )


def _pair(first: int, second: int) -> str:
    return f"{units.size(first, 3)} / {units.size(second, 3)}"


def cpu_percent(stats: Mapping[str, Any]) -> float:
    """Of one CPU: a container that keeps two busy has 200. Source: docker stats reference."""
    now, before = stats.get("cpu_stats") or {}, stats.get("precpu_stats") or {}
    used = _total(now) - _total(before)
    system = (now.get("system_cpu_usage") or 0) - (before.get("system_cpu_usage") or 0)
    cpus = now.get("online_cpus") or len((now.get("cpu_usage") or {}).get("percpu_usage") or ())
    return used / system * cpus * 100 if used > 0 and system > 0 else 0.0


def _total(stats: Mapping[str, Any]) -> int:
    return (stats.get("cpu_usage") or {}).get("total_usage") or 0


def memory(stats: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes used, without file cache that nobody has looked at for a while, and the limit."""
    usage, details = stats.get("usage") or 0, stats.get("stats") or {}
    # cgroup v1 has the first name, v2 the second.
    for name in ("total_inactive_file", "inactive_file"):
        if name in details:
            inactive = details[name]
            return (usage - inactive if inactive < usage else usage), stats.get("limit") or 0
    return usage, stats.get("limit") or 0


def network(stats: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes received and sent, over all networks."""
    items = (stats.get("networks") or {}).values()
    return sum(item["rx_bytes"] for item in items), sum(item["tx_bytes"] for item in items)


def block(stats: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes read from and written to devices."""
    items = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
    counted = [(str(item.get("op") or "").lower(), item.get("value") or 0) for item in items]
    return (
        sum(value for op, value in counted if op.startswith("r")),
        sum(value for op, value in counted if op.startswith("w")),
    )
