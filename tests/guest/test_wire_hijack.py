"""Wire details, 2: connections taken over by attach and exec: their heads, frames, ends and order."""

import json
import socket
import time
from typing import Any

import pytest
from native_engine import NativeEngine
from wire_rig import (
    UPGRADE,
    actions,
    chunks,
    connected,
    events,
    fields,
    frames,
    header,
    payload,
    rest,
)

pytestmark = pytest.mark.root


def attach(container: str, query: str = "stream=1&stdout=1&stderr=1", *, version: str = "1.51") -> str:
    return f"POST /v{version}/containers/{container}/attach?{query}\n{UPGRADE}"


def exec_of(engine: NativeEngine, container: str, *command: str, **more: Any) -> str:
    body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **more}
    made = engine.call("POST", f"/containers/{container}/exec", body)
    assert made.status == 201, made.text
    return str(made.json["Id"])


def exec_start(exec_id: str, body: bytes = b'{"Detach":false,"Tty":false}') -> str:
    return (
        f"POST /exec/{exec_id}/start\n{UPGRADE}\nContent-Type: application/json\nContent-Length: {len(body)}"
    )


def start(engine: NativeEngine, container: str) -> None:
    assert engine.call("POST", f"/containers/{container}/start").status == 204


# heads


def test_with_an_upgrade_the_answer_is_101_and_repeats_it(engine: NativeEngine) -> None:
    container = engine.create("echo", "hi")
    with connected(engine, attach(container)) as connection:
        head = header(connection)
        assert head.startswith("HTTP/1.1 101 UPGRADED\r\n")
        found = fields(head)
        assert (found["Connection"], found["Upgrade"]) == ("Upgrade", "tcp")
        assert found["Content-Type"] == "application/vnd.docker.multiplexed-stream"
        start(engine, container)
        assert frames(rest(connection)) == [(1, b"hi\n")]


def test_without_an_upgrade_it_is_200_and_raw_bytes_without_chunks(engine: NativeEngine) -> None:
    container = engine.create("echo", "plain")
    request = f"POST /containers/{container}/attach?stream=1&stdout=1\nContent-Length: 0"
    with connected(engine, request) as connection:
        head = header(connection)
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert not {"Transfer-Encoding", "Content-Length", "Upgrade"} & set(fields(head))
        start(engine, container)
        assert frames(rest(connection)) == [(1, b"plain\n")]


@pytest.mark.parametrize(
    ("version", "tty", "media"),
    [("1.42", False, "multiplexed-stream"), ("1.41", False, "raw-stream"), ("1.51", True, "raw-stream")],
)
def test_the_type_says_multiplexed_since_1_42_and_without_a_terminal(
    engine: NativeEngine, version: str, tty: bool, media: str
) -> None:
    container = engine.run("sleep", "60", Tty=tty)
    with connected(engine, attach(container, version=version)) as connection:
        assert fields(header(connection))["Content-Type"] == f"application/vnd.docker.{media}"
    execution = exec_of(engine, container, "true", Tty=tty)
    body = json.dumps({"Tty": tty}).encode()
    request = exec_start(execution, body).replace("/exec/", f"/v{version}/exec/")
    with connected(engine, request, body) as connection:
        assert fields(header(connection))["Content-Type"] == f"application/vnd.docker.{media}"


def test_without_an_upgrade_the_type_says_raw_though_there_are_frames(engine: NativeEngine) -> None:
    container = engine.create("echo", "framed")
    with connected(engine, f"POST /containers/{container}/attach?stream=1&stdout=1") as connection:
        assert fields(header(connection))["Content-Type"] == "application/vnd.docker.raw-stream"
        start(engine, container)
        assert frames(rest(connection)) == [(1, b"framed\n")]


# frames


def test_a_frame_is_the_stream_three_zeroes_the_length_and_the_bytes(engine: NativeEngine) -> None:
    container = engine.create("sh", "-c", "printf out; sleep 0.2; printf error >&2")
    with connected(engine, attach(container)) as connection:
        header(connection)
        start(engine, container)
        assert rest(connection) == b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x05error"


def test_with_a_terminal_there_are_no_frames(engine: NativeEngine) -> None:
    container = engine.create("sh", "-c", "echo out; echo err >&2", Tty=True)
    with connected(engine, attach(container)) as connection:
        header(connection)
        start(engine, container)
        assert rest(connection) == b"out\r\nerr\r\n"


def test_an_error_of_the_engine_in_the_stream_is_a_frame_of_stream_three(
    engine: NativeEngine, docker_cli: str
) -> None:
    log = {"Type": "json-file", "Config": {"max-size": "20k", "max-file": "3", "compress": "true"}}
    container = engine.run("seq", "1", "1500", HostConfig={"LogConfig": log})
    assert engine.wait(container) == 0
    (packed, *_) = sorted((engine.data_root / "containers" / container).glob("*.gz"), reverse=True)
    packed.write_bytes(packed.read_bytes()[:-30])
    found = frames(engine.call("GET", f"/containers/{container}/logs", stdout="1").body)
    assert found[-1][0] == 3
    assert found[-1][1].startswith(b"Error grabbing logs: ")
    told = engine.docker("logs", container)
    assert told.returncode == 1
    assert b"Error grabbing logs" in told.stderr


def test_frames_of_both_streams_stay_whole_when_both_are_written_at_once(engine: NativeEngine) -> None:
    script = "seq 1 60000 & seq 100001 160000 >&2 & wait"
    container = engine.create("sh", "-c", script)
    with connected(engine, attach(container)) as connection:
        header(connection)
        start(engine, container)
        found = frames(rest(connection))
    for stream, first in ((1, 1), (2, 100_001)):
        text = b"".join(part for number, part in found if number == stream)
        assert text == b"".join(b"%d\n" % number for number in range(first, first + 60_000))
    assert {number for number, _ in found} == {1, 2}


# ends


def test_the_end_of_input_ends_stdin_once_and_the_output_goes_on(engine: NativeEngine) -> None:
    container = engine.create("sh", "-c", "cat; sleep 0.3; echo after", OpenStdin=True, StdinOnce=True)
    with connected(engine, attach(container, "stream=1&stdin=1&stdout=1")) as connection:
        header(connection)
        start(engine, container)
        connection.sendall(b"typed\n")
        connection.shutdown(socket.SHUT_WR)
        assert payload(rest(connection)) == b"typed\nafter\n"


def test_the_end_of_input_ends_an_execs_stdin_and_its_output_goes_on(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    execution = exec_of(engine, container, "sh", "-c", "wc -c; sleep 0.3; echo after", AttachStdin=True)
    body = b"{}"
    with connected(engine, exec_start(execution, body), body) as connection:
        assert header(connection).startswith("HTTP/1.1 101")
        connection.sendall(b"x" * 300_000)
        connection.shutdown(socket.SHUT_WR)
        assert payload(rest(connection)).split() == [b"300000", b"after"]
    found = engine.call("GET", f"/exec/{execution}/json").json
    assert (found["Running"], found["ExitCode"]) == (False, 0)


def test_a_client_that_sends_no_more_is_not_gone(engine: NativeEngine) -> None:
    container = engine.create("sh", "-c", "sleep 0.5; seq 1 50000")
    with connected(engine, attach(container)) as connection:
        header(connection)
        connection.shutdown(socket.SHUT_WR)
        start(engine, container)
        assert payload(rest(connection)) == b"".join(b"%d\n" % number for number in range(1, 50_001))


def test_bytes_that_came_with_the_request_reach_the_process(engine: NativeEngine) -> None:
    container = engine.create("cat", OpenStdin=True, StdinOnce=True)
    request = attach(container, "stream=1&stdin=1&stdout=1")
    # In one packet with the request, before the 101 and before the process.
    with connected(engine, request, b"early ") as connection:
        header(connection)
        start(engine, container)
        connection.sendall(b"late\n")
        connection.shutdown(socket.SHUT_WR)
        assert payload(rest(connection)) == b"early late\n"
    running = engine.run("sleep", "60")
    execution = exec_of(engine, running, "cat", AttachStdin=True)
    with connected(engine, exec_start(execution), b'{"Detach":false,"Tty":false}' + b"early ") as connection:
        header(connection)
        connection.sendall(b"late\n")
        connection.shutdown(socket.SHUT_WR)
        assert payload(rest(connection)) == b"early late\n"


def test_a_slow_reader_gets_everything(engine: NativeEngine) -> None:
    container = engine.create("sh", "-c", "seq 1 200000")
    with connected(engine, attach(container, "stream=1&stdout=1")) as connection:
        header(connection)
        start(engine, container)
        time.sleep(1.5)
        output = payload(rest(connection))
    assert output == b"".join(b"%d\n" % number for number in range(1, 200_001))


# order


def test_attach_and_wait_come_before_the_process_and_lose_nothing_of_a_short_life(
    engine: NativeEngine,
) -> None:
    for _ in range(10):
        container = engine.create("sh", "-c", "echo out; echo err >&2; exit 4")
        wait = f"POST /containers/{container}/wait?condition=next-exit"
        with connected(engine, attach(container)) as stream, connected(engine, wait) as waiting:
            assert header(stream).startswith("HTTP/1.1 101")
            assert header(waiting).startswith("HTTP/1.1 200")
            start(engine, container)
            engine.call("POST", f"/containers/{container}/resize", h="10", w="20")
            assert sorted(frames(rest(stream))) == [(1, b"out\n"), (2, b"err\n")]
            assert json.loads(chunks(waiting))["StatusCode"] == 4


def test_each_flag_of_attach_asks_for_its_part(engine: NativeEngine) -> None:
    ended = engine.run("sh", "-c", "echo out; echo err >&2")
    engine.wait(ended)
    for query, wanted in (
        ("logs=1&stdout=1", [(1, b"out\n")]),
        ("logs=1&stderr=1", [(2, b"err\n")]),
        ("logs=1&stdout=1&stderr=1", [(1, b"out\n"), (2, b"err\n")]),
        ("stdout=1&stderr=1", []),
        ("logs=1", []),
    ):
        with connected(engine, attach(ended, query)) as connection:
            header(connection)
            assert sorted(frames(rest(connection))) == wanted, query
    for query, wanted in (("stream=1&stdout=1", [(1, b"out\n")]), ("stream=1&stderr=1", [(2, b"err\n")])):
        container = engine.create("sh", "-c", "echo out; echo err >&2")
        with connected(engine, attach(container, query)) as connection:
            header(connection)
            start(engine, container)
            assert frames(rest(connection)) == wanted, query
    # What is sent without `stdin` reaches nobody.
    container = engine.create("head", "-n", "1", OpenStdin=True)
    with (
        connected(engine, attach(container, "stream=1&stdout=1"), b"unheard\n") as deaf,
        connected(engine, attach(container, "stream=1&stdin=1"), b"heard\n") as typing,
    ):
        header(deaf)
        header(typing)
        start(engine, container)
        assert payload(rest(deaf)) == b"heard\n"
        assert rest(typing) == b""


def test_what_is_replayed_waits_for_the_head_to_be_read(engine: NativeEngine) -> None:
    """For docker-py, which loses what comes in one packet with the head."""
    ended = engine.run("echo", "hello")
    engine.wait(ended)
    for _ in range(5):
        with connected(engine, attach(ended, "logs=1&stdout=1")) as connection:
            head = connection.recv(65536)
            assert head.endswith(b"\r\n\r\n")
            assert frames(rest(connection)) == [(1, b"hello\n")]


@pytest.mark.parametrize(("asked", "typed"), [("", b"\x10\x11"), ("ctrl-x,q", b"\x18q")])
def test_the_engine_knows_the_detach_keys_ctrl_p_ctrl_q_unless_others_are_named(
    engine: NativeEngine, asked: str, typed: bytes
) -> None:
    container = engine.run("cat", OpenStdin=True, Tty=True)
    begun = time.time()
    query = f"stream=1&stdin=1&stdout=1&detachKeys={asked}"
    with connected(engine, attach(container, query)) as connection:
        header(connection)
        connection.sendall(b"typed\r")
        seen = b""
        while seen.count(b"typed") < 2:  # the terminal's echo, and what `cat` makes of it
            seen += connection.recv(4096)
        for byte in typed:
            connection.sendall(bytes([byte]))
        rest(connection)
    assert engine.inspect(container)["State"]["Running"]
    assert "detach" in actions(events(engine, begun, container=[container]))
    execution = exec_of(engine, container, "cat", AttachStdin=True, Tty=True, DetachKeys=asked)
    body = b'{"Tty":true}'
    with connected(engine, exec_start(execution, body), body) as connection:
        header(connection)
        connection.sendall(typed)
        rest(connection)
    assert engine.call("GET", f"/exec/{execution}/json").json["Running"]


def test_attach_to_a_paused_or_restarting_container_is_a_conflict(engine: NativeEngine) -> None:
    paused = engine.run("sleep", "60")
    assert engine.call("POST", f"/containers/{paused}/pause").status == 204
    restarting = engine.run("false", HostConfig={"RestartPolicy": {"Name": "always"}})
    while engine.inspect(restarting)["State"]["Status"] != "restarting":
        time.sleep(0.01)
    for container in (paused, restarting):
        with connected(engine, attach(container)) as connection:
            assert header(connection).startswith("HTTP/1.1 409")
        assert engine.call("POST", f"/containers/{container}/exec", {"Cmd": ["true"]}).status == 409


def test_an_error_before_the_upgrade_is_http_and_afterwards_the_stream_ends(engine: NativeEngine) -> None:
    with connected(engine, attach("nobody")) as connection:
        head = header(connection)
        assert head.startswith("HTTP/1.1 404")
        wanted = int(fields(head)["Content-Length"])
        assert json.loads(connection.recv(wanted))["message"] == "No such container: nobody"
    container = engine.create("nosuch")
    with connected(engine, attach(container)) as connection:
        assert header(connection).startswith("HTTP/1.1 101")
        answer = engine.call("POST", f"/containers/{container}/start")
        assert (answer.status, "executable file not found in $PATH" in answer.message) == (400, True)
        assert rest(connection) == b""
    assert engine.inspect(container)["State"]["ExitCode"] == 127


# exec


def test_a_detached_exec_answers_at_once_and_runs_on(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    execution = exec_of(engine, container, "sh", "-c", "while [ ! -e /go ]; do sleep 0.02; done; exit 6")
    answer = engine.call("POST", f"/exec/{execution}/start", {"Detach": True})
    assert (answer.status, answer.body) == (200, b"")
    assert engine.call("GET", f"/exec/{execution}/json").json["Running"]
    other = exec_of(engine, container, "touch", "/go")
    assert engine.call("POST", f"/exec/{other}/start", {}).status == 200
    deadline = time.monotonic() + 20
    while engine.call("GET", f"/exec/{execution}/json").json["Running"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert engine.call("GET", f"/exec/{execution}/json").json["ExitCode"] == 6


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [("nowhere", 127, b"executable file not found in $PATH"), ("/etc/passwd", 126, b"permission denied")],
)
def test_an_exec_that_fails_says_why_in_the_stream_and_has_126_or_127(
    engine: NativeEngine, program: str, code: int, words: bytes
) -> None:
    container = engine.run("sleep", "60")
    execution = exec_of(engine, container, program)
    answer = engine.call("POST", f"/exec/{execution}/start", {})
    assert answer.status == 200
    assert words in payload(answer.body)
    assert engine.call("GET", f"/exec/{execution}/json").json["ExitCode"] == code


def test_events_of_an_exec_name_its_command_and_id(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    begun = time.time()
    execution = exec_of(engine, container, "sh", "-c", "exit 3")
    engine.call("POST", f"/exec/{execution}/start", {})
    found = events(engine, begun, container=[container])
    assert actions(found) == ["exec_create: sh -c exit 3", "exec_start: sh -c exit 3", "exec_die"]
    assert {each["Actor"]["Attributes"]["execID"] for each in found} == {execution}
    assert found[-1]["Actor"]["Attributes"]["exitCode"] == "3"


def test_clients_that_vanish_leave_no_connection_behind(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")

    def open_files() -> int:
        return int(engine.call("GET", "/info").json["NFd"])

    # The engine still opens files of its own after a start: the monitor's wait, the next spare namespace.
    before, seen = open_files(), -1
    while before != seen:
        time.sleep(1)
        before, seen = open_files(), before
    for _ in range(20):
        with connected(engine, attach(container, "stream=1&stdout=1")) as connection:
            header(connection)
    deadline = time.monotonic() + 15
    while open_files() > before + 2:
        assert time.monotonic() < deadline, (before, open_files())
        time.sleep(0.2)
