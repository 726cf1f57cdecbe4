"""Checks JSON answers against the Engine API's own description (Swagger 2.0), as far as it is strict enough.

Types, enums and references are checked; null is taken anywhere, since the reference daemon prints it for
empty lists and maps; a property that the description does not name is a finding.
"""

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

#: libyaml's is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def path(version: str) -> Path:
    """Where that version's description is, if it is there."""
    shared = Path(os.environ.get("WHERRY_SHARED", Path(__file__).parents[3] / "shared"))
    return shared / f"data/engine-api/v{version}.yaml"


@cache
def description(version: str = "1.51") -> "Description":
    """Skips the test when the description is not there."""
    if not path(version).exists():
        pytest.skip("needs the Engine API's description (WHERRY_SHARED)")
    return Description(yaml.load(path(version).read_text(), Loader=_LOADER))  # noqa: S506 - a safe one either way


class Description:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def operations(self) -> Iterator[str]:
        """ "GET /containers/json", in the description's order."""
        for path, operations in self._document["paths"].items():
            for method in operations:
                if method in ("get", "put", "post", "delete", "head"):
                    yield f"{method.upper()} {path}"

    def findings(self, value: Any, path: str, method: str, status: int) -> list[str]:
        """What is wrong with an answer's body. path: as in the description, "/containers/{id}/json"."""
        responses = self._document["paths"][path][method.lower()]["responses"]
        response = responses.get(status, responses.get(str(status)))
        if response is None:
            return [f"status {status} is not described"]
        schema = response.get("schema")
        return [] if schema is None else list(self._check(value, schema, "$"))

    def unfit(self, method: str, target: str, status: int, body: bytes) -> list[str]:
        """What is wrong with an answer, or with a line of it, for a path as it was asked for.

        An error that is not described has the shape that errors have; what is no JSON is not judged.
        """
        template = self._template(target)
        operation = self._document["paths"].get(template, {}).get(method.lower())
        if operation is None or not body:
            return []
        responses = operation["responses"]
        response = responses.get(status, responses.get(str(status)))
        schema = (response or {}).get("schema")
        if response is None and status >= 400:
            schema = {"$ref": "#/definitions/ErrorResponse"}
        found = [] if schema is None else self._lines(body, schema)
        return [f"{method} {template} {status}: {each}" for each in found]

    def _lines(self, body: bytes, schema: dict[str, Any]) -> list[str]:
        try:
            values = [json.loads(body)]
        except ValueError:
            try:
                values = [json.loads(line) for line in body.splitlines()]
            except ValueError:
                return []
        return [finding for value in values for finding in self._check(value, schema, "$")]

    def _template(self, target: str) -> str:
        """A parameter is a segment; only names of images have slashes."""
        path = target.partition("?")[0]
        if path in self._document["paths"]:
            return path
        for template in self._document["paths"]:
            pattern = re.sub(
                r"\\\{\w+\\\}", "[^/]+" if "/images/" not in template else ".+", re.escape(template)
            )
            if re.fullmatch(pattern, path):
                return str(template)
        return ""

    def inner_fields(self, path: str, method: str) -> dict[str, frozenset[str]]:
        """Fields of each object of a request's body, by where it stands: "" is the body itself, [] each entry
        of a list, {} each value of a map, as in "HostConfig.Mounts[].BindOptions"."""
        operation = self._document["paths"][path][method.lower()]
        (body,) = (each["schema"] for each in operation["parameters"] if each["in"] == "body")
        return dict(self._inner(body, ""))

    def _inner(self, schema: dict[str, Any], where: str) -> Iterator[tuple[str, frozenset[str]]]:
        schema = self._resolve(schema)
        if schema.get("type") == "array":
            yield from self._inner(schema["items"], f"{where}[]")
        elif properties := schema.get("properties"):
            yield where, frozenset(properties)
            for key, each in properties.items():
                yield from self._inner(each, f"{where}.{key}".lstrip("."))
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from self._inner(schema["additionalProperties"], f"{where}{{}}")

    def properties(self, name: str) -> dict[str, dict[str, Any]]:
        """Of a definition, with those of what it is made of."""
        found: dict[str, dict[str, Any]] = self._resolve(self._document["definitions"][name])["properties"]
        return found

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            found: Any = self._document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        if "allOf" in schema:
            merged: dict[str, Any] = {"type": "object", "properties": {}}
            for part in schema["allOf"]:
                each = self._resolve(part)
                if each.get("type", "object") != "object":
                    return each
                merged["properties"] |= each.get("properties", {})
                if "additionalProperties" in each:
                    merged["additionalProperties"] = each["additionalProperties"]
            return merged
        return schema

    def _check(self, value: Any, schema: dict[str, Any], where: str) -> list[str]:
        schema = self._resolve(schema)
        kind = schema.get("type", "object" if "properties" in schema else None)
        if value is None or kind is None:
            return []
        types = {"string": str, "boolean": bool, "array": list, "object": dict}
        if kind in types and not isinstance(value, types[kind]):
            return [f"{where}: {kind} expected, {type(value).__name__} found"]
        if kind in ("integer", "number") and (isinstance(value, bool) or not isinstance(value, int | float)):
            return [f"{where}: {kind} expected, {type(value).__name__} found"]
        if "enum" in schema and value not in schema["enum"]:
            return [f"{where}: {value!r} is none of {schema['enum']}"]
        if isinstance(value, list):
            items = schema.get("items", {})
            checked = (self._check(item, items, f"{where}[{index}]") for index, item in enumerate(value))
            return [finding for findings in checked for finding in findings]
        if isinstance(value, dict):
            return self._check_object(value, schema, where)
        return []

    def _check_object(self, value: dict[str, Any], schema: dict[str, Any], where: str) -> list[str]:
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        found = []
        for key, item in value.items():
            if key in properties:
                found += self._check(item, properties[key], f"{where}.{key}")
            elif isinstance(extra, dict):
                found += self._check(item, extra, f"{where}.{key}")
            elif properties and extra is not True:
                found.append(f"{where}.{key}: not described")
        return found
