"""`machine start`: from any state to an engine that answers, stage by stage, each with its time.

    hypervisor   the VM's process runs
    kernel       the guest's user space has begun        (not after a resume)
    ready        sshd and the engine are up              (not after a resume)
    tunnel       the SSH connection stands
    api          the engine answers through it

The agent does the last four by itself; this follows what it writes. So an interrupted `start` loses
nothing: the agent goes on, and the next `start` joins in.
"""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from wherry.agent import causes, launch
from wherry.agent.events import Event, EventReader
from wherry.errors import MachineProblem, WherryError
from wherry.machine.guard import held
from wherry.machine.serial import tail
from wherry.machine.state import MachineState
from wherry.machine.store import Machine

POLL_SECONDS = 0.03
#: Limits on the whole start, in seconds. Emulated CPUs are ten times slower.
LIMIT_SECONDS = 90.0
EMULATED_LIMIT_SECONDS = 180.0
LOCK_SECONDS = 60.0
#: How far back a cause is looked for; less is shown.
CAUSE_LINES = 400


class Stage(StrEnum):
    HYPERVISOR = "hypervisor"
    KERNEL = "kernel"
    READY = "ready"
    TUNNEL = "tunnel"
    API = "api"


#: What ends a stage.
ENDS = {
    Event.BOOTED: Stage.KERNEL,
    Event.READY: Stage.READY,
    Event.CONNECTED: Stage.TUNNEL,
    Event.RUNNING: Stage.API,
}
BOOT_STAGES = (Stage.KERNEL, Stage.READY, Stage.TUNNEL, Stage.API)
RESUME_STAGES = (Stage.TUNNEL, Stage.API)


@dataclass(frozen=True, slots=True)
class StageTime:
    stage: Stage
    seconds: float


@dataclass(frozen=True, slots=True)
class Started:
    """already: the machine was running and answered before. resumed: its memory came from disk."""

    already: bool
    resumed: bool
    stages: tuple[StageTime, ...]

    @property
    def total(self) -> float:
        return sum(stage.seconds for stage in self.stages)


#: A stage begins (None), or has ended after so many seconds.
Report = Callable[[Stage, float | None], None]


def limit_for(machine: Machine) -> float:
    """Seconds a start may take when the user does not say. Not knowing counts as emulated."""
    return LIMIT_SECONDS if machine.provider.capabilities.emulated is False else EMULATED_LIMIT_SECONDS


def bring_up(machine: Machine, *, limit_seconds: float, report: Report) -> Started:
    """Raises MachineProblem with the stage, the serial log's tail and a likely cause.

    A VM that this call booted is off again then. One that ran before, or had been saved, is left on: it may
    hold work. KeyboardInterrupt leaves the machine as far as it got; the next start goes on from there.
    """
    deadline = time.monotonic() + limit_seconds
    busy = f'another command is changing machine "{machine.name}"; try again when it is done'
    with held(machine.files.lock, wait_seconds=LOCK_SECONDS, busy=busy):
        state = machine.provider.state()
        if state is MachineState.RUNNING and launch.is_alive(machine.files):
            follower = _Follower(machine, None, resumed=None, deadline=deadline, report=report)
            if follower.is_running_already():
                return Started(already=True, resumed=False, stages=())
        else:
            follower = _begin(machine, state, deadline, report)
    try:
        return follower.follow()
    except WherryError as exc:
        if state in (MachineState.STOPPED, MachineState.ABORTED):
            _turn_off(machine, exc)
        raise


def _begin(machine: Machine, state: MachineState, deadline: float, report: Report) -> "_Follower":
    """The first stage, and the agent for the others."""
    report(Stage.HYPERVISOR, None)
    began = time.monotonic()
    launch.stop(machine.files)  # one that has not noticed yet that its VM is gone
    # A VM that runs has booted before, so its ready line may be long gone from the log.
    resumed = state in (MachineState.SAVED, MachineState.PAUSED, MachineState.RUNNING)
    try:
        machine.provider.start()
    except MachineProblem as exc:
        exc.stage = exc.stage or Stage.HYPERVISOR
        raise
    process = launch.spawn(machine, resumed=resumed)
    seconds = time.monotonic() - began
    report(Stage.HYPERVISOR, seconds)
    follower = _Follower(machine, process, resumed=resumed, deadline=deadline, report=report)
    follower.times.append(StageTime(Stage.HYPERVISOR, seconds))
    return follower


class _Follower:
    """Reads the agent's events until the machine runs.

    process: the agent, when this command started it. resumed: None when it has to be learnt from the
    agent's first event, because another command started it.
    """

    def __init__(
        self,
        machine: Machine,
        process: "subprocess.Popen[bytes] | None",
        *,
        resumed: bool | None,
        deadline: float,
        report: Report,
    ) -> None:
        self._machine = machine
        self._process = process
        self._resumed = resumed
        self._deadline = deadline
        self._report = report
        self._events = EventReader(machine.files.events)
        self._reached: list[Stage] = []
        self._began = time.monotonic()
        self.times: list[StageTime] = []

    def is_running_already(self) -> bool:
        """Whether the agent's last phase, so far, is `running`."""
        running = False
        for event in self._events.poll():
            self._note(event, timed=False)
            if event["event"] == Event.RUNNING:
                running = True
            elif event["event"] in (Event.DEGRADED, Event.STOPPED):
                running = False
                self._reached = [stage for stage in self._reached if stage not in RESUME_STAGES]
        return running

    def follow(self) -> Started:
        self._announce()
        while Stage.API not in self._reached:
            for event in self._events.poll():
                if event["event"] == Event.STOPPED:
                    raise self._stopped(event)
                self._note(event, timed=True)
            if Stage.API in self._reached:
                break
            if time.monotonic() >= self._deadline:
                raise self._problem("it took too long")
            self._check_agent()
            time.sleep(POLL_SECONDS)
        return Started(already=False, resumed=bool(self._resumed), stages=tuple(self.times))

    @property
    def _stage(self) -> Stage:
        """The one that is under way."""
        stages = RESUME_STAGES if self._resumed else BOOT_STAGES
        return next((stage for stage in stages if stage not in self._reached), Stage.API)

    def _announce(self) -> None:
        self._report(self._stage, None)
        self._began = time.monotonic()

    def _note(self, event: dict[str, object], *, timed: bool) -> None:
        if event["event"] == Event.STARTING and self._resumed is None:
            self._resumed = bool(event.get("resumed"))
        stage = ENDS.get(Event(str(event["event"]))) if event["event"] in tuple(Event) else None
        if stage is None or stage in self._reached:
            return
        self._reached.append(stage)
        if timed:
            seconds = time.monotonic() - self._began
            self.times.append(StageTime(stage, seconds))
            self._report(stage, seconds)
            if stage is not Stage.API:
                self._announce()

    def _check_agent(self) -> None:
        """Raises MachineProblem when the agent's process is gone."""
        if self._process is None:
            dead = not launch.is_alive(self._machine.files)
        else:
            dead = self._process.poll() is not None
        if not dead:
            return
        reason = tail(self._machine.files.agent_log, 1) or "it does not say why"
        for event in self._events.poll():
            if event["event"] == Event.STOPPED:
                raise self._stopped(event)
        raise self._problem(f"the agent ended ({reason})")

    def _stopped(self, event: dict[str, object]) -> MachineProblem:
        if event.get("asked"):
            name = self._machine.name
            return MachineProblem(f'machine "{name}" was stopped while it started', stage=self._stage)
        return self._problem(f"the agent ended ({event.get('reason', 'it does not say why')})")

    def _problem(self, what: str) -> MachineProblem:
        machine, stage = self._machine, self._stage
        serial = tail(machine.files.serial_log)
        log = tail(machine.files.serial_log, CAUSE_LINES)
        cause = causes.likely(stage, log, emulated=machine.provider.capabilities.emulated is not False)
        return MachineProblem(
            f'machine "{machine.name}" did not get through the stage "{stage}": {what}; {cause}',
            stage=stage,
            log_tail=serial,
        )


def _turn_off(machine: Machine, cause: WherryError) -> None:
    """Nothing half-made stays: no agent, and no VM that nobody can reach."""
    busy = f'another command is changing machine "{machine.name}"'
    try:
        with held(machine.files.lock, wait_seconds=LOCK_SECONDS, busy=busy):
            launch.stop(machine.files)
            machine.provider.stop(grace_seconds=0)
    except WherryError as second:
        cause.add_note(f"and the VM could not be turned off: {second}")
