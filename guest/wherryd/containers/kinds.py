"""JSON shapes of the create request: each function takes a value and its field's name and returns it clean.

They raise InvalidParameter with the field's name. null means "not given" and is dealt with by the caller.
"""

from collections.abc import Callable
from typing import Any

from wherryd.errors import InvalidParameter

Kind = Callable[[Any, str], Any]

_INT64 = 2**63


def string(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidParameter(f"{field}: wants a string, not {_name(value)}")
    if "\0" in value:
        raise InvalidParameter(f"{field}: a zero byte is not allowed")
    return value


def flag(value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidParameter(f"{field}: wants true or false, not {_name(value)}")
    return value


def integer(value: Any, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -_INT64 <= value < _INT64:
        raise InvalidParameter(f"{field}: wants a whole number of 64 bits, not {_name(value)}")
    return int(value)


def strings(value: Any, field: str) -> list[str]:
    if not isinstance(value, list):
        raise InvalidParameter(f"{field}: wants a list of strings, not {_name(value)}")
    return [string(item, f"{field}[{index}]") for index, item in enumerate(value)]


def command(value: Any, field: str) -> list[str]:
    """Cmd and Entrypoint: a list of words; one string is a list of one, as in old clients."""
    return [string(value, field)] if isinstance(value, str) else strings(value, field)


def string_map(value: Any, field: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InvalidParameter(f"{field}: wants a map of strings, not {_name(value)}")
    return {key: string(item, f"{field}.{key}") for key, item in value.items()}


def key_set(value: Any, field: str) -> dict[str, dict[str, Any]]:
    """A set written as a map of empty objects: ExposedPorts, Volumes."""
    if not isinstance(value, dict):
        raise InvalidParameter(f'{field}: wants a map like {{"80/tcp": {{}}}}, not {_name(value)}')
    return {key: {} for key in value}


def objects(value: Any, field: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidParameter(f"{field}: wants a list of objects, not {_name(value)}")
    return [dict(item) for item in value]


def mapping(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidParameter(f"{field}: wants an object, not {_name(value)}")
    return dict(value)


def port_map(value: Any, field: str) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for key, bindings in mapping(value, field).items():
        entries = objects(bindings if bindings is not None else [], f"{field}.{key}")
        found[key] = [
            {
                "HostIp": string(entry.get("HostIp") or "", f"{field}.{key}.HostIp"),
                "HostPort": string(entry.get("HostPort") or "", f"{field}.{key}.HostPort"),
            }
            for entry in entries
        ]
    return found


def size_pair(value: Any, field: str) -> list[int]:
    if value == []:
        return [0, 0]
    if not isinstance(value, list) or len(value) != 2:
        raise InvalidParameter(f"{field}: wants [height, width]")
    return [integer(item, field) for item in value]


def _name(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")
