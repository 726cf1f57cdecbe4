"""The monitor: one small process per container; parent and reaper, owner of its streams, keeper of its end.

It is forked from the zygote, lives in a session of its own and holds nothing of the daemon's but the
connection it was asked on, so the daemon may be killed and come again at any time. It ends on `delete`.
When it is killed itself, init dies with it (PR_SET_PDEATHSIG): a container is never left unwatched.
"""

import contextlib
import gc
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, NoReturn

from wherryd import clock
from wherryd.cgroups.manager import CgroupManager
from wherryd.errors import Conflict, EngineError, InvalidParameter, NotFound, RuntimeFault
from wherryd.runtime import launch, pipes
from wherryd.runtime.child import ChildStreams
from wherryd.runtime.container import Container
from wherryd.runtime.control import LATER, Connection, Door
from wherryd.runtime.launch import Launched
from wherryd.runtime.logfile import JsonFileLog
from wherryd.runtime.loop import READ, Loop
from wherryd.runtime.messages import error_document
from wherryd.runtime.process import ManagedProcess, Phase, exit_code
from wherryd.runtime.request import CreateRequest
from wherryd.runtime.sessions import ExecSessions
from wherryd.runtime.state import StateDir
from wherryd.runtime.streams import Client, Ends, ProcessStreams
from wherryd.runtime.types import ExitStatus
from wherryd.spec import parse
from wherryd.sys import process as proc

#: After delete: how long attached clients may take to read what is still buffered for them, in seconds.
LINGER_S: Final = 30.0
#: Between two steps of work that can wait: the loop looks at streams and requests then, in seconds.
WORK_PAUSE_S: Final = 0.001


class Monitor:
    """One container. `run` returns when it has been deleted."""

    def __init__(self, request: CreateRequest) -> None:
        """Brings the container up to its start gate. Raises EngineError with nothing left behind."""
        self._loop = Loop()
        self._io = request.io
        self._directory = StateDir(request.exec_root, request.container_id)
        self._container = Container.load(self._directory, request.bundle, request.layers)
        self._check_io()
        self._container.make_directory()
        self._start_error: RuntimeFault | None = None
        self._paused = False
        self._deleting: list[tuple[Connection, int]] = []
        try:
            self._log = self._open_log()
            self._process, self._launched = self._create()
            self._listen()
        except BaseException:
            self._directory.remove()
            raise

    def _check_io(self) -> None:
        if self._io.terminal != self._container.process.terminal:
            raise InvalidParameter("the io's `terminal` and the config's process.terminal must say the same")

    def _open_log(self) -> JsonFileLog | None:
        io = self._io
        if io.log_path is None:
            return None
        log = JsonFileLog(
            io.log_path,
            max_bytes=io.log_max_bytes,
            max_files=io.log_max_files,
            compress=io.log_compress,
            attributes=io.log_attributes,
        )
        log.on_work = self._work_later
        return log

    def _work_later(self, work: Callable[[], bool]) -> None:
        """Between two rounds of the loop, so that streams and requests are not held up."""

        def step() -> None:
            try:
                if work():
                    self._loop.later(WORK_PAUSE_S, step)
            except OSError as error:
                self._complain(error)

        self._loop.later(WORK_PAUSE_S, step)

    def _create(self) -> tuple[ManagedProcess, Launched]:
        io = self._io
        streams = ProcessStreams(
            self._loop,
            log=self._log,
            framed=not io.terminal,
            close_stdin_with_client=io.stdin_once and not io.terminal,
        )
        streams.on_log_error = self._complain
        if io.terminal:
            child_ends, ends = ChildStreams(), Ends()
        else:
            child_ends, ends = pipes.make(stdin=io.open_stdin)
        try:
            launched = self._container.bring_up(child_ends, meanwhile=self._prepare)
        except BaseException:
            pipes.close_ends(ends)
            raise
        finally:
            pipes.close_child_ends(child_ends)
        size = io.console_size or self._container.process.console_size
        process = ManagedProcess(self._loop, streams, is_terminal=io.terminal, size=size)
        process.on_exit = self._init_exited
        process.on_done = self._init_done
        process.launched(launched.pid, ends, launched.master)
        return process, launched

    def _prepare(self) -> None:
        """While init sets itself up: what needs no pid."""
        self._watch_children()
        self._listener = self._directory.listen()

    def _listen(self) -> None:
        """From here on the container can be found by others: state on disk first, then the door."""
        try:
            self._state = self._container.state(self._process.pid, monitor_pid=os.getpid(), gate="monitor")
            self._directory.write_state(self._state)
            self._sessions = ExecSessions(self._loop, self._container, self._process)
            self._door = Door(self._loop, self._listener, self.handle)
        except BaseException:
            launch.abandon(self._launched)
            self._container.cgroup.destroy()
            raise

    def adopt(self, connection: socket.socket) -> None:
        """The connection the request came on is a client's like any other."""
        Connection(self._loop, connection, self.handle)

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self) -> None:
        self._loop.run()

    # --- children ---

    def _watch_children(self) -> None:
        receive, send = socket.socketpair()
        for end in (receive, send):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(send.fileno(), warn_on_full_buffer=False)
        self._wakeup = (receive, send)

        def woken(_: int) -> None:
            with contextlib.suppress(BlockingIOError):
                receive.recv(4096)
            self._reap()

        self._loop.watch(receive.fileno(), READ, woken)
        # One may have ended before the handler was there.
        self._loop.later(0, self._reap)

    def _reap(self) -> None:
        """As a subreaper we get the container's orphans too, when it shares our PID namespace."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._process.pid:
                self._process.exited(exit_code(status))
            else:
                self._sessions.reaped(pid, exit_code(status))

    def _init_exited(self, code: int) -> None:
        cgroup = self._container.cgroup
        self._launched.peer.close()
        self._exit_code = code
        self._exited_at = clock.now()
        self._oom_killed = cgroup.oom_kills() > 0
        # With a PID namespace of its own the kernel has done this already.
        if cgroup.pids():
            cgroup.kill()

    def _init_done(self) -> None:
        if self._log is not None:
            self._log.close()
        error = self._start_error
        status = ExitStatus(
            self._exit_code if error is None else error.exit_code,
            self._exited_at,
            self._oom_killed,
            "" if error is None else str(error),
        )
        # On disk first, then tell.
        self._directory.write_exit(status)
        self._process.finished(status)
        for connection, number in self._deleting:
            self._delete(connection, number)

    # --- requests ---

    def handle(self, connection: Connection, number: int, request: dict[str, Any]) -> Any:
        handler = getattr(self, f"_op_{request['op']}", None)
        if handler is None:
            raise NotFound(f"the monitor has no {request['op']!r}: it is of another version than its client")
        return handler(connection, number, request)

    def _op_hello(self, _connection: Connection, _number: int, _request: dict[str, Any]) -> dict[str, Any]:
        return {
            "pid": self._state.pid,
            "phase": self._process.phase,
            "started_at": self._state.started_at,
            "paused": self._paused,
            "terminal": self._io.terminal,
        }

    def _op_start(self, _connection: Connection, _number: int, _request: dict[str, Any]) -> dict[str, Any]:
        if self._state.started_at or self._process.phase is not Phase.CREATED:
            raise Conflict(f"container {self._directory.container_id} was started before")
        started_at = clock.now()
        try:
            # Hooks that run inside have time limits of their own, or none.
            hooked = bool(self._container.spec.hooks.start_container)
            launch.pass_gate(self._launched, limit_s=None if hooked else launch.SETUP_TIMEOUT_S)
            self._run_hooks_of_start()
        except RuntimeFault as error:
            self._start_error = error
            raise
        self._process.phase = Phase.RUNNING
        self._state = self._state.started(started_at)
        self._directory.write_state(self._state)
        return {"started_at": started_at}

    def _run_hooks_of_start(self) -> None:
        try:
            self._container.started(self._process.pid)
        except RuntimeFault:
            # The program runs already. It is ended, and its end is seen as any other.
            with contextlib.suppress(Conflict):
                self._process.signal(signal.SIGKILL)
            raise

    def _op_wait(self, connection: Connection, number: int, request: dict[str, Any]) -> object:
        process = self._which(request)
        process.wait(lambda status: connection.answer(number, asdict(status)))
        return LATER

    def _which(self, request: dict[str, Any]) -> ManagedProcess:
        exec_id = request.get("exec_id")
        return self._process if exec_id is None else self._sessions.get(exec_id).process

    def _op_kill(self, _connection: Connection, _number: int, request: dict[str, Any]) -> None:
        signum = int(request["signum"])
        if not 0 <= signum < signal.NSIG:
            raise InvalidParameter(f"signal {signum} does not exist: see signal(7)")
        if request.get("exec_id") is not None:
            self._which(request).signal(signum)
            return
        cgroup = self._container.cgroup
        if request.get("everyone"):
            if signum == signal.SIGKILL:
                self._paused = False
                self._process.signal(signum)
                cgroup.kill()
                return
            _signal_all(cgroup, signum)
            return
        self._process.signal(signum)
        if signum == signal.SIGKILL and self._paused:
            # A frozen process of cgroup v1 dies only once it is thawed.
            self._op_resume()

    def _op_pause(self, *_: Any) -> None:
        if self._process.phase not in (Phase.RUNNING, Phase.CREATED):
            raise Conflict(f"container {self._directory.container_id} is not running")
        if self._paused:
            raise Conflict(f"container {self._directory.container_id} is already paused")
        self._container.cgroup.freeze()
        self._paused = True

    def _op_resume(self, *_: Any) -> None:
        if not self._paused:
            raise Conflict(f"container {self._directory.container_id} is not paused")
        self._container.cgroup.thaw()
        self._paused = False

    def _op_resize(self, _connection: Connection, _number: int, request: dict[str, Any]) -> None:
        self._which(request).resize(int(request["height"]), int(request["width"]))

    def _op_update(self, _connection: Connection, _number: int, request: dict[str, Any]) -> None:
        self._container.cgroup.apply(parse.parse_resources(request["resources"]))

    def _op_stats(self, *_: Any) -> dict[str, Any]:
        return asdict(self._container.cgroup.stats())

    def _op_pids(self, *_: Any) -> dict[str, Any]:
        return {"pids": self._container.cgroup.pids()}

    def _op_attach(self, connection: Connection, number: int, request: dict[str, Any]) -> object:
        streams = self._which(request).streams
        names = frozenset(name for name in ("stdout", "stderr") if request.get(name))
        taken, early = connection.take_over(number)
        streams.attach(Client(taken, streams=names, stdin=bool(request.get("stdin"))), early)
        return LATER

    def _op_exec_create(self, _connection: Connection, _number: int, request: dict[str, Any]) -> None:
        if self._process.phase is not Phase.RUNNING:
            raise Conflict(f"container {self._directory.container_id} is not running")
        size = request.get("console_size")
        self._sessions.create(
            request["exec_id"],
            process=parse.parse_process(request["process"]),
            open_stdin=bool(request.get("open_stdin")),
            console_size=(int(size[0]), int(size[1])) if size else None,
        )

    def _op_exec_start(self, connection: Connection, number: int, request: dict[str, Any]) -> object:
        if self._paused:
            raise Conflict(f"container {self._directory.container_id} is paused, unpause it before exec")
        if self._process.phase is not Phase.RUNNING:
            raise Conflict(f"container {self._directory.container_id} is not running")

        def told(outcome: int | EngineError) -> None:
            if isinstance(outcome, EngineError):
                connection.fail(number, outcome)
            else:
                connection.answer(number, {"pid": outcome})

        self._sessions.start(request["exec_id"], told)
        return LATER

    def _op_delete(self, connection: Connection, number: int, _request: dict[str, Any]) -> object:
        phase = self._process.phase
        if phase is Phase.RUNNING:
            raise Conflict(
                f"container {self._directory.container_id} is running: kill it before you delete it"
            )
        if phase is Phase.EXITED:
            self._delete(connection, number)
        else:
            self._deleting.append((connection, number))
            if phase is Phase.CREATED:
                self._process.signal(signal.SIGKILL)
        return LATER

    def _delete(self, connection: Connection, number: int) -> None:
        self._container.cgroup.destroy()
        self._container.stopped(self.note)
        self._door.close()
        self._directory.remove()
        connection.answer(number)
        self._loop.later(LINGER_S, self._stop)
        self._stop_when_read()

    def _stop_when_read(self) -> None:
        """Attached clients still get what was buffered for them."""
        if self._process.streams.client_count == 0:
            self._stop()
        else:
            self._loop.later(0.01, self._stop_when_read)

    def _stop(self) -> None:
        self._loop.running = False

    def _complain(self, error: OSError) -> None:
        self.note(f"log: {error}")

    @staticmethod
    def note(text: str) -> None:
        print(f"{clock.now()} {text}", file=sys.stderr, flush=True)  # noqa: T201 - monitor.log


def _signal_all(cgroup: CgroupManager, signum: int) -> None:
    """By pidfds of processes that are seen to be in the group while it is held: a number may be another's."""
    with contextlib.ExitStack() as held:
        pidfds: dict[int, int] = {}
        for pid in cgroup.pids():
            with contextlib.suppress(ProcessLookupError):
                pidfds[pid] = os.pidfd_open(pid)
                held.callback(os.close, pidfds[pid])
        for pid in pidfds.keys() & set(cgroup.pids()):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfds[pid], signum)


def main(request: CreateRequest, connection: socket.socket) -> NoReturn:
    """The life of a monitor, in a fresh fork. Answers request 0 when the container is created, or why not."""
    status, created = 1, False
    try:
        _detach()
        try:
            monitor = Monitor(request)
        except BaseException as error:
            _answer(connection, {"id": 0, "error": error_document(error)})
            raise
        _stderr_to(StateDir(request.exec_root, request.container_id))
        created = True
        _answer(connection, {"id": 0, "ok": {"pid": monitor.pid}})
        gc.enable()
        monitor.adopt(connection)
        monitor.run()
        status = 0
    except (EngineError, OSError) as error:
        # Until the container is there, whoever asked for it is told, and tells the log.
        if created:
            Monitor.note(f"the monitor ends: {type(error).__name__}: {error}")
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _answer(connection: socket.socket, document: dict[str, Any]) -> None:
    with contextlib.suppress(ConnectionError):  # the daemon died meanwhile; it will find the container again
        connection.sendall(json.dumps(document).encode() + b"\n")


def _detach() -> None:
    """A session of our own; nothing of the daemon's streams; signals meant for others do not end us."""
    os.setsid()
    os.chdir("/")
    proc.set_name("wherry-monitor")
    proc.prctl(proc.PR_SET_CHILD_SUBREAPER, 1)
    proc.prctl(proc.PR_SET_DUMPABLE, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    null_device = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1):
        os.dup2(null_device, fd)
    os.close(null_device)


def _stderr_to(directory: StateDir) -> None:
    """From the daemon's stderr, where start-up faults belong, to the container's own file."""
    fd = os.open(directory.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(fd, 2)
    os.close(fd)
