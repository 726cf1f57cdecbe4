"""`machine start` and `stop` around a scripted agent: stages, limits, causes, and what is left behind."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from machine_standins import FakeProvider, wait_for
from test_machine_record import make

from wherry.agent import bringup, causes, launch, shutdown
from wherry.agent.bringup import Stage
from wherry.agent.events import EventReader, rotate
from wherry.errors import MachineProblem
from wherry.machine.state import MachineState
from wherry.machine.store import Machine
from wherry.paths import MachinePaths

#: Holds the agent lock, writes the events it is given, and waits; ends at once with "exit".
SCRIPT = """
import json, sys, time
from pathlib import Path
from wherry.machine.guard import held
folder = Path(sys.argv[1])
with held(folder / "agent.lock", wait_seconds=5, busy="busy"):
    for step in json.loads(sys.argv[2]):
        if step == "exit":
            sys.exit(1)
        with (folder / "events.jsonl").open("a") as log:
            log.write(json.dumps({"time": "", "pid": 1, **step}) + "\\n")
    time.sleep(60)
"""


@dataclass
class Scene:
    machine: Machine
    provider: FakeProvider
    events: list[Any] = field(default_factory=list)
    resumed: list[bool] = field(default_factory=list)
    reported: list[tuple[Stage, bool]] = field(default_factory=list)
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def spawn(self, machine: Machine, *, resumed: bool) -> "subprocess.Popen[bytes]":
        self.resumed.append(resumed)
        rotate(machine.files.events)
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(machine.files.folder), json.dumps(self.events)]
        )
        self.processes.append(process)
        return process

    def stop(self, _files: MachinePaths) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def start(self, limit_seconds: float = 20) -> bringup.Started:
        def report(stage: Stage, seconds: float | None) -> None:
            self.reported.append((stage, seconds is not None))

        return bringup.bring_up(self.machine, limit_seconds=limit_seconds, report=report)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    files = MachinePaths(folder=tmp_path / "default", socket=tmp_path / "s" / "default.sock")
    files.folder.mkdir()
    provider = FakeProvider()
    found = Scene(Machine(make(), files, provider), provider)
    monkeypatch.setattr(launch, "spawn", found.spawn)
    monkeypatch.setattr(launch, "stop", found.stop)
    yield found
    found.stop(files)


def event(name: str, **fields: Any) -> dict[str, Any]:
    return {"event": name, **fields}


BOOT = [
    event("starting", resumed=False),
    event("booted"),
    event("ready"),
    event("connected"),
    event("running"),
]


def test_a_cold_start_reports_every_stage_with_its_seconds(scene: Scene) -> None:
    scene.events = BOOT
    started = scene.start()
    assert [stage.stage for stage in started.stages] == list(Stage)
    assert not started.already
    assert not started.resumed
    assert scene.resumed == [False]
    assert scene.reported == [(stage, ended) for stage in Stage for ended in (False, True)]


def test_a_saved_machine_resumes_without_boot_stages(scene: Scene) -> None:
    scene.provider.now = MachineState.SAVED
    scene.events = [event("starting", resumed=True), event("connected"), event("running")]
    started = scene.start()
    assert started.resumed
    assert scene.resumed == [True]
    assert [stage.stage for stage in started.stages] == [Stage.HYPERVISOR, Stage.TUNNEL, Stage.API]


def test_starting_a_machine_that_runs_is_a_success_and_touches_nothing(scene: Scene) -> None:
    scene.events = BOOT
    scene.start()
    calls = list(scene.provider.calls)
    assert scene.start().already
    assert scene.provider.calls == calls
    assert len(scene.processes) == 1


def test_a_running_vm_without_an_agent_gets_one(scene: Scene) -> None:
    scene.provider.now = MachineState.RUNNING
    scene.events = [event("starting", resumed=True), event("connected"), event("running")]
    assert not scene.start().already
    assert scene.resumed == [True], "its ready line may be long gone"


def test_a_second_start_joins_one_that_was_interrupted(scene: Scene) -> None:
    scene.events = [event("starting", resumed=False), event("booted")]
    with pytest.raises(MachineProblem):
        scene.provider.now = MachineState.RUNNING  # so that the failed start leaves it on
        scene.start(limit_seconds=1)
    assert scene.processes[0].poll() is None
    with scene.machine.files.events.open("a") as log:
        log.writelines(json.dumps(step) + "\n" for step in BOOT[2:])
    started = scene.start()
    assert not started.resumed
    assert len(scene.processes) == 1


def test_a_stage_that_takes_too_long_is_named_with_log_and_cause(scene: Scene) -> None:
    scene.events = BOOT[:2]
    scene.machine.files.serial_log.write_text("one\nsystemd: Failed to start ssh.service - OpenSSH server.\n")
    with pytest.raises(MachineProblem) as caught:
        scene.start(limit_seconds=1.5)
    assert caught.value.stage == Stage.READY
    assert "OpenSSH server" in caught.value.log_tail
    assert '"OpenSSH server" failed to start' in str(caught.value)


def test_a_failed_cold_start_leaves_neither_vm_nor_agent(scene: Scene) -> None:
    scene.events = BOOT[:2]
    with pytest.raises(MachineProblem):
        scene.start(limit_seconds=1)
    assert scene.provider.now is MachineState.STOPPED
    assert scene.processes[0].poll() is not None


def test_a_running_machine_that_does_not_answer_is_not_turned_off(scene: Scene) -> None:
    scene.provider.now = MachineState.RUNNING
    scene.events = [event("starting", resumed=True)]
    with pytest.raises(MachineProblem):
        scene.start(limit_seconds=1)
    assert scene.provider.now is MachineState.RUNNING, "it may hold work"


def test_an_agent_that_dies_is_noticed_at_once(scene: Scene) -> None:
    scene.machine.files.agent_log.write_text("Traceback\nValueError: boom\n")
    scene.events = [event("starting", resumed=False), "exit"]
    with pytest.raises(MachineProblem, match="boom"):
        scene.start(limit_seconds=30)


def test_a_vm_that_dies_while_booting_is_said(scene: Scene) -> None:
    scene.events = [*BOOT[:2], event("stopped", reason="the VM is aborted", asked=False), "exit"]
    with pytest.raises(MachineProblem, match="the VM is aborted"):
        scene.start(limit_seconds=30)


def test_a_stop_during_a_start_is_not_called_a_fault(scene: Scene) -> None:
    scene.events = [*BOOT[:2], event("stopped", reason="asked to", asked=True)]
    with pytest.raises(MachineProblem, match="was stopped while it started"):
        scene.start(limit_seconds=30)


def test_a_hypervisor_that_refuses_is_the_first_stage(scene: Scene) -> None:
    scene.provider.fail["start"] = MachineProblem("VT-x is not available")
    with pytest.raises(MachineProblem, match="VT-x") as caught:
        scene.start()
    assert caught.value.stage == Stage.HYPERVISOR
    assert scene.processes == []


def test_stop_ends_the_agent_before_the_vm(scene: Scene) -> None:
    scene.events = BOOT
    scene.start()
    shutdown.shut_down(scene.machine, save=False, grace_seconds=5)
    assert scene.processes[0].poll() is not None
    assert scene.provider.calls[-1] == "stop"
    shutdown.shut_down(scene.machine, save=True, grace_seconds=5)
    assert scene.provider.now is MachineState.STOPPED, "saving what is off leaves it off"


def test_a_real_agent_process_that_cannot_start_says_why(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the real launch
    monkeypatch.setenv("WHERRY_HOME", str(tmp_path / "home"))
    process = launch.spawn(scene.machine, resumed=False)
    assert process.wait(30) == 1
    log = scene.machine.files.agent_log
    wait_for(lambda: 'there is no machine "default"' in log.read_text())


def test_events_are_read_once_and_from_the_beginning(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    reader = EventReader(file)
    assert list(reader.poll()) == []
    file.write_bytes(b'{"event":"starting"}\n{"event":"boo')
    assert [found["event"] for found in reader.poll()] == ["starting"]
    with file.open("ab") as log:
        log.write(b'ted"}\n')
    assert [found["event"] for found in reader.poll()] == ["booted"]


@pytest.mark.parametrize(
    ("stage", "serial", "words"),
    [
        ("kernel", "", "said nothing at all"),
        ("ready", "EXT4-fs: No space left on device", "disk is full"),
        ("ready", "Kernel panic - not syncing: VFS: Cannot open root device", "system disk"),
        ("ready", "Failed to start wherryd.service - Wherry engine.", '"Wherry engine" failed'),
        ("ready", "all is well", "did not come up"),
        ("tunnel", "all is well", "firewall"),
        ("api", "all is well", "journalctl -u wherryd"),
    ],
)
def test_each_failure_has_a_likely_cause(stage: str, serial: str, words: str) -> None:
    assert words in causes.likely(stage, serial, emulated=True)
