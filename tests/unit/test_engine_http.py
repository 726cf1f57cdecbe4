"""HTTP as the client speaks it: heads, bodies, kept connections, and engines that misbehave."""

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wherry.engine.endpoint import Endpoint, Scheme
from wherry.engine.http import MAX_HEAD_BYTES, Pool, parse_head
from wherry.errors import EngineProblem

Script = Callable[[socket.socket], None]


@contextlib.contextmanager
def scripted(*scripts: Script) -> Iterator[Pool]:
    """A server that runs one script per connection."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(10)

    def serve() -> None:
        for script in scripts:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(10)
                    script(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    pool = Pool(Endpoint(scheme=Scheme.TCP, host="127.0.0.1", port=server.getsockname()[1]))
    try:
        yield pool
    finally:
        pool.close()
        server.close()
        thread.join(10)


def head_of(connection: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        data = connection.recv(1)
        if not data:
            return got
        got += data
    return got


def answering(*parts: bytes) -> Script:
    """Reads a head, then sends the parts one by one."""

    def script(connection: socket.socket) -> None:
        head_of(connection)
        for part in parts:
            connection.sendall(part)

    return script


def get(pool: Pool, method: str = "GET") -> bytes:
    with pool.request(method, "/x", {}, None) as answer:
        return answer.content


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_bodies_end_where_they_say() -> None:
    for answer, body in (
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 200 OK\r\n\r\nup to the end", b"up to the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x"),
    ):
        with scripted(answering(answer)) as pool:
            assert get(pool) == body
        with scripted(answering(*(answer[n : n + 1] for n in range(len(answer))))) as pool:
            assert get(pool) == body


def test_an_answer_to_head_has_no_body() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\nX-A: b\r\n\r\n"
    with scripted(answering(head)) as pool, pool.request("HEAD", "/x", {}, None) as answer:
        assert (answer.content, answer.header("x-a"), answer.header("X-None")) == (b"", "b", "")


def test_a_connection_serves_the_next_call_and_a_closed_one_does_not() -> None:
    one = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"

    def twice(connection: socket.socket) -> None:
        for body in (b"1", b"2"):
            head_of(connection)
            connection.sendall(one + body)

    with scripted(twice, answering(one + b"3")) as pool:
        assert [get(pool), get(pool)] == [b"1", b"2"]
        threading.Event().wait(0.2)  # the server's end of the connection arrives
        assert get(pool) == b"3"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
        CHUNKED + b"5\r\nab",
        CHUNKED + b"3\r\nabc\r\n",
        CHUNKED + b"zz\r\nabc\r\n",
        CHUNKED + b"-1\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (MAX_HEAD_BYTES + 70_000),
    ],
)
def test_what_is_cut_off_or_no_http_is_an_error(answer: bytes) -> None:
    with scripted(answering(answer)) as pool, pytest.raises(EngineProblem, match="engine|HTTP"):
        get(pool)


def test_a_refused_upload_gives_the_engines_answer() -> None:
    refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnone"

    def refuse(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(refusal)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                pass

    with scripted(refuse) as pool:
        answer = pool.request("PUT", "/x", {}, (bytes(100_000) for _ in range(20)))
        with answer:
            assert (answer.status, answer.content) == (404, b"none")


def test_an_upload_that_fails_here_is_not_taken_for_the_engines_fault() -> None:
    def broken() -> Iterator[bytes]:
        yield b"abc"
        raise OSError(5, "input/output error", "local file")

    with scripted(answering(b"")) as pool, pytest.raises(OSError, match="local file"):
        pool.request("POST", "/x", {}, broken())


def test_nothing_smuggles_a_header_in() -> None:
    with scripted(answering(b"")) as pool, pytest.raises(EngineProblem, match="line breaks"):
        pool.request("GET", "/x", {"A": "b\r\nC: d"}, None)


def test_heads() -> None:
    assert parse_head(b"HTTP/1.1 200 OK\r\nA: b:c\r\nLONG-name:  x \r\n\r\n") == (
        200,
        {"a": "b:c", "long-name": "x"},
    )
    assert parse_head(b"HTTP/1.0 404\r\n\r\n") == (404, {})


@pytest.mark.skipif(sys.platform == "win32", reason="unix sockets")
def test_a_unix_socket_that_is_not_there_has_status_zero(tmp_path: Path) -> None:
    pool = Pool(Endpoint(scheme=Scheme.UNIX, path=str(tmp_path / "no")))
    with pytest.raises(EngineProblem, match="cannot connect") as caught:
        get(pool)
    assert caught.value.status == 0
