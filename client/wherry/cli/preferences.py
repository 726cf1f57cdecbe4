"""What docker's own config.json says of output, keys and proxies: who has set it there expects it here.

    psFormat imagesFormat networksFormat volumesFormat statsFormat    --format, if it is not given
    detachKeys                                                       --detach-keys, if it is not given
    proxies   {engine's address or "default": {httpProxy, httpsProxy, ftpProxy, noProxy, allProxy}}
              set in every new container, unless -e says otherwise

Logins are in engine/logins.py. Source: docker CLI reference, "Docker CLI configuration file".
"""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

_PROXIES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "ftpProxy": "FTP_PROXY",
    "noProxy": "NO_PROXY",
    "allProxy": "ALL_PROXY",
}


def text(name: str) -> str:
    """A field of the file; "" if it, or the file, is not there."""
    value = _document().get(name)
    return value if isinstance(value, str) else ""


def proxies(engine: str, env: Iterable[str]) -> list[str]:
    """NAME=value for a new container. engine: its address. env: what the container gets anyway."""
    known = _document().get("proxies")
    if not isinstance(known, dict):
        return []
    chosen = known.get(engine) or known.get("default")
    if not isinstance(chosen, dict):
        return []
    given = {item.partition("=")[0] for item in env}
    made = []
    for field, name in _PROXIES.items():
        value = chosen.get(field)
        # Programs disagree on the case, so both are set.
        made += [f"{each}={value}" for each in (name, name.lower()) if value and each not in given]
    return made


def _document() -> Mapping[str, Any]:
    """A file that cannot be read is reported where logins are needed; here it says nothing."""
    # os.path, since pathlib would cost a plain call more than all of this.
    folder = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")  # noqa: PTH111, PTH118
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
