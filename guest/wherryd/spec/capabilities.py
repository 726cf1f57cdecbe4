"""Capabilities by name, and the set a container gets. Source: docker run reference, --cap-add."""

from collections.abc import Iterable, Sequence

from wherryd.spec import defaults
from wherryd.sys.capabilities import NAMES as ALL


def name(text: str) -> str:
    """ "net_admin" -> "CAP_NET_ADMIN"; "all" -> "ALL"."""
    upper = text.strip().upper()
    return upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"


def problems(*lists: Iterable[str]) -> list[str]:
    return [
        f'invalid capability: "{each}"'
        for names in lists
        for each in names
        if name(each) != "ALL" and name(each) not in ALL
    ]


def effective(add: Sequence[str], drop: Sequence[str], available: Iterable[str] = ALL) -> list[str]:
    """What is left of the defaults after --cap-add and --cap-drop; "ALL" adds or drops everything.

    Naming one in `add` wins over dropping ALL, and naming one in `drop` over adding ALL.
    available: what this kernel and this engine can hand out.
    """
    added, dropped = {name(each) for each in add}, {name(each) for each in drop}
    granted = set(ALL) if "ALL" in added else set(defaults.CAPABILITIES)
    if "ALL" in dropped:
        granted = set()
    granted = (granted | (added - {"ALL"})) - (dropped - {"ALL"})
    usable = set(available)
    return [each for each in ALL if each in granted and each in usable]
