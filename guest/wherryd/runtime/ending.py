"""kill and delete of containers made by wherry-runc. Nothing enters a container here.

What only few containers need is imported for them alone: a caller waits for an interpreter each time.
"""

import os
import signal
from pathlib import Path

from wherryd.cgroups import tree
from wherryd.errors import Conflict, EngineError, NotFound
from wherryd.runtime import status
from wherryd.runtime.state import State, StateDir


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
    if "mount" not in state.namespaces:
        from wherryd.runtime import mounting

        mounting.unmount_root(state.namespaces, state.rootfs)
    directory.remove()


def run_poststop(state: State, directory: StateDir) -> None:
    """By the config it was created with. What goes wrong is told, and changes nothing any more."""
    if not _may_name_poststop(directory.config_file):
        return
    from wherryd.runtime import hooks
    from wherryd.spec import parse

    try:
        spec = parse.load(directory.config_file)
    except EngineError:
        return  # made by an older version: what it wanted can no longer be known
    if spec.hooks.poststop:
        document = hooks.state_document(spec, state.container_id, state.bundle, status="stopped", pid=0)
        hooks.run_to_the_end("poststop", spec.hooks.poststop, document, complain)


def _may_name_poststop(config: Path) -> bool:
    """Without parsing all of it; a name may be spelled with escapes."""
    try:
        text = config.read_bytes()
    except FileNotFoundError:
        return True
    return b'"poststop"' in text or b"\\u" in text


def complain(text: str) -> None:
    """Of what changes nothing any more."""
    os.write(2, f"wherry-runc: {text}\n".encode(errors="replace"))
