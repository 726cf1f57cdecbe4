"""The engine client over a real socket, against a small engine in this process."""

import io
import json
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest
from cli_fake_engine import Answer, FakeEngine, fake_engine, read_to_end

from wherry.engine.client import EngineClient, filters, parse_version, segment
from wherry.engine.endpoint import of_machine, parse
from wherry.engine.progress import Progress, read
from wherry.errors import EngineProblem, WherryError


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as made:
        yield made


@pytest.fixture
def client(engine: FakeEngine) -> Iterator[EngineClient]:
    with EngineClient(parse(engine.url)) as made:
        yield made


def test_calls_use_the_older_of_both_versions(engine: FakeEngine, client: EngineClient) -> None:
    engine.on("GET", "/info", Answer(200, {"Name": "x"}))
    assert client.get("/info") == {"Name": "x"}
    client.get("/info")
    assert client.api_version == (1, 47)
    assert [request.version for request in engine.asked("GET", "/info")] == ["1.47", "1.47"]
    assert len(engine.asked("GET", "/_ping")) == 1


def test_an_engine_without_a_version_is_taken_to_know_ours() -> None:
    assert parse_version("") == (1, 51)
    assert parse_version("1.41") == (1, 41)


def test_parameters_are_encoded_as_engines_expect(engine: FakeEngine, client: EngineClient) -> None:
    engine.on("POST", "/x", Answer(204))
    assert client.post("/x", {"a": True, "b": False, "n": None, "l": ["1", "2"], "t": "a b"}) is None
    assert engine.requests[-1].query == {"a": ["1"], "b": ["0"], "l": ["1", "2"], "t": ["a b"]}
    assert "Content-Type" not in engine.requests[-1].headers


def test_bodies_are_json(engine: FakeEngine, client: EngineClient) -> None:
    engine.on("POST", "/x", Answer(201, {"Id": "1"}))
    assert client.post("/x", body={"é": 1}) == {"Id": "1"}
    assert engine.requests[-1].json == {"é": 1}
    assert engine.requests[-1].headers["Content-Type"] == "application/json"


def test_errors_carry_the_engines_words_and_status(engine: FakeEngine, client: EngineClient) -> None:
    engine.on("GET", "/x", Answer(404, {"message": "No such container: db"}))
    with pytest.raises(EngineProblem, match="^Error response from daemon: No such container: db$") as caught:
        client.get("/x")
    assert (caught.value.status, caught.value.exit_code) == (404, 1)


def test_answers_that_are_not_json_are_told_as_such(engine: FakeEngine, client: EngineClient) -> None:
    engine.on("GET", "/x", Answer(stream=iter([b"<html>"])))
    with pytest.raises(EngineProblem, match="not JSON"):
        client.get("/x")


def test_an_upload_is_sent_in_chunks_as_it_is_read(engine: FakeEngine, client: EngineClient) -> None:
    content = bytes(range(256)) * 1000
    engine.on("POST", "/images/load", Answer(200, {}))
    client.call("POST", "/images/load", upload=io.BytesIO(content)).close()
    assert engine.requests[-1].body == content
    assert engine.requests[-1].headers["Transfer-Encoding"] == "chunked"


def test_a_stream_is_read_as_it_comes(engine: FakeEngine, client: EngineClient) -> None:
    seen_first = threading.Event()

    def parts() -> Iterator[bytes]:
        yield b'{"status":"one"}\r\n{"sta'
        assert seen_first.wait(5)  # the second part comes only when the first was read
        yield b'tus":"two","id":"x","progressDetail":{"current":1,"total":2}}\r\n'

    engine.on("GET", "/events", Answer(stream=parts()))
    lines = read(client.chunks("/events"))
    assert next(lines) == Progress(status="one")
    seen_first.set()
    assert list(lines) == [Progress(status="two", id="x", current=1, total=2)]


def test_an_error_line_ends_the_stream_with_its_code() -> None:
    good, bad = b'{"status":"a"}\n', b'{"errorDetail":{"code":7,"message":"boom"},"error":"boom"}\n'
    lines = read([good + bad])
    assert next(lines).status == "a"
    with pytest.raises(EngineProblem, match="^boom$") as caught:
        next(lines)
    assert caught.value.exit_code == 7


def test_a_line_that_is_cut_off_is_an_error() -> None:
    with pytest.raises(EngineProblem, match="cannot be read"):
        list(read([b'{"status":"a"']))


def test_hijacked_streams_half_close_and_keep_what_came_with_the_head(
    engine: FakeEngine, client: EngineClient
) -> None:
    def serve(connection: socket.socket) -> None:
        got = read_to_end(connection)
        connection.sendall(b"<" + got + b">")
        connection.shutdown(socket.SHUT_RDWR)

    engine.on("POST", "/exec/1/start", Answer(hijack=serve, first=b"early"))
    stream = client.hijack("/exec/1/start", body={"Tty": False})
    try:
        stream.sendall(b"abc")
        stream.close_write()
        got = b""
        while data := stream.recv():
            got += data
    finally:
        stream.close()
        stream.close()  # twice is fine
    assert got == b"early<abc>"
    assert engine.requests[-1].json == {"Tty": False}
    assert engine.requests[-1].headers["Upgrade"] == "tcp"


def test_a_refused_hijack_is_an_ordinary_error(engine: FakeEngine, client: EngineClient) -> None:
    engine.on("POST", "/containers/db/attach", Answer(409, {"message": "container is paused"}))
    with pytest.raises(EngineProblem, match="container is paused") as caught:
        client.hijack("/containers/db/attach")
    assert caught.value.status == 409


def test_a_broken_connection_is_told(
    engine: FakeEngine, client: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts() -> Iterator[bytes]:
        yield b"a"
        raise ConnectionResetError

    # The server's own traceback is not wanted.
    monkeypatch.setattr(socketserver.BaseServer, "handle_error", lambda *_: None)
    engine.on("GET", "/x", Answer(stream=parts()))
    with pytest.raises(EngineProblem, match="connection to the engine broke"):
        list(client.chunks("/x"))


@pytest.mark.parametrize("url", ["unix:///nonexistent/d.sock", "tcp://127.0.0.1:9"])
def test_nobody_there_has_status_zero(url: str) -> None:
    endpoint = parse(url)
    with EngineClient(endpoint) as client:
        for call in (
            lambda: client.get("/info"),
            lambda: EngineClient(endpoint, api_version=(1, 41)).hijack("/x"),
        ):
            with pytest.raises(EngineProblem, match="cannot connect to the engine at") as caught:
                call()
            assert caught.value.status == 0


def test_a_dead_machine_socket_says_start(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("WHERRY_HOME", str(tmp_path))
    with EngineClient(of_machine("default")) as client, pytest.raises(WherryError, match="wherry machine"):
        client.get("/info")


def test_proxies_of_the_environment_are_ignored(
    engine: FakeEngine, client: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    engine.on("GET", "/info", Answer(200, {}))
    assert client.get("/info") == {}


def test_names_keep_what_image_names_have() -> None:
    assert segment("h:5/a/b@sha256:x") == "h:5/a/b@sha256:x"
    assert segment("a?b c#d") == "a%3Fb%20c%23d"


def test_filters_join_values_of_one_key() -> None:
    assert filters([]) is None
    joined = filters([("name", "a"), ("name", "b"), ("label", "x=y")])
    assert json.loads(joined or "") == {"name": {"a": True, "b": True}, "label": {"x=y": True}}
