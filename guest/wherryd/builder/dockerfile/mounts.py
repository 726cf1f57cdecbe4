"""`RUN --mount=type=cache,target=/root/.cache`. Source: Dockerfile reference, "RUN --mount"."""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.instructions import MountType, RunMount, Sharing

_FLAGS = {"ro": True, "readonly": True, "rw": False, "readwrite": False}
_ALIASES = {"from": "origin", "src": "source", "dst": "target", "destination": "target"}
_TEXTS = ("origin", "source", "target", "id", "env")
_NUMBERS = {"mode": 8, "uid": 10, "gid": 10}
_KEYS = (
    "type, from, source, src, target, dst, destination, ro, readonly, rw, readwrite, id, sharing, required, "
    "size, mode, uid, gid, env"
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)


@dataclass(slots=True)
class _Wish:
    type: MountType = MountType.BIND
    read_only: bool | None = None
    values: dict[str, Any] = field(default_factory=dict)


def fields(text: str) -> list[str]:
    """The comma separated fields, quotes as in CSV. Raises DockerfileError."""
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as exc:
        raise DockerfileError(f"failed to parse csv mounts: {exc}", "type=cache,target=/path") from exc
    return rows[0] if rows else []


def origin(text: str) -> str:
    """The `from` of a mount, before variables are put in: it decides what must be built first."""
    for each in fields(text):
        key, _, value = each.partition("=")
        if key.lower() == "from":
            if "$" in value[:-1]:
                raise DockerfileError(
                    "'from' doesn't support variable expansion, define alias stage instead",
                    f"FROM {value} AS name, and from=name",
                )
            return value
    return ""


def parse(text: str, expand: Callable[[str], str]) -> RunMount:
    """Raises DockerfileError."""
    wish = _Wish()
    for each in fields(text):
        key, equals, value = each.partition("=")
        key = key.lower()
        if not equals and key not in (*_FLAGS, "required"):
            raise DockerfileError(f"invalid field '{each}' must be a key=value pair", f"the keys are {_KEYS}")
        _take(wish, _ALIASES.get(key, key), expand(value) if equals else "true", each)
    _check(wish)
    read_only = wish.read_only
    if read_only is None:
        read_only = wish.type not in (MountType.CACHE, MountType.TMPFS)
    return RunMount(type=wish.type, read_only=read_only, **wish.values)


def _take(wish: _Wish, key: str, value: str, shown: str) -> None:
    if key == "type":
        wish.type = _one_of(MountType, value, "mount type")
    elif key in _FLAGS:
        wish.read_only = _boolean(key, value) == _FLAGS[key]
    elif key in _TEXTS:
        wish.values[key] = value
    elif key in _NUMBERS:
        try:
            wish.values[key] = int(value, _NUMBERS[key])
        except ValueError:
            base = "an octal number" if _NUMBERS[key] == 8 else "a number"
            raise DockerfileError(f"invalid value {value} for {key}", base) from None
    elif key == "sharing":
        wish.values[key] = _one_of(Sharing, value, "sharing value")
    elif key == "required":
        wish.values[key] = _boolean(key, value)
    elif key == "size":
        wish.values["size_bytes"] = _bytes(value)
    else:
        raise DockerfileError(f"unexpected key '{key}' in '{shown}'", f"the keys are {_KEYS}")


def _one_of(kind: Any, value: str, what: str) -> Any:
    try:
        return kind(value.lower())
    except ValueError:
        raise DockerfileError(f'unsupported {what} "{value}"', f"one of {', '.join(kind)}") from None


def _boolean(key: str, value: str) -> bool:
    if value.lower() not in ("1", "t", "true", "0", "f", "false"):
        raise DockerfileError(f"invalid value for {key}: {value}", "true or false")
    return value.lower() in ("1", "t", "true")


def _bytes(value: str) -> int:
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise DockerfileError(f"invalid value for size: {value}", "a number of bytes, or with k, m or g")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def _check(wish: _Wish) -> None:
    """What does not go together."""
    kind, given = wish.type, wish.values
    for key, kinds in (
        ("required", (MountType.SECRET, MountType.SSH)),
        ("size_bytes", (MountType.TMPFS,)),
        ("sharing", (MountType.CACHE,)),
        ("env", (MountType.SECRET,)),
        ("mode", (MountType.SECRET, MountType.SSH, MountType.CACHE)),
        ("uid", (MountType.SECRET, MountType.SSH, MountType.CACHE)),
        ("gid", (MountType.SECRET, MountType.SSH, MountType.CACHE)),
    ):
        if key in given and kind not in kinds:
            raise DockerfileError(
                f"unexpected key '{key.removesuffix('_bytes')}' for mount type '{kind}'",
                f"it belongs to {' and '.join(f'type={each}' for each in kinds)}",
            )
    if kind is MountType.SECRET:
        if "origin" in given:
            raise DockerfileError(
                "secret mount should not have a from", "its content comes from --secret id=NAME,src=FILE"
            )
        if not any(given.get(key) for key in ("source", "target", "id")):
            raise DockerfileError("invalid secret mount. one of source, target required", "id=NAME")
        if given.get("source") and given.get("id"):
            raise DockerfileError("both source and id can't be set", "id=NAME alone")
    elif kind is not MountType.SSH and not given.get("target"):
        raise DockerfileError(f"a {kind} mount needs a target", "target=/path")
