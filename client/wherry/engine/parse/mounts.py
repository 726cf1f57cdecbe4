"""`-v`, `--mount` and `--tmpfs`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wherry.engine.parse import hostpaths
from wherry.engine.parse.values import boolean, size
from wherry.errors import BadValue, UsageProblem


def volumes(specs: Iterable[str], cwd: Path) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Binds (`src:dst[:mode]`) and anonymous volumes (`dst`). A source that begins with `.` is below cwd."""
    binds: list[str] = []
    anonymous: dict[str, dict[str, str]] = {}
    for spec in specs:
        source, target, mode = _split(spec)
        if not source:
            anonymous[target] = {}
            continue
        if hostpaths.is_path(source):
            source = hostpaths.guest_path(source, cwd)
        binds.append(":".join([source, target, *([mode] if mode else [])]))
    return binds, anonymous


def _split(spec: str) -> tuple[str, str, str]:
    drive = hostpaths.DRIVE_PREFIX.match(spec)
    head, tail = (spec[: drive.end()], spec[drive.end() :]) if drive else ("", spec)
    parts = tail.split(":")
    parts[0] = head + parts[0]
    hostpaths.check_rewritten(tail, spec)
    if len(parts) > 3 or not all(parts):
        raise UsageProblem(f"invalid volume specification: '{spec}'; write [source:]target[:mode]")
    if len(parts) == 1:
        return "", parts[0], ""
    if not parts[1].startswith("/"):
        raise UsageProblem(f"invalid volume specification: '{spec}': target \"{parts[1]}\" must be absolute")
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""


def tmpfs(specs: Iterable[str]) -> dict[str, str]:
    """`/run:rw,size=64m` -> {"/run": "rw,size=64m"}."""
    return {path: options for path, _, options in (spec.partition(":") for spec in specs)}


#: key of --mount -> what it sets: (block of the JSON or "", field, reader).
_TEXT_KEYS = {
    "type": ("", "Type"),
    "source": ("", "Source"),
    "src": ("", "Source"),
    "target": ("", "Target"),
    "dst": ("", "Target"),
    "destination": ("", "Target"),
    "consistency": ("", "Consistency"),
    "bind-propagation": ("BindOptions", "Propagation"),
    "volume-subpath": ("VolumeOptions", "Subpath"),
    "image-subpath": ("ImageOptions", "Subpath"),
}
_FLAG_KEYS = {
    "readonly": ("", "ReadOnly"),
    "ro": ("", "ReadOnly"),
    "bind-nonrecursive": ("BindOptions", "NonRecursive"),
    "bind-create-src": ("BindOptions", "CreateMountpoint"),
    "volume-nocopy": ("VolumeOptions", "NoCopy"),
}


#: block of the JSON -> the kind of mount that has it.
_KINDS = {"BindOptions": "bind", "VolumeOptions": "volume", "TmpfsOptions": "tmpfs", "ImageOptions": "image"}


def mount(spec: str, cwd: Path) -> dict[str, Any]:
    """One `--mount`, as the API's Mount. Raises BadValue."""
    try:
        return _mount(spec, cwd)
    except BadValue as exc:
        raise BadValue("--mount", spec, exc.reason) from exc
    except UsageProblem as exc:
        raise BadValue("--mount", spec, str(exc)) from exc


def _mount(spec: str, cwd: Path) -> dict[str, Any]:
    made: dict[str, Any] = {"Type": "volume"}
    import csv

    for field in next(csv.reader([spec]), []):
        key, found, value = field.partition("=")
        _set(made, key.strip().lower(), value if found else None, field)
    if not made.get("Target"):
        raise UsageProblem("target is required in --mount; write target=/path")
    if made["Type"] == "bind":
        if not made.get("Source"):
            raise UsageProblem("source is required for a bind in --mount; write source=/path")
        made["Source"] = hostpaths.guest_path(made["Source"], cwd)
    if made["Type"] == "image" and not made.get("Source"):
        raise UsageProblem("source is required for an image in --mount; write source=NAME")
    for block, kind in _KINDS.items():
        if block in made and made["Type"] != kind:
            raise UsageProblem(f"cannot mix '{kind}-*' options with mount type '{made['Type']}'")
    _check_recursion(made)
    return made


def _set(made: dict[str, Any], key: str, value: str | None, field: str) -> None:
    if key in _FLAG_KEYS:
        block, name = _FLAG_KEYS[key]
        _below(made, block)[name] = True if value is None else boolean(value, key)
        return
    if value is None:
        raise UsageProblem(f"invalid field '{field}' must be a key=value pair")
    if key in _TEXT_KEYS:
        block, name = _TEXT_KEYS[key]
        _below(made, block)[name] = value.lower() if key == "type" else value
    elif key == "volume-driver":
        _driver(made)["Name"] = value
    elif key in {"volume-label", "volume-opt"}:
        name, _, text = value.partition("=")
        place = _below(made, "VolumeOptions") if key == "volume-label" else _driver(made)
        place.setdefault("Labels" if key == "volume-label" else "Options", {})[name] = text
    elif key == "tmpfs-size":
        _below(made, "TmpfsOptions")["SizeBytes"] = size(value, key)
    elif key == "tmpfs-mode":
        try:
            _below(made, "TmpfsOptions")["Mode"] = int(value, 8)
        except ValueError:
            raise UsageProblem(
                f"invalid value for {key}: {value}; write an octal number such as 1777"
            ) from None
    elif key == "bind-recursive":
        _recursion(_below(made, "BindOptions"), value)
    else:
        raise UsageProblem(f"unknown option '{key}' in '{field}'; see `wherry run --help`")


def _recursion(options: dict[str, Any], value: str) -> None:
    """Of the mounts below a bind's source: none of them, or which are read-only with it."""
    if value not in ("enabled", "disabled", "writable", "readonly"):
        raise UsageProblem(
            f"invalid value for bind-recursive: {value} (must be enabled, disabled, writable or readonly)"
        )
    if value == "disabled":
        options["NonRecursive"] = True
    elif value == "writable":
        options["ReadOnlyNonRecursive"] = True
    elif value == "readonly":
        options["ReadOnlyForceRecursive"] = True


def _check_recursion(made: dict[str, Any]) -> None:
    options = made.get("BindOptions", {})
    for field, word in (("ReadOnlyNonRecursive", "writable"), ("ReadOnlyForceRecursive", "readonly")):
        if options.get(field) and not made.get("ReadOnly"):
            raise UsageProblem(
                f"option 'bind-recursive={word}' requires 'readonly' to be specified in conjunction"
            )
    if options.get("ReadOnlyForceRecursive") and options.get("Propagation") != "rprivate":
        raise UsageProblem(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in "
            "conjunction"
        )


def _below(made: dict[str, Any], block: str) -> dict[str, Any]:
    below: dict[str, Any] = made.setdefault(block, {}) if block else made
    return below


def _driver(made: dict[str, Any]) -> dict[str, Any]:
    driver: dict[str, Any] = _below(made, "VolumeOptions").setdefault("DriverConfig", {})
    return driver
