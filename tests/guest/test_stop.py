"""How containers end: `stop` with its signal and its time, signals, exit codes, and want of memory."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from native_engine import NativeEngine
from wire_rig import actions, events

pytestmark = pytest.mark.root

ENDS_AT_ONCE = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done"


def test_stop_without_patience_is_no_error_of_one_that_has_just_ended(engine: NativeEngine) -> None:
    containers = [engine.run("sh", "-c", ENDS_AT_ONCE) for _ in range(12)]
    for container in containers:
        while b"ready" not in engine.call("GET", f"/containers/{container}/logs", stdout="1").body:
            pass

    def stop(container: str) -> tuple[int, str]:
        answer = engine.call("POST", f"/containers/{container}/stop", t="0")
        return answer.status, answer.text

    with ThreadPoolExecutor(len(containers)) as threads:
        answers = list(threads.map(stop, containers))
    assert answers == [(204, "")] * len(containers)
    assert {engine.inspect(each)["State"]["ExitCode"] for each in containers} <= {3, 137}


def test_stop_and_restart_send_the_signal_of_the_request(engine: NativeEngine) -> None:
    script = "trap 'exit 5' INT; trap '' TERM; echo ready; while :; do sleep 0.02; done"
    for verb in ("stop", "restart"):
        begun = time.time()
        container = engine.run("sh", "-c", script)
        while b"ready" not in engine.call("GET", f"/containers/{container}/logs", stdout="1").body:
            time.sleep(0.02)
        answer = engine.call("POST", f"/containers/{container}/{verb}", signal="INT", t="30")
        assert answer.status == 204, answer.text
        (died,) = events(engine, begun, container=[container], event=["die"])
        assert died["Actor"]["Attributes"]["exitCode"] == "5"
        killed = events(engine, begun, container=[container], event=["kill"])
        assert [each["Actor"]["Attributes"]["signal"] for each in killed] == ["2"]
        assert engine.inspect(container)["State"]["Running"] is (verb == "restart")


def test_stop_kills_when_its_time_is_up(engine: NativeEngine) -> None:
    container = engine.run("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.02; done")
    while b"ready" not in engine.call("GET", f"/containers/{container}/logs", stdout="1").body:
        time.sleep(0.02)
    begun = time.time()
    assert engine.call("POST", f"/containers/{container}/stop", t="1").status == 204
    assert time.time() - begun >= 1
    killed = events(engine, begun, container=[container], event=["kill"])
    assert [each["Actor"]["Attributes"]["signal"] for each in killed] == ["15", "9"]
    assert engine.inspect(container)["State"]["ExitCode"] == 137


@pytest.mark.parametrize(("signal", "number"), [("KILL", 9), ("TERM", 15), ("USR1", 10), ("12", 12)])
def test_an_end_by_a_signal_is_128_and_its_number(engine: NativeEngine, signal: str, number: int) -> None:
    # As the first process of its namespace it would not end by what it does not handle.
    container = engine.run("sleep", "60", HostConfig={"Init": True})
    assert engine.call("POST", f"/containers/{container}/kill", signal=signal).status == 204
    assert engine.wait(container) == 128 + number


@pytest.mark.parametrize(("program", "code"), [("nowhere", 127), ("/etc/passwd", 126), ("/etc", 126)])
def test_a_program_that_cannot_be_run_is_126_or_127(engine: NativeEngine, program: str, code: int) -> None:
    container = engine.create(program)
    assert engine.call("POST", f"/containers/{container}/start").status == 400
    state = engine.inspect(container)["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", code)
    assert program.rpartition("/")[2] in state["Error"]


def test_the_end_for_want_of_memory_is_told_by_inspect_and_an_event(engine: NativeEngine) -> None:
    begun = time.time()
    limits = {"Memory": 24 << 20, "MemorySwap": 24 << 20}
    container = engine.run("sh", "-c", "tail -c 200000000 /dev/zero", HostConfig=limits)
    assert engine.wait(container) == 137
    state = engine.inspect(container)["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)
    assert "oom" in actions(events(engine, begun, container=[container]))
