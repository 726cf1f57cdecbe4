"""Containers that another OCI runtime runs (crun, runc, ...), below the same monitor.

The monitor stays parent and reaper, and owns streams, terminal, log and exit status. In place of our own init
it forks an agent, which mounts the root in a mount namespace of its own, calls the runtime's `create` there,
and tells the monitor the pid in the same words (messages.py); what waits at the gate is a second agent that
calls `start`. The cgroup is where the config says, so limits, statistics, pause and kill are our own.
Source: runtime-spec runtime.md, "Operations"; runc's man pages for the options.
"""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from wherryd.errors import NotSupported, RuntimeFault
from wherryd.runtime import child, launch, mounting
from wherryd.runtime.child import ChildStreams
from wherryd.runtime.container import Container, Rising
from wherryd.runtime.launch import Launched, Talk
from wherryd.runtime.messages import ChildMessage, Peer, Step
from wherryd.spec.oci import Process
from wherryd.sys import mounts
from wherryd.sys import namespaces as ns

#: Longest wait for a runtime's command, in seconds; a create may have to mount things.
_CALL_S: Final = 50.0
_DELETE_S: Final = 10.0
#: What the config is said to be: it has nothing newer, and crun before 1.9 refuses any later one.
_VERSION: Final = "1.0.2"
_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_NOT_FOUND: Final = re.compile(r"executable file .*not found|no such file or directory", re.I)
_NO_PROGRAM: Final = re.compile(r"executable file .*not found", re.I)
_NOT_EXECUTABLE: Final = re.compile(r"permission denied|is a directory|exec format error", re.I)


@dataclass(slots=True, kw_only=True)
class ForeignContainer(Container):
    """command: the runtime's program and the arguments it always gets."""

    command: tuple[str, ...]
    runtime_root: Path

    def begin(self, streams: ChildStreams, **_: Any) -> Rising:
        """The arguments of our own runtime's command line have no meaning here; the monitor gives none."""
        rising = Rising(self)
        # What the runtime has made when it fails is taken away in any case.
        rising.has_cgroup = rising.hooked = True
        launched = _fork(lambda peer: _create(self, streams, peer), streams)
        rising.talk = Talk(launched, forks_again=True)
        return rising

    def fork_exec(self, process: Process, streams: ChildStreams, *, init_pidfd: int) -> Launched:
        del init_pidfd  # the runtime finds it by the id
        document = to_document(process)
        return _fork(lambda peer: _exec(self, document, streams, peer), streams)

    def started(self, pid: int, complain: Callable[[str], None]) -> None:
        """The runtime has run the hooks."""

    def stopped(self, complain: Callable[[str], None]) -> None:
        delete(self.command, self.runtime_root, self.directory.container_id, complain)


def of(container: Container, command: Sequence[str], exec_root: Path) -> ForeignContainer:
    given = {field.name: getattr(container, field.name) for field in fields(container)}
    return ForeignContainer(**given, command=tuple(command), runtime_root=exec_root / "oci")


def delete(command: Sequence[str], root: Path, container_id: str, complain: Callable[[str], None]) -> None:
    """Whatever state it is in. Done twice is fine."""
    if not (root / container_id).exists():
        return
    try:
        done = subprocess.run(
            [*command, "--root", str(root), "delete", "--force", container_id],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=_ENVIRONMENT,
            timeout=_DELETE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        complain(f"{command[0]} delete {container_id}: {error}")
        return
    if done.returncode:
        complain(f"{command[0]} delete {container_id}: {done.stderr.decode(errors='replace').strip()}")
        shutil.rmtree(root / container_id, ignore_errors=True)


def to_document(process: Process) -> dict[str, Any]:
    """An OCI process object, as a runtime's exec takes it. Raises NotSupported for a user by name."""
    user = process.user
    if user.username is not None:
        raise NotSupported("another runtime takes a user by number only")
    document: dict[str, Any] = {
        "args": list(process.args),
        "env": list(process.env),
        "cwd": process.cwd,
        "terminal": process.terminal,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.additional_gids)},
        "capabilities": {
            each.name: list(getattr(process.capabilities, each.name)) for each in fields(process.capabilities)
        },
        "noNewPrivileges": process.no_new_privileges,
        "rlimits": [{"type": each.kind, "soft": each.soft, "hard": each.hard} for each in process.rlimits],
    }
    if user.umask is not None:
        document["user"]["umask"] = user.umask
    optional = {"oomScoreAdj": process.oom_score_adj, "apparmorProfile": process.apparmor_profile or None}
    document |= {name: value for name, value in optional.items() if value is not None}
    if process.console_size is not None:
        document["consoleSize"] = {"height": process.console_size[0], "width": process.console_size[1]}
    return document


# --- the agents ---


def _fork(action: Callable[[Peer], None], streams: ChildStreams) -> Launched:
    ours, theirs = Peer.pair()
    child.flush_streams()
    pid = os.fork()
    if pid == 0:

        def run() -> None:
            os.setsid()
            child.let_go((theirs.socket.fileno(), *streams.fds()))
            action(theirs)

        child.run_child(theirs, run)
    theirs.close()
    return Launched(pid, ours)


def _create(container: ForeignContainer, streams: ChildStreams, peer: Peer) -> None:
    container_id = container.directory.container_id
    container.runtime_root.mkdir(mode=0o700, exist_ok=True)
    # One whose monitor was killed has left its state.
    delete(container.command, container.runtime_root, container_id, lambda _: None)
    ns.unshare(ns.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_SLAVE)
    mounting.mount_root(launch.rootfs_path(container.spec, container.bundle), container.layers)
    _set_version(container.bundle / "config.json")
    call = _Call(container, streams, terminal=container.process.terminal)
    pid, master = call.run("create", ["--bundle", str(container.bundle)])

    def start() -> None:
        _Call(container, ChildStreams(), terminal=False).plain("start")

    _hand_over(peer, pid, master, start)


def _set_version(config: Path) -> None:
    document = json.loads(config.read_bytes())
    document["ociVersion"] = _VERSION
    config.write_text(json.dumps(document))


def _exec(
    container: ForeignContainer, document: Mapping[str, Any], streams: ChildStreams, peer: Peer
) -> None:
    call = _Call(container, streams, terminal=bool(document["terminal"]))
    file = call.temporary("process.json")
    file.write_text(json.dumps(document))
    try:
        pid, master = call.run("exec", ["--detach", "--process", str(file)])
    finally:
        file.unlink()
    _hand_over(peer, pid, master, lambda: None)


def _hand_over(peer: Peer, pid: int, master: int, start: Callable[[], None]) -> None:
    """Says whose pid it is, and leaves somebody at the gate."""
    if master >= 0:
        peer.send(ChildMessage(step=Step.TERMINAL), (master,))
    if os.fork() == 0:

        def wait() -> None:
            answer = peer.receive()
            if answer is not None and answer[0].step is Step.START:
                start()

        child.run_child(peer, wait)
    peer.send(ChildMessage(step=Step.FORKED, pid=pid))
    peer.send(ChildMessage(step=Step.READY))


class _Call:
    """One command of the runtime: its log, pid file and console socket, all gone afterwards."""

    def __init__(self, container: ForeignContainer, streams: ChildStreams, *, terminal: bool) -> None:
        self._container = container
        self._streams = streams
        self._terminal = terminal
        self._log = self.temporary("runtime.log")

    def temporary(self, name: str) -> Path:
        """Of this process: several execs may be under way."""
        return self._container.directory.path / f"{os.getpid()}.{name}"

    def plain(self, verb: str, options: Sequence[str] = ()) -> None:
        """Raises RuntimeFault with what the runtime said, and Docker's exit code for it."""
        container = self._container
        command = [
            *container.command, "--root", str(container.runtime_root), "--log", str(self._log),
            "--log-format", "json", verb, *options, container.directory.container_id,
        ]  # fmt: skip
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        streams = self._streams
        given = [fd if fd >= 0 else null for fd in (streams.stdin, streams.stdout, streams.stderr)]
        try:
            done = subprocess.run(
                command, stdin=given[0], stdout=given[1], stderr=given[2], env=_ENVIRONMENT,
                timeout=_CALL_S, check=False,
            )  # fmt: skip
            if done.returncode:
                raise fault(command[0], verb, done.returncode, _said(self._log))
        except FileNotFoundError as error:
            raise RuntimeFault(f"{command[0]} is not there: install it, or take another runtime") from error
        except subprocess.TimeoutExpired as error:
            raise RuntimeFault(f"{command[0]} {verb} did not end within {_CALL_S:g} s") from error
        finally:
            os.close(null)
            self._log.unlink(missing_ok=True)

    def run(self, verb: str, options: Sequence[str]) -> tuple[int, int]:
        """(pid, terminal's master or -1) of the process that the runtime has begun and left behind."""
        pid_file = self.temporary("pid")
        options = [*options, "--pid-file", str(pid_file)]
        console = self.temporary("console.sock") if self._terminal else None
        try:
            if console is None:
                self.plain(verb, options)
                return int(pid_file.read_text()), -1
            with _listening(console) as (listener, name):
                self.plain(verb, [*options, "--console-socket", name])
                connection, _ = listener.accept()
                with connection:
                    _, (master,), _, _ = socket.recv_fds(connection, 4096, 1)
            return int(pid_file.read_text()), master
        finally:
            pid_file.unlink(missing_ok=True)
            if console is not None:
                console.unlink(missing_ok=True)


@contextmanager
def _listening(path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listener, and a name to reach it by from other processes: below a descriptor of ours, as an exec root
    may be longer than the 107 bytes that a socket's name has."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = f"/proc/{os.getpid()}/fd/{directory}/{path.name}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(name)
            listener.listen(1)
            listener.settimeout(_CALL_S)
            yield listener, name
    finally:
        os.close(directory)


def _said(log: Path) -> str:
    """The last error in the runtime's log."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict) and document.get("level") in ("error", "fatal", None):
            return str(document.get("msg", ""))
    return lines[-1] if lines else ""


def fault(program: str, verb: str, status: int, said: str) -> RuntimeFault:
    """As Docker has it: 127 for a program that is not there, 126 for one that cannot be executed."""
    if _NO_PROGRAM.search(said) and "executable file not found" not in said:
        # What docker's command looks for; crun has the program's name in the middle.
        said = f"executable file not found in $PATH: {said}"
    code = 127 if _NOT_FOUND.search(said) else 126 if _NOT_EXECUTABLE.search(said) else 128
    return RuntimeFault(said or f"{program} {verb} failed with status {status} and said nothing", code)
