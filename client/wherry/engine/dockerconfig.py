"""docker's own config.json, which Wherry reads too: who has set something there expects it here.

    DOCKER_CONFIG/config.json, or ~/.docker/config.json

Settings of output are in cli/preferences.py, logins in logins.py, contexts in contexts.py.
Source: docker CLI reference, "Docker CLI configuration file".
"""

import json
import os
from collections.abc import Mapping
from typing import Any

#: What a request says of itself; no setting replaces it.
_OURS = frozenset({"host", "connection", "upgrade", "content-length", "content-type", "transfer-encoding"})


def folder() -> str:
    # os.path here and below, since pathlib would cost a plain call more than all of this.
    return os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")  # noqa: PTH111, PTH118


def document() -> Mapping[str, Any]:
    """A file that cannot be read is reported where logins are needed; here it says nothing."""
    try:
        with open(os.path.join(folder(), "config.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def current_context(found: Mapping[str, Any]) -> str:
    """ "" if none was chosen."""
    name = found.get("currentContext")
    return name if isinstance(name, str) else ""


def headers(found: Mapping[str, Any]) -> dict[str, str]:
    """HttpHeaders: what every request to an engine carries, but for what the protocol itself needs."""
    given = found.get("HttpHeaders")
    if not isinstance(given, dict):
        return {}
    return {str(name): str(value) for name, value in given.items() if str(name).lower() not in _OURS}
