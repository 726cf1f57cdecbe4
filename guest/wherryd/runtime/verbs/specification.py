"""spec: a config.json to begin with."""

import argparse
from pathlib import Path
from typing import Any

from wherryd.errors import Conflict, NotSupported
from wherryd.runtime.verbs.options import OCI_VERSION, Verb
from wherryd.spec import defaults


def document() -> dict[str, Any]:
    """A shell on a terminal in a read-only `rootfs`, confined as `docker run` would."""
    capabilities = list(defaults.CAPABILITIES)
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [f"PATH={defaults.PATH}", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "wherry",
        "mounts": defaults.mounts(),
        "linux": {
            "resources": {"devices": [dict(rule) for rule in defaults.DEVICE_RULES]},
            "namespaces": [{"type": kind} for kind in defaults.NAMESPACES],
            "maskedPaths": list(defaults.MASKED_PATHS),
            "readonlyPaths": list(defaults.READONLY_PATHS),
        },
    }


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-b", "--bundle", type=Path, default=Path(), help="folder to write config.json to")
    parser.add_argument("--rootless", action="store_true", help="refused: root is needed")


def _spec(given: argparse.Namespace) -> None:
    import json

    if given.rootless:
        raise NotSupported("spec --rootless: wherry-runc needs root; map ids with a user namespace instead")
    target = given.bundle / "config.json"
    try:
        with target.open("x") as file:
            file.write(json.dumps(document(), indent=4) + "\n")
    except FileExistsError as error:
        raise Conflict(f"file {target} exists: remove it first") from error


VERBS = {"spec": Verb("Write a config.json to begin with.", _arguments, _spec)}
