"""Reading a JSON object field by field, so that all problems are told at once, each with its place."""

from collections.abc import Mapping
from typing import Any

_INT_MAX = 2**63 - 1


class Fields:
    """One JSON object at `path`; problems of it and its children are gathered in one shared list."""

    def __init__(self, value: Any, path: str, problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        self._value: Mapping[str, Any] = {}
        if isinstance(value, Mapping):
            self._value = value
        else:
            self.problem("", f"must be an object, is {type(value).__name__}")

    @property
    def document(self) -> Mapping[str, Any]:
        """The object as it is, unchecked."""
        return self._value

    def __contains__(self, name: str) -> bool:
        """Whether the field is there and says something: null and empty values do not."""
        return self._value.get(name) not in (None, "", {}, [], False)

    def problem(self, name: str, message: str) -> None:
        self.problems.append(f"{self._place(name)}: {message}")

    def _place(self, name: str) -> str:
        return ".".join(part for part in (self.path, name) if part) or "config.json"

    def raw(self, name: str) -> Any:
        return self._value.get(name)

    def text(self, name: str, default: str = "") -> str:
        value = self._value.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or "\0" in value:
            self.problem(name, "must be a string without NUL")
            return default
        return value

    def flag(self, name: str) -> bool:
        value = self._value.get(name)
        if value is not None and not isinstance(value, bool):
            self.problem(name, "must be true or false")
            return False
        return bool(value)

    def number(
        self, name: str, *, low: int = -(2**63), high: int = _INT_MAX, required: bool = False
    ) -> int | None:
        value: object = self._value.get(name)
        if value is None:
            if required:
                self.problem(name, "is missing")
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.problem(name, f"must be an integer from {low} to {high}, is {value!r}")
            return None
        return value

    def id(self, name: str) -> int:
        """A uid or gid. 2**32 - 1 means "unchanged" to the kernel and is refused (CVE-2024-40635)."""
        return self.number(name, low=0, high=2**31 - 1) or 0

    def items(self, name: str) -> list[Any]:
        value = self._value.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.problem(name, "must be a list")
            return []
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        values = self.items(name)
        if not all(isinstance(value, str) and "\0" not in value for value in values):
            self.problem(name, "must be a list of strings without NUL")
            return ()
        return tuple(values)

    def child(self, name: str) -> "Fields":
        """The object of that name; an empty one when it is missing."""
        value = self._value.get(name)
        return Fields({} if value is None else value, self._place(name), self.problems)

    def children(self, name: str) -> "list[Fields]":
        return [
            Fields(value, f"{self._place(name)}[{number}]", self.problems)
            for number, value in enumerate(self.items(name))
        ]

    def pairs(self, name: str) -> dict[str, str]:
        """An object of strings."""
        value = self._value.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
            self.problem(name, "must be an object of strings")
            return {}
        return dict(value)


class Refusals:
    """Fields that say something this runtime cannot carry out, gathered by their places."""

    def __init__(self) -> None:
        self.places: list[str] = []

    def look(self, fields: Fields, names: tuple[str, ...]) -> None:
        self.places += [".".join(filter(None, (fields.path, name))) for name in names if name in fields]
