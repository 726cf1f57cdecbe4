"""GET /system/df -> what `system df -v` prints: each image, container, volume and cache record."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from wherry.cli.output import containers, images, units, volumes
from wherry.cli.output.format import Format, render
from wherry.cli.output.usage import cache_size
from wherry.cli.output.values import Row, Struct
from wherry.errors import UsageProblem

_IMAGES = (
    "Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers",
)  # fmt: skip
_CONTAINERS = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
_VOLUMES = ("Name", "Links", "Size")
_CACHE = ("ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "UsageCount", "Shared")
_CACHE_HEADERS = {
    "ID": "CACHE ID",
    "CacheType": "CACHE TYPE",
    "Size": "SIZE",
    "CreatedSince": "CREATED",
    "LastUsedSince": "LAST USED",
    "UsageCount": "USAGE",
    "Shared": "SHARED",
}

Usage = Mapping[str, Any]


def show(usage: Usage, form: str | None) -> str:
    """form: None or table, json, or a template over Images, Containers, Volumes and BuildCache."""
    if form in {None, "", "table"}:
        return _tables(usage)
    from wherry.cli.output.template import Template, TemplateError

    source = "{{json .}}" if form == "json" else str(form)
    rows = Struct({name: list(lines) for name, lines in _rows(usage, truncate=False).items()})
    try:
        return Template.parse(source).render(rows)
    except TemplateError as exc:
        raise UsageProblem(f"template parsing error: {exc}") from exc


def _rows(usage: Usage, *, truncate: bool) -> dict[str, Iterable[Row]]:
    found = {name: usage.get(name) or [] for name in ("Images", "Containers", "Volumes", "BuildCache")}
    return {
        "Images": [
            Row(line | {"Digest": ""})
            for line in images.rows(found["Images"], truncate=truncate, digests=False)
        ],
        # Without the size of the image below it.
        "Containers": [
            containers.row({**item, "SizeRootFs": 0}, truncate=truncate) for item in found["Containers"]
        ],
        "Volumes": volumes.rows(found["Volumes"]),
        "BuildCache": cache_rows(found["BuildCache"], truncate=truncate),
    }


def _tables(usage: Usage) -> str:
    rows = _rows(usage, truncate=True)
    size = units.size(cache_size(usage.get("BuildCache") or []))
    parts = (
        ("Images space usage:", _IMAGES, rows["Images"], images.HEADERS),
        ("Containers space usage:", _CONTAINERS, rows["Containers"], containers.HEADERS),
        ("Local Volumes space usage:", _VOLUMES, rows["Volumes"], volumes.HEADERS),
        (f"Build cache usage: {size}", _CACHE, rows["BuildCache"], _CACHE_HEADERS),
    )
    return "\n".join(
        f"{title}\n\n{render(Format(columns=columns, table=True), lines, headers)}"
        for title, columns, lines, headers in parts
    )


def cache_rows(items: Iterable[Mapping[str, Any]], *, truncate: bool) -> Iterator[Row]:
    """Those used longest ago first. A star marks what is in use."""
    for item in sorted(items, key=lambda each: (each.get("LastUsedAt") or "", each["ID"])):
        identifier = str(item["ID"])
        shown = containers.short_id(identifier) if truncate else identifier
        parents = item.get("Parents") or ([item["Parent"]] if item.get("Parent") else [])
        yield Row(
            {
                "ID": shown + "*" if item.get("InUse") else shown,
                "Parent": ",".join(map(containers.short_id, parents) if truncate else parents),
                "CacheType": item.get("Type") or "",
                "Description": item.get("Description") or "",
                "InUse": str(bool(item.get("InUse"))).lower(),
                "Shared": str(bool(item.get("Shared"))).lower(),
                "Size": units.size(item.get("Size") or 0, 3),
                "CreatedAt": item.get("CreatedAt") or "",
                "CreatedSince": _ago(item.get("CreatedAt")),
                "LastUsedAt": item.get("LastUsedAt") or "",
                "LastUsedSince": _ago(item.get("LastUsedAt")),
                "UsageCount": str(item.get("UsageCount") or 0),
            }
        )


def _ago(rfc3339: str | None) -> str:
    """An empty text for a time that is not known."""
    if not rfc3339:
        return ""
    # Python reads at most six digits of a fraction, Go writes nine.
    seconds, _, rest = rfc3339.partition(".")
    zone = rest.lstrip("0123456789") or "+00:00" if rest else ""
    return units.ago(datetime.fromisoformat(seconds + zone).timestamp())
