"""What state a container of wherry-runc is in: told from its state file, its first process and its cgroup."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wherryd.cgroups.choose import manager_for
from wherryd.cgroups.files import read
from wherryd.cgroups.manager import CgroupManager, layout
from wherryd.errors import Conflict, NotFound
from wherryd.runtime.state import State, StateDir, is_alive


def of(state: State) -> str:
    """runtime.md, "State": created, running, stopped; and runc's paused."""
    if not is_alive(state):
        return "stopped"
    if is_frozen(state):
        return "paused"
    return "running" if state.started_at else "created"


def is_running(state: State) -> bool:
    """Whether its first process is there, paused or not."""
    return is_alive(state)


def is_frozen(state: State) -> bool:
    machine = layout()
    relative = state.cgroup.lstrip("/")
    if machine.version == 2:
        return read(machine.mounts[""] / relative / "cgroup.freeze").strip() == "1"
    freezer = machine.mounts.get("freezer")
    return freezer is not None and read(freezer / relative / "freezer.state").strip() in (
        "FROZEN",
        "FREEZING",
    )


def cgroup_of(state: State) -> CgroupManager:
    return manager_for(state.cgroup)


def states(root: Path) -> Sequence[State]:
    folder = root / "containers"
    names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    found = []
    for name in names:
        with contextlib.suppress(NotFound):  # being made or removed just now
            found.append(StateDir(root, name).read_state())
    return found


@contextmanager
def pidfd(state: State) -> Iterator[int]:
    """Of its first process; checked after opening, so that a reused number is noticed. Raises Conflict."""
    try:
        fd = os.pidfd_open(state.pid)
    except ProcessLookupError as error:
        raise Conflict(f"container not running: {state.container_id} has stopped") from error
    try:
        if not is_alive(state):
            raise Conflict(f"container not running: {state.container_id} has stopped")
        yield fd
    finally:
        os.close(fd)
