"""GET /system/df -> the four lines of `system df`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wherry.cli.output import units
from wherry.cli.output.values import Row

RAW = (
    "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\n"
    "reclaimable: {{.Reclaimable}}\n"
)
HEADERS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_ALIVE = frozenset({"running", "paused", "restarting"})

Items = Iterable[Mapping[str, Any]]


def summary(usage: Mapping[str, Any]) -> Iterator[Row]:
    """usage: a SystemDataUsageResponse."""
    yield _images(usage.get("Images") or [], usage.get("LayersSize") or 0)
    yield _containers(usage.get("Containers") or [])
    yield _volumes(usage.get("Volumes") or [])
    yield _build_cache(usage.get("BuildCache") or [])


def _images(items: Items, size: int) -> Row:
    """What images of containers have to themselves is in use; shared layers count as reclaimable."""
    items = list(items)
    used = [item for item in items if item.get("Containers")]
    kept = sum(
        item["Size"] - item["SharedSize"] for item in used if -1 not in (item["Size"], item["SharedSize"])
    )
    return _row("Images", len(items), len(used), size, _share(size - kept, size))


def _containers(items: Items) -> Row:
    items = list(items)
    alive = [item for item in items if item.get("State") in _ALIVE]
    size = sum(item.get("SizeRw") or 0 for item in items)
    free = size - sum(item.get("SizeRw") or 0 for item in alive)
    return _row("Containers", len(items), len(alive), size, _share(free, size))


def _volumes(items: Items) -> Row:
    known = [item.get("UsageData") or {"Size": -1, "RefCount": 0} for item in items]
    measured = [usage for usage in known if usage["Size"] != -1]
    size = sum(usage["Size"] for usage in measured)
    free = sum(usage["Size"] for usage in measured if usage["RefCount"] == 0)
    used = sum(usage["RefCount"] > 0 for usage in known)
    return _row("Local Volumes", len(known), used, size, _share(free, size))


def _build_cache(items: Items) -> Row:
    items = list(items)
    size = cache_size(items)
    used = sum(item["Size"] for item in items if item.get("InUse") and not item.get("Shared"))
    active = sum(bool(item.get("InUse")) for item in items)
    return _row("Build Cache", len(items), active, size, units.size(size - used))


def cache_size(items: Items) -> int:
    """Bytes that only the build cache holds."""
    return sum(item["Size"] for item in items if not item.get("Shared"))


def _share(free: int, size: int) -> str:
    """`1.5MB (30%)`."""
    return f"{units.size(free)} ({free * 100 // size}%)" if size > 0 else units.size(free)


def _row(kind: str, total: int, active: int, size: int, reclaimable: str) -> Row:
    return Row(
        {
            "Type": kind,
            "TotalCount": str(total),
            "Active": str(active),
            "Size": units.size(size),
            "Reclaimable": reclaimable,
        }
    )
