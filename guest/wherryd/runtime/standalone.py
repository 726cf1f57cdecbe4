"""Containers without a monitor, as the OCI runtime command line has them: what `wherry-runc` carries out.

The caller's streams become the container's, its parent is whoever reaps the caller's orphans, and the
start gate is a FIFO on disk, so that create and start can be two processes.
"""

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wherryd import clock
from wherryd.cgroups.choose import manager_for
from wherryd.cgroups.files import read
from wherryd.cgroups.manager import CgroupManager, layout
from wherryd.errors import Conflict, EngineError, InvalidParameter, NotFound
from wherryd.runtime import launch, relay
from wherryd.runtime.child import ChildStreams
from wherryd.runtime.container import Container
from wherryd.runtime.launch import Launched
from wherryd.runtime.process import exit_code
from wherryd.runtime.state import State, StateDir, is_alive
from wherryd.spec.oci import Process
from wherryd.sys import process as proc

_OWN_STREAMS = ChildStreams(0, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """pid_file: gets init's pid. console_socket: unix socket that gets the terminal's master."""

    root: Path
    pid_file: Path | None = None
    console_socket: Path | None = None


def create(container_id: str, bundle: Path, options: Options) -> None:
    """OCI create: everything is set up, the program waits for `start`."""
    container = _load(container_id, bundle, options)
    fifo = container.directory.gate_fifo
    try:
        os.mkfifo(fifo, 0o600)
        # Opened for both, so that neither side waits for the other at opening.
        fd = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
        launched = _bring_up(container, options, lambda: os.read(fd, 1), (fd,))
        _hand_over(container, launched, options, gate="fifo")
    except BaseException:
        container.directory.remove()
        raise


def run(container_id: str, bundle: Path, options: Options, *, detach: bool, keep: bool) -> int:
    """create and start in one; waits for the end unless detach, and gives the exit code."""
    container = _load(container_id, bundle, options)
    if detach:
        container.directory.remove()
        create(container_id, bundle, options)
        start(container_id, options.root)
        return 0
    proc.prctl(proc.PR_SET_CHILD_SUBREAPER, 1)
    try:
        streams = ChildStreams() if container.process.terminal else _OWN_STREAMS
        launched = container.bring_up(streams)
        state = container.state(launched.pid, monitor_pid=os.getpid(), gate="parent")
        container.directory.write_state(state)
        _write_pid_file(options.pid_file, launched.pid)
        launch.pass_gate(launched)
        container.directory.write_state(state.started(clock.now()))
        container.started(launched.pid)
        code = _wait(launched)
    finally:
        container.cgroup.kill()
        if not keep:
            container.stopped(_complain)
            container.cgroup.destroy()
            container.directory.remove()
    return code


def _load(container_id: str, bundle: Path, options: Options) -> Container:
    container = Container.load(StateDir(options.root, container_id), bundle.absolute(), ())
    if container.directory.exists():
        raise Conflict(
            f"container with given ID already exists: {container_id}: delete it, or take another id"
        )
    container.make_directory()
    return container


def _bring_up(container: Container, options: Options, wait: Any, keep_fds: tuple[int, ...]) -> Launched:
    if container.process.terminal and options.console_socket is None:
        raise InvalidParameter("cannot allocate tty if runc will detach without setting console socket")
    streams = ChildStreams() if container.process.terminal else _OWN_STREAMS
    return container.bring_up(streams, gate=lambda _: wait(), keep_fds=keep_fds, tied=False)


def _hand_over(container: Container, launched: Launched, options: Options, *, gate: str) -> None:
    try:
        if launched.master >= 0 and options.console_socket is not None:
            send_master(options.console_socket, launched.master)
        container.directory.write_state(container.state(launched.pid, monitor_pid=0, gate=gate))
        _write_pid_file(options.pid_file, launched.pid)
    except BaseException:
        launch.abandon(launched)
        container.cgroup.destroy()
        raise
    launched.peer.close()


def send_master(path: Path, master: int) -> None:
    """As runc does: the descriptor with a name for it. Source: runc docs/terminals.md."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))
        socket.send_fds(connection, [b"/dev/ptmx"], [master])


def _write_pid_file(path: Path | None, pid: int) -> None:
    if path is not None:
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(str(pid))
        temporary.rename(path)


def _wait(launched: Launched) -> int:
    """Signals to us are init's; orphans of its cgroup are reaped along the way."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    ):
        signal.signal(number, lambda received, _: os.kill(launched.pid, received))
    if launched.master >= 0:
        relay.relay(launched.master)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == launched.pid:
            return exit_code(status)


def start(container_id: str, root: Path) -> None:
    directory = StateDir(root, container_id)
    state = directory.read_state()
    if status_of(state) != "created" or state.gate != "fifo":
        raise Conflict(f"cannot start a container in the {status_of(state)} state")
    try:
        fd = os.open(directory.gate_fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            raise Conflict(f"container {container_id} has been started, or its process has gone") from error
        raise
    try:
        directory.write_state(state.started(clock.now()))
        directory.gate_fifo.unlink()
        os.write(fd, b"s")
    finally:
        os.close(fd)
    try:
        container = _configured(state, directory)
        if container is not None:
            container.started(state.pid)
    except BaseException:
        cgroup_of(state).kill()
        raise


def cgroup_of(state: State) -> CgroupManager:
    return manager_for(state.cgroup)


def status_of(state: State) -> str:
    """runtime.md, "State": created, running, stopped; and runc's paused."""
    if not is_alive(state):
        return "stopped"
    if _is_frozen(state):
        return "paused"
    return "running" if state.started_at else "created"


def _is_frozen(state: State) -> bool:
    machine = layout()
    relative = state.cgroup.lstrip("/")
    if machine.version == 2:
        return read(machine.mounts[""] / relative / "cgroup.freeze").strip() == "1"
    freezer = machine.mounts.get("freezer")
    return freezer is not None and read(freezer / relative / "freezer.state").strip() in (
        "FROZEN",
        "FREEZING",
    )


def kill(container_id: str, root: Path, signum: int, *, everyone: bool) -> None:
    state = StateDir(root, container_id).read_state()
    if everyone:
        if signum == signal.SIGKILL:
            cgroup_of(state).kill()
        else:
            for pid in cgroup_of(state).pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)
        return
    with _pidfd(state) as pidfd:
        signal.pidfd_send_signal(pidfd, signum)
    if signum == signal.SIGKILL and _is_frozen(state):
        cgroup_of(state).thaw()


@contextlib.contextmanager
def _pidfd(state: State) -> Any:
    """Init's; checked after opening, so that a reused number is noticed."""
    try:
        pidfd = os.pidfd_open(state.pid)
    except ProcessLookupError as error:
        raise Conflict(f"container {state.container_id} is not running") from error
    try:
        if not is_alive(state):
            raise Conflict(f"container {state.container_id} is not running")
        yield pidfd
    finally:
        os.close(pidfd)


def delete(container_id: str, root: Path, *, force: bool) -> None:
    directory = StateDir(root, container_id)
    try:
        state = directory.read_state()
    except NotFound:
        if force:
            directory.remove()
            return
        raise
    status = status_of(state)
    if status != "stopped" and not force:
        raise Conflict(
            f"cannot delete container {container_id} that is not stopped: {status}; kill it, or use --force"
        )
    cgroup_of(state).kill()
    container = _configured(state, directory)
    if container is not None:
        container.stopped(_complain)
    cgroup_of(state).destroy()
    directory.remove()


def _configured(state: State, directory: StateDir) -> Container | None:
    """The container by its config; None when that is gone: what it wanted can no longer be known."""
    try:
        return Container.load(directory, Path(state.bundle), ())
    except EngineError:
        return None


def _complain(text: str) -> None:
    """Of what changes nothing any more."""
    os.write(2, f"wherry-runc: {text}\n".encode(errors="replace"))


def states(root: Path) -> Sequence[State]:
    folder = root / "containers"
    names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    found = []
    for name in names:
        with contextlib.suppress(NotFound):  # being made or removed just now
            found.append(StateDir(root, name).read_state())
    return found


def exec_process(container_id: str, options: Options, process: Process, *, detach: bool) -> int:
    """A further process with our streams; its exit code, 0 when detached."""
    state = StateDir(options.root, container_id).read_state()
    if status_of(state) != "running":
        raise Conflict(f"cannot exec in a {status_of(state)} container")
    container = Container.load(StateDir(options.root, container_id), Path(state.bundle), ())
    container.cgroup = cgroup_of(state)
    if process.terminal and detach and options.console_socket is None:
        raise InvalidParameter("cannot allocate tty if runc will detach without setting console socket")
    proc.prctl(proc.PR_SET_CHILD_SUBREAPER, int(not detach))
    with _pidfd(state) as pidfd:
        streams = ChildStreams() if process.terminal else _OWN_STREAMS
        launched = launch.launch_exec(
            container.exec_plan(process, streams, init_pidfd=pidfd, born_inside=False, tied=not detach)
        )
    if launched.master >= 0 and options.console_socket is not None:
        send_master(options.console_socket, launched.master)
    _write_pid_file(options.pid_file, launched.pid)
    launch.pass_gate(launched)
    return 0 if detach else _wait(launched)


def exec_template(container_id: str, root: Path) -> Process:
    """The container's own process, from which exec takes what its command line does not say."""
    state = StateDir(root, container_id).read_state()
    process = Container.load(StateDir(root, container_id), Path(state.bundle), ()).process
    return replace(process, terminal=False, console_size=None)
