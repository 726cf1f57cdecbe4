"""--add-runtime, --default-runtime and `runtimes` of the config file, which are dockerd's."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wherryd.containers.deps import OWN_RUNTIME
from wherryd.errors import InvalidParameter


def read(values: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Name -> command, () for our own; the default first. Raises InvalidParameter."""
    found: dict[str, tuple[str, ...]] = {OWN_RUNTIME: ()}
    for name, entry in values["runtimes"].items():
        if not isinstance(entry, dict) or set(entry) - {"path", "runtimeArgs"}:
            raise InvalidParameter(f'runtimes: "{name}" wants an object of path and runtimeArgs')
        _add(found, name, str(entry.get("path", "")), tuple(map(str, entry.get("runtimeArgs") or ())))
    for text in values["add-runtime"]:
        name, _, path = text.partition("=")
        _add(found, name, path, ())
    default = values["default-runtime"]
    if default not in found:
        raise InvalidParameter(
            f"--default-runtime: specified default runtime '{default}' does not exist (hint: --add-runtime)"
        )
    return {default: found[default], **found}


def _add(found: dict[str, tuple[str, ...]], name: str, path: str, arguments: tuple[str, ...]) -> None:
    if name == OWN_RUNTIME:
        raise InvalidParameter(f"--add-runtime: runtime name '{name}' is reserved for the engine's own")
    if not name or not path.startswith("/"):
        raise InvalidParameter(f'--add-runtime: "{name}={path}" wants NAME=/PATH/OF/PROGRAM')
    if not Path(path).is_file() or not os.access(path, os.X_OK):
        raise InvalidParameter(f"--add-runtime: {path} is no program: install {name}, or give its path")
    found[name] = (path, *arguments)
