"""Layers of GET /images/{name}/history -> the lines of `history`."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from wherry.cli.output import units
from wherry.cli.output.containers import short_id
from wherry.cli.output.table import ellipsis
from wherry.cli.output.values import Row

HEADERS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
#: Characters of a command that are shown.
COMMAND_WIDTH = 45


def rows(items: Iterable[Mapping[str, Any]], *, truncate: bool, human: bool) -> Iterator[Row]:
    """In the engine's order, which is newest first. human: ages and units, no plain numbers."""
    for item in items:
        command = str(item.get("CreatedBy") or "").replace("\t", " ")
        size, created = item.get("Size") or 0, item.get("Created") or 0
        at = rfc3339(created) if created > 0 else "N/A"
        since = units.ago(created) if created > 0 else "N/A"
        yield Row(
            {
                "ID": short_id(item["Id"]) if truncate else item["Id"],
                "CreatedAt": at,
                "CreatedSince": since if human else at,
                "CreatedBy": ellipsis(command, COMMAND_WIDTH) if truncate else command,
                "Size": units.size(size, 3) if human else str(size),
                "Comment": item.get("Comment") or "",
            }
        )


def rfc3339(unix_seconds: float) -> str:
    """1764000000 -> 2025-11-24T16:00:00Z, in the user's time zone."""
    text = datetime.fromtimestamp(unix_seconds).astimezone().isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text
