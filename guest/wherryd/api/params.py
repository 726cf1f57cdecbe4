"""Reading query strings and bodies the way the Engine API means them.

Source: Engine API description, and the reference daemon's conventions: a boolean is false when it is
empty, 0, no, false or none and true otherwise; filters are JSON maps in two generations of shape.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from wherryd.api import keys
from wherryd.errors import InvalidParameter
from wherryd.http import web

_FALSE = frozenset({"", "0", "no", "false", "none"})

#: A bound against memory use: the largest filter document that is read.
MAX_FILTERS_CHARACTERS = 64 * 1024


def boolean(query: Mapping[str, str], key: str, default: bool = False) -> bool:
    value = query.get(key)
    return default if value is None else value.strip().lower() not in _FALSE


def integer(query: Mapping[str, str], key: str, default: int | None = None) -> int | None:
    """A decimal number, the default when absent or empty. Raises InvalidParameter."""
    value = query.get(key, "")
    if not value:
        return default
    if not value.removeprefix("-").isdecimal() or not value.isascii() or len(value) > 19:
        raise InvalidParameter(f'{key}: "{value}" is not a whole number')
    return int(value)


def filters(query: Mapping[str, str], accepted: Collection[str] | None = None) -> dict[str, list[str]]:
    """The `filters` parameter as key -> values. Reads {"k": {"v": true}} and the older {"k": ["v"]}.

    Raises InvalidParameter for bad JSON and, when `accepted` is given, for a key outside of it.
    """
    text = query.get("filters", "")
    if not text:
        return {}
    if len(text) > MAX_FILTERS_CHARACTERS:
        raise InvalidParameter(f"filters: longer than {MAX_FILTERS_CHARACTERS} characters")
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise InvalidParameter(
            "invalid filter: not JSON (hint: filters={'status': {'running': true}})"
        ) from exc
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidParameter("invalid filter: not a JSON object")
    found: dict[str, list[str]] = {}
    for key, values in document.items():
        if accepted is not None and key not in accepted:
            raise InvalidParameter(f"invalid filter '{key}'")
        found[key] = _filter_values(key, values)
    return found


def _filter_values(key: str, values: Any) -> list[str]:
    if isinstance(values, dict):
        return [value for value, chosen in values.items() if chosen]
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return list(values)
    raise InvalidParameter(f"invalid filter '{key}': its values are neither a map nor a list of strings")


async def json_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object, its fields in the API's own spelling; {} when there is none.

    Raises InvalidParameter.
    """
    return keys.canonical(parse_object(await request.read(), request.content_type))


def parse_object(body: bytes, content_type: str) -> dict[str, Any]:
    if not body:
        return {}
    if content_type != "application/json":
        raise InvalidParameter(
            f"unsupported Content-Type header ({content_type}): must be 'application/json'"
        )
    try:
        # json.loads refuses anything after the value, as the reference daemon does.
        document = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise InvalidParameter(f"invalid JSON: {exc}") from exc
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidParameter("invalid JSON: the body must be an object")
    return document
