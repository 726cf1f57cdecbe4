"""Results of GET /images/search -> the lines of `search`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wherry.cli.output.table import ellipsis
from wherry.cli.output.values import Row

HEADERS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
_DESCRIPTION_COLUMNS = 45


def rows(items: Iterable[Mapping[str, Any]], *, truncate: bool) -> Iterator[Row]:
    """In the engine's order."""
    for item in items:
        description = str(item.get("description") or "").replace("\n", " ").replace("\r", " ")
        yield Row(
            {
                "Name": str(item.get("name") or ""),
                "Description": ellipsis(description, _DESCRIPTION_COLUMNS) if truncate else description,
                "StarCount": str(item.get("star_count") or 0),
                "IsOfficial": "[OK]" if item.get("is_official") else "",
                "IsAutomated": "[OK]" if item.get("is_automated") else "",
            }
        )
