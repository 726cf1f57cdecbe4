"""Log drivers and their options: `--log-driver`, `--log-opt`, and the engine's own defaults.

json-file and local write the same records; they differ in defaults and in what inspect shows, as Docker's do.
Logs rotate unless told otherwise, so no container fills the disk. Source: docs of Docker's logging drivers.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from wherryd.containers.record import ContainerRecord
from wherryd.errors import InvalidParameter

DRIVERS: Final = ("json-file", "local", "none")
READABLE: Final = ("json-file", "local")

_BOUNDS: Final = frozenset({"max-size", "max-file", "compress", "mode", "max-buffer-size"})
_ATTRIBUTES: Final = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "json-file": _BOUNDS | _ATTRIBUTES,
    "local": _BOUNDS,
    "none": frozenset(),
}

#: When nothing is said: 100 MB at most.
_DEFAULT_BYTES: Final = 20 * 1024 * 1024
_DEFAULT_FILES: Final = 5
_MAX_FILES: Final = 1000
_SIZE: Final = re.compile(r"(\d{1,15})([kmg]?)b?", re.IGNORECASE)
_FIELD: Final = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")

#: Of `tag`, by the names that Docker's templates have.
_TAG_FIELDS: Final[Mapping[str, Callable[[ContainerRecord], str]]] = {
    "ID": lambda record: record.id[:12],
    "FullID": lambda record: record.id,
    "Name": lambda record: record.name,
    "ImageID": lambda record: record.image_id.removeprefix("sha256:")[:12],
    "ImageFullID": lambda record: record.image_id,
    "ImageName": lambda record: record.image,
    "DaemonName": lambda _: "docker",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlan:
    """max_bytes: per file, None for no limit. max_files: the current one included."""

    max_bytes: int | None
    max_files: int
    compress: bool


def with_default(given: Mapping[str, Any] | None, default: Mapping[str, Any]) -> dict[str, Any]:
    """A LogConfig completed by the engine's own: its options count only for its own driver."""
    wish = dict(given or {})
    driver = wish.get("Type") or default["Type"]
    options = wish.get("Config") or {}
    if driver == default["Type"] and isinstance(options, dict):
        options = {**default["Config"], **options}
    return {"Type": driver, "Config": options}


def problems(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with a LogConfig."""
    driver, options = config["Type"], config["Config"]
    if driver not in DRIVERS:
        return [f"logger: no log driver named '{driver}' is registered"]
    found = [
        f"unknown log opt '{key}' for {driver} log driver" for key in options if key not in _OPTIONS[driver]
    ]
    if not all(isinstance(value, str) for value in options.values()):
        return [*found, "LogConfig.Config: wants a map of strings"]
    for check in (plan, _check_attributes):
        try:
            check(config)
        except InvalidParameter as exc:
            found.append(str(exc))
    return found


def warnings(config: Mapping[str, Any]) -> list[str]:
    if {"mode", "max-buffer-size"} & set(config["Config"]):
        return [f"LogConfig: mode and max-buffer-size change nothing: {config['Type']} writes at once"]
    return []


def plan(config: Mapping[str, Any]) -> LogPlan:
    """How the log is kept. Raises InvalidParameter."""
    options = config["Config"]
    size, files = _size(options.get("max-size", "")), options.get("max-file", "")
    if files and not (files.isascii() and files.isdecimal() and 1 <= int(files) <= _MAX_FILES):
        raise InvalidParameter(f"invalid value for max-file: {files} (hint: 1 to {_MAX_FILES})")
    if files and int(files) > 1 and size is None:
        raise InvalidParameter("max-file cannot be specified without max-size")
    if options.get("mode", "blocking") not in ("blocking", "non-blocking"):
        raise InvalidParameter(f"logger: logging mode not supported: {options['mode']}")
    _size(options.get("max-buffer-size", ""), option="max-buffer-size")
    count = 1 if size is None else int(files) if files else _default_files(options)
    compress = _flag(options.get("compress", ""), default=config["Type"] == "local" and count > 1)
    if compress and count == 1 and options.get("compress"):
        raise InvalidParameter("compress cannot be true when max-file is less than 2 or max-size is not set")
    return LogPlan(max_bytes=size, max_files=count, compress=compress)


def _default_files(options: Mapping[str, str]) -> int:
    """Docker's json-file keeps a single file where only its size was given."""
    return 1 if "max-size" in options and "max-file" not in options else _DEFAULT_FILES


def _size(text: str, *, option: str = "max-size") -> int | None:
    """10m -> 10485760; -1 -> no limit; "" -> the default."""
    if text == "-1":
        return None
    match = _SIZE.fullmatch(text) if text else None
    if text and (match is None or int(match[1]) == 0):
        raise InvalidParameter(f'invalid value for {option}: "{text}" (hint: 10m, or -1 for no limit)')
    return int(match[1]) * 1024 ** " kmg".index(match[2].lower() or " ") if match else _DEFAULT_BYTES


def _flag(text: str, *, default: bool) -> bool:
    if text.lower() in ("true", "1", "t"):
        return True
    if text.lower() in ("false", "0", "f"):
        return False
    if text:
        raise InvalidParameter(f'invalid value for compress: "{text}" (hint: true or false)')
    return default


def _check_attributes(config: Mapping[str, Any]) -> None:
    options = config["Config"]
    for key in ("labels-regex", "env-regex"):
        try:
            re.compile(options.get(key, ""))
        except re.error as exc:
            raise InvalidParameter(f"{key}: {exc}") from exc
    unknown = [name for name in _FIELD.findall(options.get("tag", "")) if name not in _TAG_FIELDS]
    if unknown or "{{" in _FIELD.sub("", options.get("tag", "")):
        raise InvalidParameter(
            f"tag: takes fields like {{{{.Name}}}}, of {', '.join(sorted(_TAG_FIELDS))}, and plain text"
        )


def attributes(record: ContainerRecord) -> dict[str, str]:
    """What is kept with every record: the labels and variables that were asked for, and the tag."""
    options: Mapping[str, str] = record.host_config["LogConfig"]["Config"]
    variables = dict(entry.split("=", 1) for entry in record.config["Env"] or () if "=" in entry)
    found = _chosen(record.labels, options.get("labels", ""), options.get("labels-regex", ""))
    found |= _chosen(variables, options.get("env", ""), options.get("env-regex", ""))
    if options.get("tag"):
        found["tag"] = _FIELD.sub(lambda match: _TAG_FIELDS[match[1]](record), options["tag"])
    return found


def _chosen(values: Mapping[str, str], names: str, pattern: str) -> dict[str, str]:
    wanted = {name.strip() for name in names.split(",")}
    return {
        key: value
        for key, value in values.items()
        if key in wanted or (pattern and re.search(pattern, key) is not None)
    }
