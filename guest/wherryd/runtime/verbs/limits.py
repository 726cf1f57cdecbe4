"""pause, resume, update: what is asked of a container's cgroup."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from wherryd.errors import Conflict, InvalidParameter, NotSupported
from wherryd.runtime import status
from wherryd.runtime.state import State, StateDir
from wherryd.runtime.verbs.options import Verb, with_id
from wherryd.spec import parse

_SIZE = re.compile(r"(-?\d{1,18})([kmgtp]?)i?b?", re.IGNORECASE)
#: Option of update -> place below linux.resources; "size" takes 64m, "text" a list of CPUs.
_UPDATES = {
    "blkio-weight": ("blockIO", "weight", "number"),
    "cpu-period": ("cpu", "period", "number"),
    "cpu-quota": ("cpu", "quota", "number"),
    "cpu-burst": ("cpu", "burst", "number"),
    "cpu-share": ("cpu", "shares", "number"),
    "cpu-rt-period": ("cpu", "realtimePeriod", "number"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime", "number"),
    "cpu-idle": ("cpu", "idle", "number"),
    "cpuset-cpus": ("cpu", "cpus", "text"),
    "cpuset-mems": ("cpu", "mems", "text"),
    "memory": ("memory", "limit", "size"),
    "memory-reservation": ("memory", "reservation", "size"),
    "memory-swap": ("memory", "swap", "size"),
    "pids-limit": ("pids", "limit", "number"),
}


_RDT = ("l3-cache-schema", "mem-bw-schema")


def _living(given: argparse.Namespace) -> tuple[State, str]:
    state = StateDir(given.root, given.id).read_state()
    word = status.of(state)
    if word == "stopped":
        raise Conflict(f"container not running: {given.id} has stopped")
    return state, word


def _pause(given: argparse.Namespace) -> None:
    state, word = _living(given)
    if word == "paused":
        raise Conflict(f"container already paused: {given.id}")
    status.cgroup_of(state).freeze()


def _resume(given: argparse.Namespace) -> None:
    state, word = _living(given)
    if word != "paused":
        raise Conflict(f"container not paused: {given.id} is {word}")
    status.cgroup_of(state).thaw()


def _update_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-r", "--resources", metavar="FILE", help="a linux.resources object; - for stdin")
    for name, (_, _, kind) in _UPDATES.items():
        parser.add_argument(f"--{name}", metavar={"number": "N", "size": "BYTES", "text": "LIST"}[kind])
    for name in _RDT:
        parser.add_argument(f"--{name}", metavar="SCHEMA", help="refused: Intel RDT is not supported")
    with_id(parser)


def _update(given: argparse.Namespace) -> None:
    for name in _RDT:
        if getattr(given, name.replace("-", "_")):
            raise NotSupported(f"--{name}: this runtime has no Intel RDT: leave it out")
    state, _ = _living(given)
    if given.resources is not None:
        document = _read(given.resources)
    else:
        document = {}
        for name, (section, field, kind) in _UPDATES.items():
            value = getattr(given, name.replace("-", "_"))
            if value is not None:
                document.setdefault(section, {})[field] = value if kind == "text" else size(name, value)
    if not document:
        raise InvalidParameter("update: nothing to change; give --resources or a limit")
    status.cgroup_of(state).apply(parse.parse_resources(document))


def _read(source: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
        document = json.loads(text)
    except ValueError as error:
        raise InvalidParameter(f"--resources {source} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidParameter(f"--resources {source}: wants one JSON object")
    return document


def size(name: str, text: str) -> int:
    """64m -> 67108864; -1 is no limit. Raises InvalidParameter."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidParameter(f"--{name}: {text!r} is not a number")
    shift = 10 * " kmgtp".index(match[2].lower() or " ")
    return int(match[1]) << shift


VERBS = {
    "pause": Verb("Freeze all processes of a container.", with_id, _pause),
    "resume": Verb("Thaw the processes of a container.", with_id, _resume),
    "update": Verb("Change the limits of a container.", _update_arguments, _update),
}
