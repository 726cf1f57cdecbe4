"""Containers without a monitor, as the OCI runtime command line has them: what `wherry-runc` carries out.

The caller's streams become the container's, its parent is whoever reaps the caller's orphans, and the
start gate is a FIFO on disk, so that create and start can be two processes. config.json is copied at create:
what is changed in the bundle afterwards has no effect. Source: runtime-spec runtime.md, "Operations".
"""

import contextlib
import errno
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from wherryd import clock
from wherryd.errors import Conflict, InvalidParameter
from wherryd.runtime import ending, launch, mounting, relay, status
from wherryd.runtime.child import FIRST_FREE, ChildStreams
from wherryd.runtime.container import Container
from wherryd.runtime.launch import Launched
from wherryd.runtime.process import exit_code
from wherryd.runtime.state import State, StateDir
from wherryd.spec.oci import NamespaceKind, Process
from wherryd.spec.parse import MAX_CONFIG_BYTES
from wherryd.sys import process as proc

_OWN_STREAMS = ChildStreams(0, 1, 2)
#: Passed on to init by a `run` that waits.
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """pid_file: gets init's pid. console_socket: unix socket that gets the terminal's master. The rest: see
    InitPlan. ignore_paused: of exec, whether it may wait in a paused container. warn: told what in the config
    has no effect."""

    root: Path
    pid_file: Path | None = None
    console_socket: Path | None = None
    preserve_fds: int = 0
    pivot: bool = True
    new_keyring: bool = True
    ignore_paused: bool = False
    warn: Callable[[str], None] = ending.complain


def create(container_id: str, bundle: Path, options: Options) -> None:
    """OCI create: everything is set up, the program waits for `start`."""
    with _made(container_id, bundle, options) as container:
        _create(container, options)


def _create(container: Container, options: Options) -> Launched:
    if container.process.terminal and options.console_socket is None:
        raise InvalidParameter("cannot allocate tty if runc will detach without setting console socket")
    fifo = container.directory.gate_fifo
    os.mkfifo(fifo, 0o600)
    # Opened for both, so that neither side waits for the other at opening.
    fd = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
    launched = _bring_up(container, options, lambda: os.read(fd, 1), (fd,))
    os.close(fd)
    _hand_over(container, launched, options)
    return launched


def run(container_id: str, bundle: Path, options: Options, *, detach: bool, keep: bool) -> int:
    """create and start in one; waits for the end unless detach, and gives the exit code."""
    if detach:
        create(container_id, bundle, options)
        start(container_id, options.root, options.warn)
        return 0
    if options.console_socket is not None:
        raise InvalidParameter("cannot use console socket if runc will not detach or allocate tty")
    with _made(container_id, bundle, options) as container:
        return _run(container, options, keep=keep)


def _run(container: Container, options: Options, *, keep: bool) -> int:
    proc.prctl(proc.PR_SET_CHILD_SUBREAPER, 1)
    state = None
    try:
        launched = container.bring_up(
            ChildStreams() if container.process.terminal else _OWN_STREAMS,
            preserve_fds=options.preserve_fds,
            pivot=options.pivot,
            new_keyring=options.new_keyring,
        )
        state = container.state(launched.pid, monitor_pid=os.getpid(), gate="parent")
        container.directory.write_state(state)
        _write_pid_file(options.pid_file, launched.pid)
        launch.pass_gate(launched)
        state = state.started(clock.now())
        container.directory.write_state(state)
        container.started(launched.pid, options.warn)
        return _wait(launched)
    finally:
        container.cgroup.kill()
        if not keep:
            container.stopped(ending.complain)
            container.cgroup.destroy()
            if state is not None:
                mounting.unmount_root(state.namespaces, state.rootfs)
            container.directory.remove()


@contextlib.contextmanager
def _made(container_id: str, bundle: Path, options: Options) -> Iterator[Container]:
    """The id taken and the config copied; let go again when what follows fails."""
    _check_descriptors(options)
    directory = StateDir(options.root, container_id)
    try:
        directory.create()
    except FileExistsError as error:
        raise Conflict(
            f"container with given ID already exists: {container_id}: delete it, or take another id"
        ) from error
    try:
        _copy_config(bundle.absolute(), directory)
        container = Container.load(directory, bundle.absolute(), (), directory.config_file)
        for text in container.warnings:
            options.warn(text)
        yield container
    except BaseException:
        directory.remove()
        raise


def _copy_config(bundle: Path, directory: StateDir) -> None:
    source = bundle / "config.json"
    try:
        if source.stat().st_size > MAX_CONFIG_BYTES:
            raise InvalidParameter(f"{source} is larger than {MAX_CONFIG_BYTES} bytes: not a runtime config")
        shutil.copyfile(source, directory.config_file)
    except FileNotFoundError as error:
        raise InvalidParameter(f"{source} does not exist: the bundle needs a config.json") from error


def _check_descriptors(options: Options) -> None:
    """Those to be passed on must be open: another file could get their number otherwise."""
    for fd in range(FIRST_FREE, FIRST_FREE + options.preserve_fds):
        try:
            os.fstat(fd)
        except OSError as error:
            raise InvalidParameter(
                f"--preserve-fds {options.preserve_fds}: descriptor {fd} is not open: give fewer"
            ) from error


def _bring_up(
    container: Container, options: Options, wait: Callable[[], object], keep_fds: tuple[int, ...]
) -> Launched:
    def gate(_: object) -> None:
        wait()

    return container.bring_up(
        ChildStreams() if container.process.terminal else _OWN_STREAMS,
        gate=gate,
        keep_fds=keep_fds,
        tied=False,
        preserve_fds=options.preserve_fds,
        pivot=options.pivot,
        new_keyring=options.new_keyring,
    )


def _hand_over(container: Container, launched: Launched, options: Options) -> None:
    try:
        if launched.master >= 0 and options.console_socket is not None:
            send_master(options.console_socket, launched.master)
        container.directory.write_state(container.state(launched.pid, monitor_pid=0, gate="fifo"))
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
    for number in _FORWARDED:
        signal.signal(number, lambda received, _: os.kill(launched.pid, received))
    if launched.master >= 0:
        relay.relay(launched.master)
    while True:
        pid, ended = os.waitpid(-1, 0)
        if pid == launched.pid:
            return exit_code(ended)


def start(container_id: str, root: Path, warn: Callable[[str], None] = ending.complain) -> None:
    """OCI start. warn: see Options. Raises Conflict in runc's words when it is not `created`."""
    directory = StateDir(root, container_id)
    state = directory.read_state()
    word = status.of(state)
    if word != "created" or state.gate != "fifo":
        raise Conflict(_not_created(word))
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
        _configured(state, directory).started(state.pid, warn)
    except BaseException:
        status.cgroup_of(state).kill()
        raise


def _not_created(word: str) -> str:
    if word == "stopped":
        return "cannot start a container that has stopped: create it again"
    if word == "running":
        return "cannot start an already running container"
    return f"cannot start a container in the {word} state"


def _configured(state: State, directory: StateDir) -> Container:
    """The container by the config it was created with."""
    config = directory.config_file if directory.config_file.exists() else None
    container = Container.load(directory, Path(state.bundle), (), config)
    container.cgroup = status.cgroup_of(state)
    return container


def exec_process(container_id: str, options: Options, process: Process, *, detach: bool) -> int:
    """A further process with our streams; its exit code, 0 when detached."""
    _check_descriptors(options)
    directory = StateDir(options.root, container_id)
    state = directory.read_state()
    word = status.of(state)
    if word == "paused" and not options.ignore_paused:
        raise Conflict("cannot exec in a paused container (use --ignore-paused to override)")
    if word == "stopped":
        raise Conflict("cannot exec in a stopped container: container not running")
    if process.terminal and detach and options.console_socket is None:
        raise InvalidParameter("cannot allocate tty if runc will detach without setting console socket")
    container = _configured(state, directory)
    proc.prctl(proc.PR_SET_CHILD_SUBREAPER, int(not detach))
    with status.pidfd(state) as pidfd, _init_root(container, state) as root:
        launched = launch.launch_exec(
            container.exec_plan(
                process,
                ChildStreams() if process.terminal else _OWN_STREAMS,
                init_pidfd=pidfd,
                tied=not detach,
                preserve_fds=options.preserve_fds,
                init_root=root,
            )
        )
    if launched.master >= 0 and options.console_socket is not None:
        send_master(options.console_socket, launched.master)
    _write_pid_file(options.pid_file, launched.pid)
    launch.pass_gate(launched)
    return 0 if detach else _wait(launched)


@contextlib.contextmanager
def _init_root(container: Container, state: State) -> Iterator[int]:
    """Init's root, where its mount namespace is shared with others and has another one; else -1."""
    if container.spec.linux.is_new(NamespaceKind.MOUNT):
        yield -1
        return
    fd = os.open(f"/proc/{state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def exec_template(container_id: str, root: Path) -> Process:
    """The container's own process, from which exec takes what its command line does not say."""
    directory = StateDir(root, container_id)
    process = _configured(directory.read_state(), directory).process
    return replace(process, terminal=False, console_size=None)
