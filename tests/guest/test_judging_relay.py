"""The relay that answers to the docker command pass through: it changes nothing, and misses nothing."""

import http.client
import http.server
import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judging_relay import JudgingRelay

Exchange = tuple[Any, ...]


class Handler(http.server.BaseHTTPRequestHandler):
    """Echoes bodies; /upgrade is a stream that tells when its client said its last, or has gone."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        self._answer(b'{"path": "%s"}' % self.path.encode())

    def do_POST(self) -> None:  # noqa: N802
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/upgrade":
            self.send_response(101)
            self.end_headers()
            self.wfile.write(b"heard " + self.rfile.read())
            self.close_connection = True
        else:
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""

    def address_string(self) -> str:
        return "unix"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def seen() -> list[Exchange]:
    return []


@pytest.fixture
def relay(tmp_path: Path, seen: list[Exchange]) -> Iterator[JudgingRelay]:
    def judge(*exchange: Any) -> None:
        seen.append(exchange)
        if b"wrong" in exchange[-1]:
            raise AssertionError(f"{exchange[1]} is wrong")

    with Server(str(tmp_path / "engine"), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = JudgingRelay(tmp_path / "relay", tmp_path / "engine", judge)
        yield made
        made.close()
        server.shutdown()


def connect(relay: JudgingRelay) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    connection.sock.connect(str(relay.path))
    return connection


def test_every_answer_of_a_connection_is_judged(relay: JudgingRelay, seen: list[Exchange]) -> None:
    connection = connect(relay)
    for method, path, body in (
        ("GET", "/a?b=c", None),
        ("POST", "/b", b'{"x": 1}'),
        ("POST", "/c", iter([b"[1,", b"2]"])),
        ("GET", "/wrong", None),
    ):
        headers = {"Transfer-Encoding": "chunked"} if path == "/c" else {}
        connection.request(method, path, body=body, headers=headers, encode_chunked=True)
        assert connection.getresponse().read()
    connection.close()
    assert relay.settle(os.getpid()) == ["/wrong is wrong"]
    assert [(each[0], each[1], each[3], each[5]) for each in seen] == [
        ("GET", "/a", 200, b'{"path": "/a?b=c"}'),
        ("POST", "/b", 200, b'{"x": 1}'),
        ("POST", "/c", 200, b"[1,2]"),
        ("GET", "/wrong", 200, b'{"path": "/wrong"}'),
    ]
    assert relay.settle(os.getpid()) == []


def test_a_stream_keeps_its_half_close_and_is_not_judged(relay: JudgingRelay, seen: list[Exchange]) -> None:
    connection = connect(relay)
    connection.request("POST", "/upgrade", body=b"", headers={"Upgrade": "tcp"})
    connection.sock.sendall(b"to the end")
    connection.sock.shutdown(socket.SHUT_WR)
    said = b""
    while data := connection.sock.recv(4096):
        said += data
    assert said.endswith(b"heard to the end")
    connection.close()
    assert relay.settle(os.getpid()) == []
    assert seen == []


def test_an_answer_that_was_cut_off_is_not_judged(relay: JudgingRelay, seen: list[Exchange]) -> None:
    connection = connect(relay)
    connection.sock.sendall(b"POST /wrong HTTP/1.1\r\nContent-Length: 100\r\n\r\nwrong")
    connection.close()
    assert relay.settle(os.getpid()) == []
    assert seen == []
