"""The wire of the Engine API where clones get it wrong: headers, statuses, hijacking, half-close, waiting."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from native_engine import IMAGE, NativeEngine

from wherrywire import rawstream

pytestmark = pytest.mark.root


@contextmanager
def connected(engine: NativeEngine, request: str, body: bytes = b"") -> Iterator[socket.socket]:
    """A connection on which the request was sent, in one packet with the body."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(20)
        connection.connect(str(engine.socket))
        lines = request.strip().split("\n")
        head = "\r\n".join([f"{lines[0].strip()} HTTP/1.1", "Host: x", *(line.strip() for line in lines[1:])])
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        yield connection


def header(connection: socket.socket) -> str:
    """Up to the blank line, byte by byte: what follows belongs to the stream."""
    found = b""
    while not found.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, found
        found += byte
    return found.decode()


def rest(connection: socket.socket) -> bytes:
    found = b""
    while data := connection.recv(65536):
        found += data
    return found


def frames(data: bytes) -> list[tuple[int, bytes]]:
    decoder = rawstream.Decoder()
    found = [(int(frame.stream), frame.payload) for frame in decoder.feed(data)]
    assert decoder.at_boundary
    return found


UPGRADE = "Connection: Upgrade\nUpgrade: tcp"


def test_ping_negotiates_with_every_header(engine: NativeEngine) -> None:
    for method in ("HEAD", "GET"):
        answer = engine.call(method, "/_ping")
        assert answer.status == 200
        assert answer.headers["Api-Version"] == "1.51"
        assert answer.headers["Ostype"] == "linux"
        assert answer.headers["Swarm"] == "inactive"
        assert answer.headers["Cache-Control"].startswith("no-cache")


@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.41", "/v1.51"])
def test_paths_may_name_a_version(engine: NativeEngine, prefix: str) -> None:
    assert engine.call("GET", f"{prefix}/containers/json").json == []


def test_other_versions_are_refused_with_the_limit(engine: NativeEngine) -> None:
    assert "Maximum supported API version is 1.51" in engine.call("GET", "/v1.99/info").message
    assert "Minimum supported API version is 1.24" in engine.call("GET", "/v1.10/info").message


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nowhere"), ("PUT", "/info"), ("DELETE", "/version"), ("GET", "/")]
)
def test_unknown_paths_and_methods_are_page_not_found(engine: NativeEngine, method: str, path: str) -> None:
    answer = engine.call(method, path)
    assert (answer.status, answer.json) == (404, {"message": "page not found"})
    assert answer.headers["Api-Version"] == "1.51"


def test_errors_have_dockers_statuses_and_words(engine: NativeEngine) -> None:
    missing = engine.call("GET", "/containers/nobody/json")
    assert (missing.status, missing.message) == (404, "No such container: nobody")
    image = engine.call("POST", "/containers/create", {"Image": "no/such:tag", "Cmd": ["x"]})
    assert (image.status, image.message) == (404, "No such image: no/such:tag")
    container = engine.run("sleep", "60", name="first")
    taken = engine.call("POST", "/containers/create", {"Image": IMAGE}, name="first")
    assert taken.status == 409
    assert f'The container name "/first" is already in use by container "{container}"' in taken.message
    assert engine.call("POST", f"/containers/{container}/start").status == 304
    assert engine.call("DELETE", f"/containers/{container}").status == 409
    assert engine.call("POST", f"/containers/{container}/kill", signal="NOPE").status == 400
    assert engine.call("POST", f"/containers/{container}/stop", t="0").status == 204
    assert engine.call("POST", f"/containers/{container}/stop").status == 304
    assert engine.call("POST", f"/containers/{container}/kill").status == 409
    assert engine.call("GET", f"/containers/{container}/logs").status == 400
    assert engine.call("GET", "/swarm").status == 503
    assert engine.call("GET", "/containers/json", filters='{"colour": ["red"]}').status == 400


def test_a_body_over_the_limit_is_refused(engine: NativeEngine) -> None:
    answer = engine.call("POST", "/containers/create", {"Image": "x" * 2_000_000})
    assert (answer.status, "too large" in answer.message) == (400, True)


def test_names_are_found_with_and_without_a_slash_and_by_prefix(engine: NativeEngine) -> None:
    container = engine.create("true", name="found")
    for reference in ("found", "%2Ffound", container, container[:12]):
        assert engine.inspect(reference)["Id"] == container


@pytest.mark.parametrize(
    ("version", "tty", "media"),
    [("1.42", False, "multiplexed-stream"), ("1.41", False, "raw-stream"), ("1.51", True, "raw-stream")],
)
def test_attach_answers_101_before_there_is_a_process(
    engine: NativeEngine, version: str, tty: bool, media: str
) -> None:
    container = engine.create("sh", "-c", "echo out; echo err >&2", Tty=tty)
    request = f"POST /v{version}/containers/{container}/attach?stream=1&stdout=1&stderr=1\n{UPGRADE}"
    with connected(engine, request) as connection:
        head = header(connection)
        assert head.startswith("HTTP/1.1 101 UPGRADED\r\n")
        assert f"application/vnd.docker.{media}" in head
        engine.call("POST", f"/containers/{container}/start")
        output = rest(connection)
    if tty:
        assert output == b"out\r\nerr\r\n"
    else:
        assert sorted(frames(output)) == [(1, b"out\n"), (2, b"err\n")]


def test_attach_without_upgrade_is_200_and_raw(engine: NativeEngine) -> None:
    container = engine.create("echo", "plain")
    with connected(
        engine, f"POST /containers/{container}/attach?stream=1&stdout=1\nContent-Length: 0"
    ) as connection:
        head = header(connection)
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert "chunked" not in head.lower()
        engine.call("POST", f"/containers/{container}/start")
        assert frames(rest(connection)) == [(1, b"plain\n")]


def test_a_half_closed_input_ends_stdin_and_the_output_goes_on(engine: NativeEngine) -> None:
    container = engine.create("sh", "-c", "cat; sleep 0.3; echo after", OpenStdin=True, StdinOnce=True)
    request = f"POST /containers/{container}/attach?stream=1&stdin=1&stdout=1\n{UPGRADE}"
    # The input comes in one packet with the request, before the 101 and before the process.
    with connected(engine, request, b"early ") as connection:
        header(connection)
        engine.call("POST", f"/containers/{container}/start")
        connection.sendall(b"late\n")
        connection.shutdown(socket.SHUT_WR)
        output = b"".join(payload for _, payload in frames(rest(connection)))
    assert output == b"early late\nafter\n"


def test_a_slow_reader_gets_everything(engine: NativeEngine) -> None:
    container = engine.create("sh", "-c", "seq 1 200000")
    request = f"POST /containers/{container}/attach?stream=1&stdout=1\n{UPGRADE}"
    with connected(engine, request) as connection:
        header(connection)
        engine.call("POST", f"/containers/{container}/start")
        time.sleep(1.5)
        output = b"".join(payload for _, payload in frames(rest(connection)))
    assert output == b"".join(b"%d\n" % number for number in range(1, 200001))


def test_a_pending_attach_ends_when_the_start_fails(engine: NativeEngine) -> None:
    container = engine.create("nosuch")
    with connected(engine, f"POST /containers/{container}/attach?stream=1&stdout=1\n{UPGRADE}") as connection:
        header(connection)
        answer = engine.call("POST", f"/containers/{container}/start")
        assert (answer.status, "executable file not found in $PATH" in answer.message) == (400, True)
        assert rest(connection) == b""
    assert engine.inspect(container)["State"]["ExitCode"] == 127


def test_wait_sends_its_header_at_once(engine: NativeEngine) -> None:
    container = engine.create("sh", "-c", "sleep 0.3; exit 9")
    with connected(engine, f"POST /containers/{container}/wait?condition=next-exit") as connection:
        assert "200 OK" in header(connection)
        engine.call("POST", f"/containers/{container}/start")
        assert b'"StatusCode": 9' in rest_of_chunks(connection)


def rest_of_chunks(connection: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"0\r\n\r\n"):
        data = connection.recv(4096)
        assert data
        found += data
    return found


def test_removed_waiters_are_told_when_an_auto_removed_start_fails(engine: NativeEngine) -> None:
    container = engine.create("nosuch", HostConfig={"AutoRemove": True})
    with connected(engine, f"POST /containers/{container}/wait?condition=removed") as connection:
        header(connection)
        engine.call("POST", f"/containers/{container}/start")
        assert b'"StatusCode": 127' in rest_of_chunks(connection)
    assert engine.call("GET", f"/containers/{container}/json").status == 404


def test_exec_takes_its_body_and_upgrades(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    made = engine.call(
        "POST", f"/containers/{container}/exec", {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
    )
    body = json.dumps({"Detach": False, "Tty": False}).encode()
    request = (
        f"POST /exec/{made.json['Id']}/start\n{UPGRADE}\n"
        f"Content-Type: application/json\nContent-Length: {len(body)}"
    )
    with connected(engine, request, body + b"with the body ") as connection:
        assert "101 UPGRADED" in header(connection)
        connection.sendall(b"and after")
        connection.shutdown(socket.SHUT_WR)
        assert b"".join(payload for _, payload in frames(rest(connection))) == b"with the body and after"
    found = engine.call("GET", f"/exec/{made.json['Id']}/json").json
    assert (found["Running"], found["ExitCode"]) == (False, 0)


def test_a_resize_before_the_start_is_kept(engine: NativeEngine) -> None:
    container = engine.create("stty", "size", Tty=True)
    assert engine.call("POST", f"/containers/{container}/resize", h="41", w="97").status == 200
    for query in ({"h": "", "w": "1"}, {"h": "-1", "w": "1"}, {"h": "+1", "w": "1"}, {"h": "1"}):
        assert engine.call("POST", f"/containers/{container}/resize", **query).status == 400
    engine.call("POST", f"/containers/{container}/start")
    engine.wait(container)
    assert engine.call("GET", f"/containers/{container}/logs", stdout="1").body == b"41 97\r\n"


def test_stats_of_a_stopped_container_are_zeroes_and_do_not_hang(engine: NativeEngine) -> None:
    container = engine.create("true", name="idle")
    found = engine.call("GET", f"/containers/{container}/stats", stream="0").json
    assert (found["name"], found["id"], found["memory_stats"]) == ("/idle", container, {})


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
        with connected(
            engine, f"POST /containers/{container}/attach?stream=1&stdout=1\n{UPGRADE}"
        ) as connection:
            header(connection)
    deadline = time.monotonic() + 15
    while open_files() > before + 2:
        assert time.monotonic() < deadline, (before, open_files())
        time.sleep(0.2)
