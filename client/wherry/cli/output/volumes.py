"""Volumes of GET /volumes -> the lines of `volume ls`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wherry.cli.output import units
from wherry.cli.output.natural import natural
from wherry.cli.output.values import Row

HEADERS = {
    "Name": "VOLUME NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Status": "STATUS",
}
RAW = "name: {{.Name}}\ndriver: {{.Driver}}\n"


def rows(items: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """By name, numbers in names by their value. Size and links are known to `system df` only."""
    for item in sorted(items, key=lambda each: natural(each["Name"])):
        labels: dict[str, str] = item.get("Labels") or {}
        usage = item.get("UsageData")
        yield Row(
            {
                "Name": item["Name"],
                "Driver": item.get("Driver") or "",
                "Scope": item.get("Scope") or "",
                "Mountpoint": item.get("Mountpoint") or "",
                "Labels": ",".join(sorted(f"{key}={value}" for key, value in labels.items())),
                "Links": str(usage["RefCount"]) if usage else "N/A",
                "Size": units.size(usage["Size"]) if usage else "N/A",
                "Availability": "N/A",
                "Group": "N/A",
                "Status": "N/A",
            },
            {"Label": lambda name, labels=labels: labels.get(name, "")},
        )
