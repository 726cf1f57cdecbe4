"""Execs and environments in the ways that clients depend on."""

from typing import Any

import pytest
from native_engine import NativeEngine

from wherrywire import rawstream

pytestmark = pytest.mark.root


def output(engine: NativeEngine, *command: str, **fields: Any) -> str:
    """What a container printed on stdout and stderr until its end."""
    container = engine.run(*command, **fields)
    engine.wait(container)
    answer = engine.call("GET", f"/containers/{container}/logs", stdout="1", stderr="1")
    return b"".join(frame.payload for frame in rawstream.Decoder().feed(answer.body)).decode()


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_the_start_of_an_exec_decides_on_frames_and_its_create_on_the_terminal(
    engine: NativeEngine, terminal: bool, raw: bool
) -> None:
    container = engine.run("sleep", "60")
    made = engine.call(
        "POST",
        f"/containers/{container}/exec",
        {"Cmd": ["sh", "-c", "test -t 1; printf $?"], "AttachStdout": True, "Tty": terminal},
    )
    answer = engine.call("POST", f"/exec/{made.json['Id']}/start", {"Tty": raw})
    said = b"0" if terminal else b"1"
    assert answer.body == (said if raw else rawstream.encode(rawstream.StreamId.STDOUT, said))


def test_an_exec_that_cannot_start_says_why_in_the_stream_and_its_status(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    made = engine.call("POST", f"/containers/{container}/exec", {"Cmd": ["nowhere"], "AttachStdout": True})
    answer = engine.call("POST", f"/exec/{made.json['Id']}/start", {})
    assert answer.status == 200
    assert b"executable file not found in $PATH" in rawstream.Decoder().feed(answer.body)[0].payload
    assert engine.call("GET", f"/exec/{made.json['Id']}/json").json["ExitCode"] == 127


def test_fields_of_any_case_are_carried_out(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    made = engine.call("POST", f"/containers/{container}/exec", {"cmd": ["true"], "detachKeys": "ctrl-a"})
    assert engine.call("GET", f"/exec/{made.json['Id']}/json").json["DetachKeys"] == "ctrl-a"


def test_a_variable_without_a_value_is_shown_and_taken_away(engine: NativeEngine) -> None:
    fields = {"Env": ["TERM", "PATH", "KEPT=1", "EMPTY="]}
    container = engine.create("/bin/env", **fields)
    assert set(fields["Env"]) <= set(engine.inspect(container)["Config"]["Env"])
    found = output(engine, "/bin/env", **fields).splitlines()
    assert {"KEPT=1", "EMPTY="} <= set(found)
    assert not [line for line in found if line.startswith(("TERM", "PATH"))]
