"""The OCI runtime spec's JSON schema, walked: every field it has, with a type."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_ROOT = "config-schema.json"


def folder() -> Path:
    shared = Path(os.environ.get("WHERRY_SHARED", Path(__file__).parents[3] / "shared"))
    found = shared / "data/oci/runtime-spec/schema"
    if not (found / _ROOT).exists():
        pytest.skip("needs the OCI runtime spec's schemas (WHERRY_SHARED)")
    return found


def load() -> dict[str, Any]:
    """File name -> schema."""
    return {path.name: json.loads(path.read_text()) for path in folder().glob("*.json")}


@dataclass(frozen=True, slots=True)
class Node:
    """One schema, references followed. file: where it stands, for those inside it."""

    schema: dict[str, Any]
    file: str


class Schema:
    def __init__(self) -> None:
        self._files = load()

    @property
    def root(self) -> Node:
        return Node(self._files[_ROOT], _ROOT)

    def resolved(self, schema: dict[str, Any], file: str) -> Node:
        while "$ref" in schema:
            other, _, place = schema["$ref"].partition("#")
            file = other or file
            schema = self._files[file]
            for part in place.strip("/").split("/"):
                schema = schema[part]
        return Node(schema, file)

    def parts(self, node: Node) -> list[Node]:
        """The node and what it is put together of."""
        more = (*node.schema.get("allOf", ()), *node.schema.get("anyOf", ()))
        return [node, *(part for each in more for part in self.parts(self.resolved(each, node.file)))]

    def properties(self, node: Node) -> dict[str, Node]:
        return {
            name: self.resolved(each, part.file)
            for part in self.parts(node)
            for name, each in part.schema.get("properties", {}).items()
        }

    def required(self, node: Node) -> set[str]:
        return {name for part in self.parts(node) for name in part.schema.get("required", ())}

    def items(self, node: Node) -> Node | None:
        """Of an array of objects, or of an object of any names; else None."""
        inner = node.schema.get("items") or node.schema.get("additionalProperties")
        if not isinstance(inner, dict):
            return None
        found = self.resolved(inner, node.file)
        return found if self.properties(found) else None

    def leaves(self, node: Node | None = None, path: str = "") -> Iterator[tuple[str, Node]]:
        """("mounts[].options", node), ...; "[]": of each in the list, ".*": of each name in the object."""
        node = node or self.root
        inner = self.items(node)
        if inner is not None:
            yield from self.leaves(inner, f"{path}[]" if node.schema.get("type") == "array" else f"{path}.*")
        elif named := self.properties(node):
            for name, each in named.items():
                yield from self.leaves(each, f"{path}.{name}".lstrip("."))
        else:
            yield path, node
