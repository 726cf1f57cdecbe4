"""exec: further processes in a running container. Kept in memory, as dockerd does; a restart forgets them."""

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wherryd.containers import kinds, linking, plan
from wherryd.containers.deps import Deps
from wherryd.containers.request import merge_env
from wherryd.containers.store import Container
from wherryd.errors import Conflict, EngineError, InvalidParameter, NotFound, RuntimeFault
from wherryd.runtime.client import ExecSession, Stream
from wherryd.spec import build

log = logging.getLogger(__name__)

#: Execs remembered per container; the oldest finished ones are forgotten first.
MAX_EXECS = 512

_SHAPES: Mapping[str, tuple[kinds.Kind, Any]] = {
    "AttachStdin": (kinds.flag, False),
    "AttachStdout": (kinds.flag, False),
    "AttachStderr": (kinds.flag, False),
    "DetachKeys": (kinds.string, ""),
    "Tty": (kinds.flag, False),
    "Env": (kinds.strings, []),
    "Cmd": (kinds.command, []),
    "Privileged": (kinds.flag, False),
    "User": (kinds.string, ""),
    "WorkingDir": (kinds.string, ""),
    "ConsoleSize": (kinds.size_pair, None),
}


@dataclass(slots=True)
class Exec:
    """One exec: what was asked for, and how far it is."""

    id: str
    container: Container
    wish: Mapping[str, Any]
    running: bool = False
    started: bool = False
    exit_code: int | None = None
    pid: int = 0
    session: ExecSession | None = None
    size: tuple[int, int] | None = None

    @property
    def command(self) -> str:
        return " ".join(self.wish["Cmd"])


class ExecService:
    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._execs: dict[str, Exec] = {}

    def create(self, container: Container, body: Mapping[str, Any]) -> Exec:
        """Raises Conflict when the container does not run, InvalidParameter for the body."""
        check_running(container)
        wish = {
            key: default if body.get(key) is None else kind(body[key], key)
            for key, (kind, default) in _SHAPES.items()
        }
        if not wish["Cmd"]:
            raise InvalidParameter("No exec command specified")
        if wish["WorkingDir"] and not wish["WorkingDir"].startswith("/"):
            raise InvalidParameter(
                f"the working directory '{wish['WorkingDir']}' is invalid, it needs to be absolute"
            )
        self._make_room(container)
        size = (wish["ConsoleSize"][0], wish["ConsoleSize"][1]) if wish["ConsoleSize"] else None
        execution = Exec(id=secrets.token_hex(32), container=container, wish=wish, size=size)
        self._execs[execution.id] = execution
        self._publish(execution, f"exec_create: {execution.command}")
        return execution

    def _make_room(self, container: Container) -> None:
        own = [each for each in self._execs.values() if each.container is container]
        if len(own) < MAX_EXECS:
            return
        for each in own:
            if not each.running:
                del self._execs[each.id]
                return
        raise Conflict(f"container {container.record.name} runs {MAX_EXECS} execs already")

    def get(self, exec_id: str) -> Exec:
        found = self._execs.get(exec_id)
        if found is None:
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    def ids(self, container: Container) -> list[str]:
        """Of the execs that run."""
        return [each.id for each in self._execs.values() if each.container is container and each.running]

    def forget(self, container: Container) -> None:
        for execution in [each for each in self._execs.values() if each.container is container]:
            del self._execs[execution.id]

    def drop(self, execution: Exec) -> None:
        """For one that nobody will ask about any more. Done twice is fine."""
        self._execs.pop(execution.id, None)

    async def signal(self, execution: Exec, signum: int) -> None:
        """Raises Conflict when it does not run."""
        await _session(execution).kill(signum)

    def check_startable(self, execution: Exec) -> None:
        """Raises Conflict for one that runs or has run."""
        if execution.running:
            raise Conflict(f"Error: Exec command {execution.id} is already running")
        if execution.started:
            raise Conflict(f"Error: Exec command {execution.id} has already run")

    async def prepare(self, execution: Exec, size: tuple[int, int] | None) -> None:
        """Everything before its gate. Raises Conflict when it cannot start, RuntimeFault from the runtime."""
        self.check_startable(execution)
        check_running(execution.container)
        monitor = execution.container.monitor
        assert monitor is not None, "check_running says so"  # noqa: S101
        execution.started = True
        execution.size = size or execution.size
        try:
            execution.session = await monitor.exec_create(
                execution.id,
                process=self._process(execution),
                open_stdin=execution.wish["AttachStdin"],
                console_size=execution.size if execution.wish["Tty"] else None,
            )
        except EngineError as exc:
            execution.exit_code = _exit_code(exc)
            raise

    def _process(self, execution: Exec) -> dict[str, Any]:
        record, wish = execution.container.record, execution.wish
        user = plan.living_user(record, wish["User"])
        host = {**record.host_config, "Privileged": wish["Privileged"] or record.host_config["Privileged"]}
        environment = merge_env(linking.environment(self._deps, record), wish["Env"])
        return build.process(
            arguments=wish["Cmd"],
            environment=build.base_environment(environment, plan.hostname(record), wish["Tty"], user.home),
            working_directory=wish["WorkingDir"] or record.config["WorkingDir"],
            user=user,
            terminal=wish["Tty"],
            capability_names=build.granted(host, self._deps.capabilities),
            host_config=host,
            console_size=execution.size,
        )

    async def attach(self, execution: Exec) -> Stream:
        wish = execution.wish
        return await _session(execution).attach(
            stdin=wish["AttachStdin"], stdout=wish["AttachStdout"], stderr=wish["AttachStderr"]
        )

    async def start(self, execution: Exec) -> None:
        """Opens the gate. Raises RuntimeFault, with the exit code entered."""
        try:
            execution.pid = await _session(execution).start()
        except EngineError as exc:
            execution.exit_code = _exit_code(exc)
            raise
        execution.running = True
        self._publish(execution, f"exec_start: {execution.command}")

    async def wait(self, execution: Exec) -> int:
        """Its exit code, entered before anybody is told."""
        try:
            status = await _session(execution).wait()
            execution.exit_code = status.exit_code
        except EngineError as exc:
            log.warning("exec %s: its session is lost: %s", execution.id, exc)
            execution.exit_code = 137
        execution.running = False
        self._publish(execution, "exec_die", {"exitCode": str(execution.exit_code)})
        return execution.exit_code

    async def resize(self, execution: Exec, height: int, width: int) -> None:
        execution.size = (height, width)
        if execution.wish["Tty"] and execution.session is not None and execution.running:
            await execution.session.resize(height, width)

    def inspect(self, execution: Exec) -> dict[str, Any]:
        wish: Mapping[str, Any] = execution.wish
        command: Sequence[str] = wish["Cmd"]
        return {
            "ID": execution.id,
            "Running": execution.running,
            "ExitCode": execution.exit_code,
            "ProcessConfig": {
                "tty": wish["Tty"],
                "entrypoint": command[0],
                "arguments": list(command[1:]),
                "privileged": wish["Privileged"],
                "user": wish["User"],
            },
            "OpenStdin": wish["AttachStdin"],
            "OpenStderr": wish["AttachStderr"],
            "OpenStdout": wish["AttachStdout"],
            "CanRemove": execution.started and not execution.running,
            "ContainerID": execution.container.id,
            "DetachKeys": wish["DetachKeys"] or None,
            "Pid": execution.pid,
        }

    def _publish(self, execution: Exec, action: str, attributes: Mapping[str, str] | None = None) -> None:
        self._deps.publish(execution.container.record, action, {"execID": execution.id, **(attributes or {})})


def check_running(container: Container) -> None:
    record = container.record
    if record.status == "paused":
        raise Conflict(f"container {record.name} is paused, unpause the container before exec")
    if record.status == "restarting":
        raise Conflict(f"container {record.name} is restarting, wait until the container is running")
    if not record.alive or container.monitor is None:
        raise Conflict(f"container {record.id} is not running")


def _session(execution: Exec) -> ExecSession:
    if execution.session is None:
        raise Conflict(f"exec {execution.id} was not prepared")
    return execution.session


def _exit_code(error: EngineError) -> int:
    return error.exit_code if isinstance(error, RuntimeFault) else 126
