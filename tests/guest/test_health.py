"""Health checks in a running engine: through exec, into inspect, ps, events; over a restart of the engine."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from native_engine import NativeEngine, busybox_tar

pytestmark = pytest.mark.root

MS = 1_000_000
QUICK = {"Interval": 50 * MS, "Timeout": 2000 * MS, "Retries": 2}
DEADLINE_SECONDS = 30.0


def until(engine: NativeEngine, container: str, holds: Callable[[Any], bool]) -> Any:
    """State once it is as wanted."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        state = engine.inspect(container)["State"]
        if holds(state):
            return state
        time.sleep(0.02)
    raise AssertionError(f"it stays {json.dumps(state)}\n{engine.log_tail()}")


def status(wanted: str) -> Callable[[Any], bool]:
    return lambda state: state["Health"]["Status"] == wanted


def checked(engine: NativeEngine, shell: str, **more: Any) -> str:
    return engine.run("sleep", "600", Healthcheck={**QUICK, "Test": ["CMD-SHELL", shell], **more})


def names(engine: NativeEngine, **filters: list[str]) -> list[str]:
    listed = engine.call("GET", "/containers/json", all="1", filters=json.dumps(filters)).json
    return [each["Id"] for each in listed]


def test_a_container_becomes_healthy_then_unhealthy_and_everybody_can_see_it(engine: NativeEngine) -> None:
    container = checked(engine, "echo seen; echo late >&2; test ! -e /bad")
    state = until(engine, container, status("healthy"))
    assert sorted(state["Health"]["Log"][0]["Output"].split()) == ["late", "seen"]
    assert state["Health"]["FailingStreak"] == 0
    assert names(engine, health=["healthy"]) == [container]
    assert "(healthy)" in engine.call("GET", "/containers/json").json[0]["Status"]
    made = engine.call("POST", f"/containers/{container}/exec", {"Cmd": ["touch", "/bad"]}).json["Id"]
    assert engine.call("POST", f"/exec/{made}/start", {"Detach": True}).status == 200
    state = until(engine, container, status("unhealthy"))
    assert state["Health"]["FailingStreak"] >= 2
    until(engine, container, lambda state: len(state["Health"]["Log"]) == 5)
    assert names(engine, health=["unhealthy"]) == [container]
    now = str(time.time())
    query = {"event": ["health_status"], "container": [container]}
    told = engine.call("GET", "/events", since="1", until=now, filters=json.dumps(query)).text
    actions = [json.loads(line)["Action"] for line in told.splitlines()]
    assert actions == ["health_status: healthy", "health_status: unhealthy"]


def test_it_is_starting_until_the_first_result(engine: NativeEngine) -> None:
    container = checked(engine, "true", Interval=60_000 * MS)
    assert engine.inspect(container)["State"]["Health"] == {
        "Status": "starting",
        "FailingStreak": 0,
        "Log": [],
    }
    assert "(health: starting)" in engine.call("GET", "/containers/json").json[0]["Status"]


def test_failures_during_the_start_period_do_not_count_and_come_at_the_start_interval(
    engine: NativeEngine,
) -> None:
    container = checked(
        engine, "false", Interval=600_000 * MS, StartPeriod=600_000 * MS, StartInterval=50 * MS, Retries=1
    )
    state = until(engine, container, lambda state: len(state["Health"]["Log"]) == 5)
    assert (state["Health"]["Status"], state["Health"]["FailingStreak"]) == ("starting", 0)


def test_a_probe_that_takes_too_long_is_ended_and_counts_as_a_failure(engine: NativeEngine) -> None:
    container = checked(engine, "echo begun; exec sleep 300", Timeout=200 * MS, Retries=1)
    state = until(engine, container, status("unhealthy"))
    entry = state["Health"]["Log"][0]
    assert entry["ExitCode"] == -1
    assert entry["Output"] == "Health check exceeded timeout (200ms): begun\n"
    assert engine.call("POST", f"/containers/{container}/stop", t="0").status == 204
    # Its processes were ended, not left behind one by one.
    again = checked(engine, "exec sleep 300", Timeout=50 * MS, Retries=1000)
    until(engine, again, lambda state: state["Health"]["FailingStreak"] >= 4)
    rows = engine.call("GET", f"/containers/{again}/top").json["Processes"]
    assert sum("sleep 300" in " ".join(row) for row in rows) <= 2


def test_a_program_that_is_not_there_and_too_much_output_are_told(engine: NativeEngine) -> None:
    missing = engine.run("sleep", "600", Healthcheck={**QUICK, "Test": ["CMD", "nosuch"]})
    state = until(engine, missing, status("unhealthy"))
    assert "nosuch" in state["Health"]["Log"][-1]["Output"]
    loud = checked(engine, "yes | head -c 20000")
    state = until(engine, loud, status("healthy"))
    assert len(state["Health"]["Log"][-1]["Output"]) == 4096 + len("...")


def test_a_stopped_container_is_not_healthy_and_starts_anew(engine: NativeEngine) -> None:
    container = checked(engine, "true")
    until(engine, container, status("healthy"))
    assert engine.call("POST", f"/containers/{container}/stop", t="0").status == 204
    assert engine.inspect(container)["State"]["Health"]["Status"] == "unhealthy"
    assert engine.call("POST", f"/containers/{container}/start").status == 204
    until(engine, container, status("healthy"))


def test_no_probe_runs_in_a_paused_container(engine: NativeEngine) -> None:
    container = checked(engine, "true")
    until(engine, container, status("healthy"))
    assert engine.call("POST", f"/containers/{container}/pause").status == 204
    time.sleep(0.3)
    before = engine.inspect(container)["State"]["Health"]
    time.sleep(0.5)
    assert engine.inspect(container)["State"]["Health"] == before
    assert engine.call("POST", f"/containers/{container}/unpause").status == 204
    until(engine, container, lambda state: state["Health"]["Log"][-1] != before["Log"][-1])


def test_the_images_check_counts_and_none_takes_it_away(engine: NativeEngine) -> None:
    built = engine.call(
        "POST", "/images/create", busybox_tar(), headers={"Content-Type": "application/x-tar"}, fromSrc="-",
        repo="checked", tag="1", changes=["HEALTHCHECK --interval=1s --retries=7 CMD test -e /bin/sh"],
    )  # fmt: skip
    assert built.status == 200, built.text
    container = engine.run("sleep", "60", image="checked:1", Healthcheck={"Interval": 50 * MS})
    until(engine, container, status("healthy"))
    assert engine.inspect(container)["Config"]["Healthcheck"] == {
        "Test": ["CMD-SHELL", "test -e /bin/sh"], "Interval": 50 * MS, "Retries": 7,
    }  # fmt: skip
    without = engine.run("sleep", "60", image="checked:1", Healthcheck={"Test": ["NONE"]})
    assert "Health" not in engine.inspect(without)["State"]
    assert names(engine, health=["none"], status=["running"]) == [without]


def test_bad_checks_and_filters_are_refused(engine: NativeEngine) -> None:
    body = {"Image": "busybox:test", "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1}}
    answer = engine.call("POST", "/containers/create", body)
    assert (answer.status, answer.message) == (400, "Interval in Healthcheck cannot be less than 1ms")
    answer = engine.call("GET", "/containers/json", filters=json.dumps({"health": ["well"]}))
    assert answer.status == 400
    old = {"Image": "busybox:test", "Healthcheck": {"Test": ["CMD", "x"], "StartInterval": 50 * MS}}
    made = engine.call("POST", "/v1.43/containers/create", old).json["Id"]
    assert "StartInterval" not in engine.inspect(made)["Config"]["Healthcheck"]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_health_goes_on_when_the_engine_is_restarted(fresh_engine: NativeEngine, end: str) -> None:
    container = checked(fresh_engine, "test -e /etc/passwd")
    before = until(fresh_engine, container, lambda state: len(state["Health"]["Log"]) == 5)
    getattr(fresh_engine, end)()
    fresh_engine.start()
    state = fresh_engine.inspect(container)["State"]
    assert state["Health"]["Status"] == "healthy"
    until(
        fresh_engine,
        container,
        lambda state: state["Health"]["Log"][0]["Start"] > before["Health"]["Log"][-1]["Start"],
    )
