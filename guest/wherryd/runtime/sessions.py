"""Exec sessions of one container, as the monitor keeps them: created, perhaps attached, then started."""

from dataclasses import dataclass

from wherryd import clock
from wherryd.errors import Conflict, NotFound, RuntimeFault
from wherryd.runtime import launch, pipes
from wherryd.runtime.child import ChildStreams
from wherryd.runtime.container import Container
from wherryd.runtime.loop import Loop
from wherryd.runtime.process import ManagedProcess, Phase
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
        self.by_pid: dict[int, ManagedProcess] = {}

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

    def start(self, exec_id: str) -> int:
        """Its pid. Raises Conflict when it was started, RuntimeFault when it could not be."""
        session = self.get(exec_id)
        managed = session.process
        if managed.phase is not Phase.CREATED:
            raise Conflict(f"exec {exec_id} has been started already")
        managed.phase = Phase.RUNNING
        try:
            return self._start(session)
        except BaseException as error:
            code = error.exit_code if isinstance(error, RuntimeFault) else 126
            managed.streams.finish()
            managed.finished(ExitStatus(code, clock.now(), False, str(error)))
            raise

    def _start(self, session: Session) -> int:
        managed = session.process
        if session.wanted.terminal:
            child_ends, ends = ChildStreams(), Ends()
        else:
            child_ends, ends = pipes.make(stdin=session.open_stdin)
        try:
            launched = self._container.exec(
                session.wanted,
                child_ends,
                init_pidfd=self._init.pidfd,
                born_inside=self._container.children_are_born_inside,
            )
        except BaseException:
            pipes.close_ends(ends)
            raise
        finally:
            pipes.close_child_ends(child_ends)
        exits: list[int] = []
        managed.on_exit = exits.append
        managed.on_done = lambda: managed.finished(ExitStatus(exits[0], clock.now(), False, ""))
        try:
            launch.pass_gate(launched)
        except BaseException:
            pipes.close_ends(ends)
            launch.abandon(launched)
            raise
        managed.launched(launched.pid, ends, launched.master)
        self.by_pid[launched.pid] = managed
        return launched.pid
