"""The wire as bytes: requests written by hand, heads, frames and chunks taken apart; events as told."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from native_engine import NativeEngine

from wherrywire import rawstream

UPGRADE = "Connection: Upgrade\nUpgrade: tcp"
SECONDS = 30.0


@contextmanager
def connected(engine: NativeEngine, request: str, body: bytes = b"") -> Iterator[socket.socket]:
    """A connection on which the request was sent, in one packet with the body. request: its lines."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS)
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


def fields(head: str) -> dict[str, str]:
    """The head's fields, by their names as they were sent."""
    return dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)


def rest(connection: socket.socket) -> bytes:
    found = b""
    while data := connection.recv(65536):
        found += data
    return found


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """(stream, payload) of each; the last one must be whole."""
    decoder = rawstream.Decoder()
    found = [(int(frame.stream), frame.payload) for frame in decoder.feed(data)]
    assert decoder.at_boundary
    return found


def payload(data: bytes) -> bytes:
    """What all frames carry, in their order."""
    return b"".join(part for _, part in frames(data))


def chunk(connection: socket.socket) -> bytes:
    """The next chunk of an answer in chunks; b"" at its end. Source: RFC 9112, section 7.1."""
    line = b""
    while not line.endswith(b"\r\n"):
        byte = connection.recv(1)
        assert byte, "the answer broke off"
        line += byte
    wanted, found = int(line, 16) + 2, b""
    while len(found) < wanted:
        data = connection.recv(wanted - len(found))
        assert data, "the answer broke off"
        found += data
    return found[:-2]


def chunks(connection: socket.socket) -> bytes:
    """Up to the end."""
    found = b""
    while data := chunk(connection):
        found += data
    return found


def line(connection: socket.socket) -> Any:
    """The next JSON line of an answer in chunks."""
    found = b""
    while not found.endswith(b"\n"):
        found += chunk(connection)
    return json.loads(found)


def events(engine: NativeEngine, since: float, **filters: list[str]) -> list[dict[str, Any]]:
    """What is replayed from that moment up to now."""
    answer = engine.call(
        "GET", "/events", since=f"{since:.9f}", until=f"{time.time():.9f}", filters=json.dumps(filters)
    )
    assert answer.status == 200, answer.text
    return [json.loads(text) for text in answer.body.splitlines()]


def actions(found: list[dict[str, Any]]) -> list[str]:
    return [each["Action"] for each in found]
