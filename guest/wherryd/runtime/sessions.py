"""Exec sessions of one container, as the monitor keeps them: created, perhaps attached, then started."""

from collections.abc import Callable
from dataclasses import dataclass

from wherryd import clock
from wherryd.errors import Conflict, EngineError, NotFound, RuntimeFault
from wherryd.runtime import children, pipes
from wherryd.runtime.child import ChildStreams
from wherryd.runtime.container import Container
from wherryd.runtime.entering import Entering
from wherryd.runtime.launch import Launched
from wherryd.runtime.loop import Loop
from wherryd.runtime.process import ManagedProcess, Phase, exit_code
from wherryd.runtime.streams import Ends, ProcessStreams
from wherryd.runtime.types import ExitStatus
from wherryd.spec.oci import Process

#: Ended sessions that are kept, for a client that asks late how one ended.
_KEPT = 256


@dataclass(slots=True)
class Session:
    wanted: Process
    open_stdin: bool
    process: ManagedProcess


class ExecSessions:
    def __init__(self, loop: Loop, container: Container, init: ManagedProcess) -> None:
        self._loop = loop
        self._container = container
        self._init = init
        self._sessions: dict[str, Session] = {}

    def create(
        self, exec_id: str, *, process: Process, open_stdin: bool, console_size: tuple[int, int] | None
    ) -> None:
        """Raises Conflict when the id is taken."""
        if exec_id in self._sessions:
            raise Conflict(f"exec {exec_id} exists already")
        self._forget_old()
        streams = ProcessStreams(
            self._loop, log=None, framed=not process.terminal, close_stdin_with_client=not process.terminal
        )
        managed = ManagedProcess(
            self._loop, streams, is_terminal=process.terminal, size=console_size or process.console_size
        )
        self._sessions[exec_id] = Session(process, open_stdin, managed)

    def _forget_old(self) -> None:
        ended = [name for name, each in self._sessions.items() if each.process.phase is Phase.EXITED]
        for name in ended[: max(0, len(self._sessions) - _KEPT)]:
            del self._sessions[name]

    def get(self, exec_id: str) -> Session:
        """Raises NotFound."""
        if exec_id not in self._sessions:
            raise NotFound(f"No such exec instance: {exec_id}")
        return self._sessions[exec_id]

    def start(self, exec_id: str, told: Callable[[int | EngineError], None]) -> None:
        """told gets its pid once its program runs, or why it does not; at the latest after SETUP_TIMEOUT_S.

        Raises NotFound, Conflict when it was started before.
        """
        session = self.get(exec_id)
        managed = session.process
        if managed.phase is not Phase.CREATED:
            raise Conflict(f"exec {exec_id} has been started already")
        managed.phase = Phase.RUNNING

        def failed(error: EngineError) -> None:
            children.end()
            code = error.exit_code if isinstance(error, RuntimeFault) else 126
            managed.streams.finish()
            managed.finished(ExitStatus(code, clock.now(), False, str(error)))
            told(error)

        def running(pid: int) -> None:
            children.end()
            told(pid)

        children.begin()
        try:
            self._start(session, running, failed)
        except EngineError as error:
            failed(error)
        except Exception as error:
            failed(RuntimeFault(f"{type(error).__name__}: {error}"))

    def _start(
        self, session: Session, running: Callable[[int], None], failed: Callable[[EngineError], None]
    ) -> None:
        if session.wanted.terminal:
            child_ends, ends = ChildStreams(), Ends()
        else:
            child_ends, ends = pipes.make(stdin=session.open_stdin)
        try:
            launched = self._container.fork_exec(session.wanted, child_ends, init_pidfd=self._init.pidfd)
        except BaseException:
            pipes.close_ends(ends)
            raise
        finally:
            pipes.close_child_ends(child_ends)

        def entered(launched: Launched) -> None:
            self._follow(session.process, launched, ends)
            running(launched.pid)

        def not_entered(error: EngineError) -> None:
            pipes.close_ends(ends)
            failed(error)

        Entering(self._loop, launched, on_running=entered, on_failed=not_entered)

    def _follow(self, managed: ManagedProcess, launched: Launched, ends: Ends) -> None:
        exits: list[int] = []
        managed.on_exit = exits.append
        managed.on_done = lambda: managed.finished(ExitStatus(exits[0], clock.now(), False, ""))
        managed.launched(launched.pid, ends, launched.master)
        children.wait_for(launched.pid, lambda status: managed.exited(exit_code(status)))
