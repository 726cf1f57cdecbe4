"""kill and delete of containers made by wherry-runc. Nothing enters a container here."""

import os
import signal
from pathlib import Path

from wherryd.cgroups import tree
from wherryd.errors import Conflict, EngineError, NotFound
from wherryd.runtime import hooks, mounting, status
from wherryd.runtime.state import State, StateDir
from wherryd.spec import parse


def kill(container_id: str, root: Path, signum: int, *, everyone: bool) -> None:
    """Raises Conflict when it is not running; with everyone also when nothing of it is left."""
    state = StateDir(root, container_id).read_state()
    if everyone:
        _kill_all(state, signum)
        return
    with status.pidfd(state) as pidfd:
        signal.pidfd_send_signal(pidfd, signum)
    if signum == signal.SIGKILL and status.is_frozen(state):
        status.cgroup_of(state).thaw()


def _kill_all(state: State, signum: int) -> None:
    cgroup = status.cgroup_of(state)
    if signum == signal.SIGKILL:
        cgroup.kill()
        return
    tree.signal_all(cgroup.pids, signum)


def delete(container_id: str, root: Path, *, force: bool) -> None:
    """Cgroup, mounts and state, after the hooks. Raises Conflict when it runs, unless force."""
    directory = StateDir(root, container_id)
    try:
        state = directory.read_state()
    except NotFound:
        if force:
            directory.remove()
            return
        raise
    word = status.of(state)
    if word != "stopped" and not force:
        raise Conflict(
            f"cannot delete container {container_id} that is not stopped: {word}; kill it, or use --force"
        )
    status.cgroup_of(state).kill()
    run_poststop(state, directory)
    status.cgroup_of(state).destroy()
    mounting.unmount_root(state.namespaces, state.rootfs)
    directory.remove()


def run_poststop(state: State, directory: StateDir) -> None:
    """By the config it was created with. What goes wrong is told, and changes nothing any more."""
    try:
        spec = parse.load(directory.config_file)
    except EngineError:
        return  # made by an older version: what it wanted can no longer be known
    if spec.hooks.poststop:
        document = hooks.state_document(spec, state.container_id, state.bundle, status="stopped", pid=0)
        hooks.run_to_the_end("poststop", spec.hooks.poststop, document, complain)


def complain(text: str) -> None:
    """Of what changes nothing any more."""
    os.write(2, f"wherry-runc: {text}\n".encode(errors="replace"))
