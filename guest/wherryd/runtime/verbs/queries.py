"""state, list, ps."""

import argparse
from pathlib import Path
from typing import Any

from wherryd.runtime import status
from wherryd.runtime.state import State, StateDir
from wherryd.runtime.verbs.options import OCI_VERSION, Verb, print_json, print_lines, with_id


def _format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table")


def _document(state: State) -> dict[str, Any]:
    """runtime.md, "State", with runc's additions."""
    word = status.of(state)
    return {
        "ociVersion": OCI_VERSION,
        "id": state.container_id,
        "pid": 0 if word == "stopped" else state.pid,
        "status": word,
        "bundle": state.bundle,
        "rootfs": state.rootfs,
        "created": state.created_at,
        "annotations": state.annotations,
        "owner": "root",
    }


def _state(given: argparse.Namespace) -> None:
    print_json(_document(StateDir(given.root, given.id).read_state()))


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    _format(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="only the ids")


def _list(given: argparse.Namespace) -> None:
    documents = [_document(state) for state in status.states(given.root)]
    if given.quiet:
        print_lines([each["id"] for each in documents])
    elif given.format == "json":
        print_json(documents)
    else:
        rows: list[tuple[str, ...]] = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
        rows += [tuple(str(each[key.lower()]) for key in rows[0]) for each in documents]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        print_lines(
            ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        )


def _ps_arguments(parser: argparse.ArgumentParser) -> None:
    _format(parser)
    with_id(parser)


def _ps(given: argparse.Namespace) -> None:
    pids = status.cgroup_of(StateDir(given.root, given.id).read_state()).pids()
    if given.format == "json":
        print_json(pids)
        return
    print_lines(["PID     CMD"])
    for pid in pids:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        print_lines([f"{pid:<7} {command}"])


VERBS = {
    "list": Verb("List containers.", _list_arguments, _list),
    "ps": Verb("List the processes of a container.", _ps_arguments, _ps),
    "state": Verb("Print a container's state.", with_id, _state),
}
