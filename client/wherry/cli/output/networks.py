"""Networks of GET /networks -> the lines of `network ls`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wherry.cli.output import units
from wherry.cli.output.containers import short_id
from wherry.cli.output.natural import natural
from wherry.cli.output.values import Row

HEADERS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}
RAW = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n"


def rows(items: Iterable[Mapping[str, Any]], *, truncate: bool) -> Iterator[Row]:
    """By name, numbers in names by their value."""
    for item in sorted(items, key=lambda each: natural(each["Name"])):
        labels: dict[str, str] = item.get("Labels") or {}
        yield Row(
            {
                "ID": short_id(item["Id"]) if truncate else item["Id"],
                "Name": item["Name"],
                "Driver": item.get("Driver") or "",
                "Scope": item.get("Scope") or "",
                "IPv4": _flag(item.get("EnableIPv4", True)),
                "IPv6": _flag(item.get("EnableIPv6")),
                "Internal": _flag(item.get("Internal")),
                "Labels": ",".join(sorted(f"{key}={value}" for key, value in labels.items())),
                "CreatedAt": units.go_time(item.get("Created") or ""),
            },
            {"Label": lambda name, labels=labels: labels.get(name, "")},
        )


def _flag(value: Any) -> str:
    return "true" if value else "false"
