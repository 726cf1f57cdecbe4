"""Which version of the API has which field: rows of a table, and what they make of a document.

The engine reads and writes documents of the newest version. A request of an older one loses what that version
did not have, and an answer to it is turned back, row by row. The table is in history.py.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from wherryd.errors import InvalidParameter

Version = tuple[int, int]
Document = dict[str, Any]
#: "HostConfig.Mounts.*.BindOptions": "*" is each entry of a list and each value of a map.
Path = str

_EACH: Final = "*"


class Row(Protocol):
    @property
    def version(self) -> Version: ...

    @property
    def path(self) -> Path: ...

    def applies(self, version: Version) -> bool:
        """Whether it changes a document of this version."""

    def changed(self, holder: Document, name: str) -> Document:
        """holder: the object around the field, whether it has it or not; it is not changed itself. Raises
        InvalidParameter."""

    def below(self, path: Path) -> "Row":
        """The same for a document that lies there in another one."""


@dataclass(frozen=True, slots=True)
class Since:
    """A field that versions below this one do not have. refusal: what is said to who uses it all the same, ""
    where it is dropped unread."""

    version: Version
    path: Path
    refusal: str = ""

    def below(self, path: Path) -> Row:
        return replace(self, path=f"{path}.{self.path}")

    def applies(self, version: Version) -> bool:
        return version < self.version

    def changed(self, holder: Document, name: str) -> Document:
        if self.refusal and holder.get(name):
            raise InvalidParameter(self.refusal)
        return _without(holder, name)


@dataclass(frozen=True, slots=True)
class Until:
    """A field that is gone from this version on."""

    version: Version
    path: Path

    def below(self, path: Path) -> Row:
        return replace(self, path=f"{path}.{self.path}")

    def applies(self, version: Version) -> bool:
        return version >= self.version

    def changed(self, holder: Document, name: str) -> Document:
        return _without(holder, name)


@dataclass(frozen=True, slots=True)
class Before:
    """A field that has another value below this version: one for all, or made from the object around it."""

    version: Version
    path: Path
    value: Any | Callable[[Document], Any]

    def below(self, path: Path) -> Row:
        return replace(self, path=f"{path}.{self.path}")

    def applies(self, version: Version) -> bool:
        return version < self.version

    def changed(self, holder: Document, name: str) -> Document:
        return {**holder, name: self.value(holder) if callable(self.value) else self.value}


def _without(holder: Document, name: str) -> Document:
    return {key: value for key, value in holder.items() if key != name} if name in holder else holder


def fit(document: Mapping[str, Any], rows: Iterable[Row], version: Version) -> Document:
    """The document as this version has it; the given one stays as it is.

    What has another shape than the rows expect is left for who checks requests. Raises InvalidParameter for
    what a version below refuses.
    """
    found: Any = document
    for row in rows:
        if row.applies(version):
            found = _at(found, row.path.split("."), row)
    return dict(found)


def _at(node: Any, path: list[str], row: Row) -> Any:
    head, *rest = path
    if head == _EACH:
        if isinstance(node, dict):
            return {key: _at(value, rest, row) for key, value in node.items()}
        return [_at(value, rest, row) for value in node] if isinstance(node, list) else node
    if not isinstance(node, dict):
        return node
    if not rest:
        return row.changed(node, head)
    return {**node, head: _at(node[head], rest, row)} if head in node else node
