"""A monitor: parent and reaper of one container, owner of its streams, keeper of its end.

It lives in a process that it shares with a few others (monitorprocess.py), so nothing here may wait for
long: what takes time is begun, and carried on when the loop tells that there is news. It ends on `delete`.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from wherryd import clock, later
from wherryd.cgroups import tree
from wherryd.errors import Conflict, EngineError, InvalidParameter, NotFound, RuntimeFault
from wherryd.runtime import children, launch, pipes
from wherryd.runtime.child import ChildStreams
from wherryd.runtime.container import Container, Rising
from wherryd.runtime.control import LATER, Connection, Door
from wherryd.runtime.logfile import JsonFileLog
from wherryd.runtime.loop import READ, Loop
from wherryd.runtime.process import ManagedProcess, Phase, exit_code
from wherryd.runtime.request import CreateRequest
from wherryd.runtime.sessions import ExecSessions
from wherryd.runtime.state import StateDir
from wherryd.runtime.streams import Client, Ends, ProcessStreams
from wherryd.runtime.types import ExitStatus
from wherryd.spec import parse

if TYPE_CHECKING:
    from wherryd.runtime import foreign
else:
    # Wanted before a container's processes are forked, and only where another runtime was named.
    foreign = later.module("wherryd.runtime.foreign")

#: After delete: how long attached clients may take to read what is still buffered for them, in seconds.
LINGER_S: Final = 30.0
#: Between two steps of work that can wait: the loop looks at streams and requests then, in seconds.
WORK_PAUSE_S: Final = 0.001
_LINGER_PAUSE_S: Final = 0.01

#: Told whether something went wrong.
Then = Callable[[BaseException | None], None]


class Monitor:
    """One container. on_gone is called once, when it has been deleted."""

    def __init__(self, loop: Loop, on_gone: Callable[["Monitor"], None]) -> None:
        self._loop = loop
        self._on_gone = on_gone
        self._starting: Then | None = None
        self._start_error: BaseException | None = None
        self._late = False
        self._paused = False
        self._is_created = False
        self._deleting: list[tuple[Connection, int]] = []

    # --- create ---

    def begin(self, request: CreateRequest, connection: Connection) -> None:
        """Begins to bring the container up to its start gate, or, if the request says so, past it.

        When that is done, the connection gets an answer to request 0, or why it could not be done. Raises
        EngineError with nothing left behind.
        """
        self._io = request.io
        self._directory = StateDir(request.exec_root, request.container_id)
        self._container = Container.load(self._directory, request.bundle, request.layers)
        if request.runtime:
            self._container = foreign.of(self._container, request.runtime, request.exec_root)
        self._check_io()
        self._container.make_directory()
        try:
            self._log = self._open_log()
            self._process = self._make_process()
            rising, ends = self._rise()
            try:
                # While init sets itself up.
                self._listener = self._directory.listen()
            except BaseException as error:
                rising.give_up(error)
                pipes.close_ends(ends)
                raise
        except BaseException:
            self._directory.remove()
            raise
        self._await_news(rising, ends, request, connection)

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

    def _make_process(self) -> ManagedProcess:
        io = self._io
        streams = ProcessStreams(
            self._loop,
            log=self._log,
            framed=not io.terminal,
            close_stdin_with_client=io.stdin_once and not io.terminal,
        )
        streams.on_log_error = self._complain
        size = io.console_size or self._container.process.console_size
        process = ManagedProcess(self._loop, streams, is_terminal=io.terminal, size=size)
        process.on_exit = self._init_exited
        process.on_done = self._init_done
        return process

    def _rise(self) -> tuple[Rising, Ends]:
        if self._io.terminal:
            child_ends, ends = ChildStreams(), Ends()
        else:
            child_ends, ends = pipes.make(stdin=self._io.open_stdin)
        try:
            return self._container.begin(child_ends), ends
        except BaseException:
            pipes.close_ends(ends)
            raise
        finally:
            pipes.close_child_ends(child_ends)

    def _await_news(self, rising: Rising, ends: Ends, request: CreateRequest, connection: Connection) -> None:
        """From init, which sets itself up: at each message one step further."""
        fd = rising.launched.peer.socket.fileno()
        is_over = False

        def news(_: int) -> None:
            nonlocal is_over
            # Before it may be closed.
            self._loop.forget(fd)
            try:
                if not rising.step():
                    self._loop.watch(fd, READ, news)
                    return
                is_over = True
                self._created(rising, ends, request, connection)
            except Exception as error:
                is_over = True
                self._not_created(ends, connection, error)

        def too_slow() -> None:
            if not is_over:
                self._loop.forget(fd)
                error = launch.too_slow()
                rising.give_up(error)
                self._not_created(ends, connection, error)

        self._loop.watch(fd, READ, news)
        self._loop.later(launch.SETUP_TIMEOUT_S, too_slow)

    def _not_created(self, ends: Ends, connection: Connection, error: Exception) -> None:
        if not self._is_created:
            pipes.close_ends(ends)
        self._listener.close()
        self._directory.remove()
        connection.fail(0, error)
        connection.close()
        self._on_gone(self)

    def _created(self, rising: Rising, ends: Ends, request: CreateRequest, connection: Connection) -> None:
        """Init is at its gate. From here on the container can be found by others: state on disk first, then
        the door."""
        launched = rising.launched
        try:
            self._state = self._container.state(launched.pid, monitor_pid=os.getpid(), gate="monitor")
            if not request.start:
                self._directory.write_state(self._state)
            self._process.launched(launched.pid, ends, launched.master)
        except BaseException as error:
            rising.give_up(error)
            raise
        self._is_created = True
        self._launched = launched
        self._sessions = ExecSessions(self._loop, self._container, self._process)
        self._door = Door(self._loop, self._listener, self.handle)
        children.wait_for(launched.pid, lambda status: self._process.exited(exit_code(status)))
        rising.end()
        if request.start:
            self._start_at_once(connection)
        else:
            connection.answer(0, {"pid": launched.pid})

    def _start_at_once(self, connection: Connection) -> None:
        pid = self._process.pid
        if self._process.phase is not Phase.CREATED:
            self._delete_failed(connection, RuntimeFault("the container's process ended before its start"))
            return

        def then(error: BaseException | None) -> None:
            if error is None:
                connection.answer(0, {"pid": pid, "started_at": self._state.started_at})
            else:
                # Nobody knows of it yet: it goes as if it had never been.
                self._delete_failed(connection, error)

        self._begin_start(then)

    def _delete_failed(self, connection: Connection, error: BaseException) -> None:
        def gone() -> None:
            self._take_away()
            connection.fail(0, error)
            connection.close()

        if self._process.phase is Phase.EXITED:
            gone()
        else:
            self._process.wait(lambda _: self._loop.later(0, gone))

    @property
    def pid(self) -> int:
        return self._process.pid

    # --- the end of init ---

    def _init_exited(self, code: int) -> None:
        cgroup = self._container.cgroup
        if self._starting is not None:
            self._passed()  # what it may have said about why it could not begin
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
            error.exit_code if isinstance(error, RuntimeFault) else self._exit_code,
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

    def _op_start(self, connection: Connection, number: int, _request: dict[str, Any]) -> object:
        if self._state.started_at or self._starting or self._process.phase is not Phase.CREATED:
            raise Conflict(f"container {self._directory.container_id} was started before")

        def then(error: BaseException | None) -> None:
            if error is None:
                connection.answer(number, {"started_at": self._state.started_at})
            else:
                connection.fail(number, error)

        self._begin_start(then)
        return LATER

    def _begin_start(self, then: Then) -> None:
        """Opens the gate; `then` is called when the program runs, or could not."""
        self._starting = then
        self._started_at = clock.now()
        launch.open_gate(self._launched)
        self._loop.watch(self._launched.peer.socket.fileno(), READ, lambda _: self._passed())
        # Hooks that run inside have time limits of their own, or none.
        if not self._container.spec.hooks.start_container:
            self._loop.later(launch.SETUP_TIMEOUT_S, self._not_passed)

    def _not_passed(self) -> None:
        """A process that shares its PID namespace can stop it, and its file may not answer."""
        if self._starting is not None:
            self._late = True
            with contextlib.suppress(Conflict):
                self._process.signal(signal.SIGKILL)  # its end of the talk ends with it

    def _passed(self) -> None:
        then, self._starting = self._starting, None
        assert then is not None, "watched only meanwhile"  # noqa: S101
        self._loop.forget(self._launched.peer.socket.fileno())
        error: Exception | None = None
        try:
            launch.passed(self._launched)
            if self._late:
                raise RuntimeFault(
                    f"the program did not begin within {launch.SETUP_TIMEOUT_S:g} s: its file does not answer"
                )
            self._run_hooks_of_start()
            if self._process.phase is Phase.CREATED:
                self._process.phase = Phase.RUNNING
            self._state = self._state.started(self._started_at)
            self._directory.write_state(self._state)
        except Exception as raised:
            self._start_error = error = raised
        then(error)

    def _run_hooks_of_start(self) -> None:
        try:
            self._container.started(self._process.pid, self._note)
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
            tree.signal_all(cgroup.pids, signum)
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
        self._take_away()
        connection.answer(number)

    def _take_away(self) -> None:
        self._container.cgroup.destroy()
        self._container.stopped(self._note)
        self._door.close()
        self._directory.remove()
        self._go_when_read(time.monotonic() + LINGER_S)

    def _go_when_read(self, deadline: float) -> None:
        """Attached clients still get what was buffered for them."""
        if self._process.streams.client_count == 0 or time.monotonic() > deadline:
            self._on_gone(self)
        else:
            self._loop.later(_LINGER_PAUSE_S, lambda: self._go_when_read(deadline))

    def _complain(self, error: OSError) -> None:
        self._note(f"log: {error}")

    def _note(self, text: str) -> None:
        """Into the container's own file."""
        with contextlib.suppress(OSError), self._directory.log_file.open("a") as file:
            file.write(f"{clock.now()} {text}\n")
