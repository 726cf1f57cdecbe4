"""--init in containers: what pid 1 is, and that zombies and signals are its business."""

import json

import pytest
from native_engine import NativeEngine

pytestmark = pytest.mark.root


def logs(engine: NativeEngine, container: str) -> str:
    body = engine.call("GET", f"/containers/{container}/logs", stdout="1", stderr="1").body
    found = b""
    while body:
        length = int.from_bytes(body[4:8], "big")
        found, body = found + body[8 : 8 + length], body[8 + length :]
    return found.decode()


def ended(engine: NativeEngine, *command: str, **host: object) -> tuple[int, str]:
    container = engine.run(*command, HostConfig={"Init": True, **host})
    return engine.wait(container), logs(engine, container)


def test_pid_1_is_the_init_and_the_command_its_child(engine: NativeEngine) -> None:
    code, text = ended(engine, "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline; echo; echo $$ $PPID; exit 3")
    assert (code, text) == (
        3,
        "/sbin/docker-init -- sh -c tr '\\0' ' ' < /proc/1/cmdline; echo; echo $$ $PPID; exit 3 \n2 1\n",
    )


def test_the_image_needs_no_folder_for_it_and_may_be_read_only(engine: NativeEngine) -> None:
    assert ended(engine, "true", ReadonlyRootfs=True) == (0, "")


def test_orphans_leave_no_zombies(engine: NativeEngine) -> None:
    script = "for i in 1 2 3 4 5; do (sh -c 'sleep 0.01 &'); done; sleep 0.5; ps -o stat | grep -c Z"
    assert ended(engine, "sh", "-c", script) == (1, "0\n")


def test_a_command_without_a_handler_ends_at_the_first_signal(engine: NativeEngine) -> None:
    container = engine.run("sleep", "600", HostConfig={"Init": True})
    assert engine.call("POST", f"/containers/{container}/stop", t="60").status == 204
    state = engine.inspect(container)["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (143, False)


def test_what_is_not_there_is_127_and_said(engine: NativeEngine) -> None:
    assert ended(engine, "nosuch") == (127, "docker-init: exec failed: executable file not found\n")


def test_it_works_for_a_user_with_the_hosts_pids_and_a_terminal(engine: NativeEngine) -> None:
    container = engine.run(
        "sh", "-c", "id -u; exit 4", User="1000", HostConfig={"Init": True, "PidMode": "host"}
    )
    assert (engine.wait(container), logs(engine, container)) == (4, "1000\n")
    terminal = engine.run(
        "sh", "-c", "ps -o pid,tpgid,args | grep [t]pgid; tty", Tty=True, HostConfig={"Init": True}
    )
    assert engine.wait(terminal) == 0


def test_inspect_shows_the_command_and_the_wish(engine: NativeEngine) -> None:
    container = engine.create("sleep", "1", HostConfig={"Init": True})
    document = engine.inspect(container)
    assert (document["Path"], document["Args"], document["HostConfig"]["Init"]) == ("sleep", ["1"], True)
    assert "Init" not in engine.inspect(engine.create("true"))["HostConfig"]


def test_the_engines_own_default_counts_where_nothing_was_said(fresh_engine: NativeEngine) -> None:
    fresh_engine.stop()
    fresh_engine.start("--init")
    script = ("sh", "-c", "exec sleep 600")
    started = fresh_engine.run(*script)
    without = fresh_engine.run(*script, HostConfig={"Init": False})
    seen = {}
    for container in (started, without):
        rows = fresh_engine.call("GET", f"/containers/{container}/top", ps_args="-o pid,args").json[
            "Processes"
        ]
        seen[container] = [row[1].split()[0] for row in rows]
    assert seen == {started: ["/sbin/docker-init", "sleep"], without: ["sleep"]}, json.dumps(seen)
