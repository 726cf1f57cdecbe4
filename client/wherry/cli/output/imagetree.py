"""Images of GET /images/json with `manifests` -> the tree of `images --tree`: an image, and its platforms.

Columns and words are docker's. What of an index is not here is said in EXTRA, where docker only greys it out.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wherry.cli import references
from wherry.cli.output import units
from wherry.cli.output.containers import short_id

_HEADERS = ("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA")
_RIGHT = frozenset({"DISK USAGE", "CONTENT SIZE"})
_LEGEND = "Info ->  U In Use"
_IN_USE, _ABSENT = "U", "not pulled"
_GAP = "   "


@dataclass(frozen=True, slots=True)
class _Line:
    cells: tuple[str, ...]
    dim: bool = False


def render(items: Iterable[Mapping[str, Any]], *, color: bool) -> str:
    """color: the header in bold, and what is not here in grey."""
    lines = [line for item in items for line in _image(item)]
    widths = [
        max(len(header), *(len(line.cells[number]) for line in lines)) if lines else len(header)
        for number, header in enumerate(_HEADERS)
    ]
    text = [_LEGEND.rjust(sum(widths) + len(_GAP) * (len(widths) - 1)), ""]
    text.append(_styled(_joined(_HEADERS, widths), "1", color))
    text += [_styled(_joined(line.cells, widths), "2", color and line.dim) for line in lines]
    return "\n".join(text).rstrip() + "\n"


def _joined(cells: tuple[str, ...], widths: list[int]) -> str:
    placed = [
        cell.rjust(width) if header in _RIGHT else cell.ljust(width)
        for cell, width, header in zip(cells, widths, _HEADERS, strict=True)
    ]
    return _GAP.join(placed).rstrip()


def _styled(line: str, code: str, color: bool) -> str:
    return f"\x1b[{code}m{line}\x1b[0m" if color else line


def _image(item: Mapping[str, Any]) -> Iterator[_Line]:
    manifests = [each for each in item.get("Manifests") or () if each.get("Kind") == "image"]
    names = sorted(references.familiar(name) for name in item.get("RepoTags") or ()) or ["<untagged>"]
    total = sum(each["Size"]["Total"] for each in item.get("Manifests") or ())
    content = sum(each["Size"]["Content"] for each in item.get("Manifests") or ())
    used = any(each["ImageData"]["Containers"] for each in manifests)
    for name in names[:-1]:
        yield _Line((name, "", "", "", ""))
    sizes = (units.size(total, 3), units.size(content, 3))
    yield _Line((names[-1], short_id(item["Id"]), *sizes, _IN_USE if used else ""))
    for number, each in enumerate(manifests, start=1):
        branch = "└─" if number == len(manifests) else "├─"
        data, here = each["ImageData"], bool(each["Available"])
        extra = _IN_USE if data["Containers"] else "" if here else _ABSENT
        sizes = (units.size(each["Size"]["Total"], 3), units.size(each["Size"]["Content"], 3))
        platform = _platform(data["Platform"])
        yield _Line((f"{branch} {platform}", short_id(each["ID"]), *sizes, extra), dim=not here)
    yield _Line(("", "", "", "", ""))


def _platform(platform: Mapping[str, Any]) -> str:
    parts = (platform.get(key) for key in ("os", "architecture", "variant"))
    return "/".join(str(part) for part in parts if part) or "unknown"
