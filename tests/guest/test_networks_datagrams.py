"""The engine's end of a forwarded UDP port, asked as the host agent asks it."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from native_engine import IMAGE, NativeEngine
from networks_rig import udp_server

from wherrywire import datagrams

pytestmark = pytest.mark.root
_WAIT_SECONDS = 10.0


@pytest.fixture
def port(engine: NativeEngine) -> Iterator[int]:
    """The host port of port 5353/udp of the container "echo"."""
    started = engine.docker("run", "-d", "--name", "echo", "-p", "5353/udp", IMAGE, "sleep", "600")
    assert started.returncode == 0, started.stderr
    shown = engine.docker("port", "echo", "5353/udp").stdout.decode()
    yield int(shown.splitlines()[0].rpartition(":")[2])
    engine.docker("rm", "-f", "echo")


def _opened(engine: NativeEngine, query: str) -> tuple[socket.socket, bytes]:
    """The connection behind the head of the answer, and that head."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_WAIT_SECONDS)
    connection.connect(str(engine.socket))
    connection.sendall(
        f"POST {datagrams.TARGET}?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        "Content-Length: 0\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    return connection, head


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def test_a_published_udp_port_answers_through_the_engine(engine: NativeEngine, port: int) -> None:
    connection, head = _opened(engine, f"host=127.0.0.1&port={port}")
    with connection:
        assert b" 101 " in head
        decoder = datagrams.Decoder()
        key = engine.inspect("echo")["NetworkSettings"]["SandboxKey"]
        with udp_server(key, 5353) as server:
            peers = set()
            for client, question in ((7, b"one"), (8, b""), (7, b"x" * 60000)):
                connection.sendall(datagrams.encode(client, question))
                heard, peer = server.recvfrom(70000)
                assert heard == question
                peers.add(peer)
                server.sendto(b"re: " + heard, peer)
                found: list[datagrams.Datagram] = []
                while not found:
                    found = decoder.feed(connection.recv(65536))
                assert found == [datagrams.Datagram(client, b"re: " + question)]
        assert len(peers) == 2, "the container can tell clients apart"


@pytest.mark.parametrize("query", ["port=0", "port=x", "host=example.org&port=53", "port=70000"])
def test_what_is_no_address_or_port_is_refused(engine: NativeEngine, query: str) -> None:
    connection, head = _opened(engine, query)
    with connection:
        assert b" 400 " in head.partition(b"\r\n")[0]


def test_a_client_that_leaves_takes_its_sockets_along(engine: NativeEngine, port: int) -> None:
    def sockets() -> int:
        listed = Path("/proc/net/udp").read_text()
        return sum(f":{port:04X} 01" in line for line in listed.splitlines())

    connection, _ = _opened(engine, f"host=127.0.0.1&port={port}")
    with connection:
        for client in range(5):
            connection.sendall(datagrams.encode(client, b"x\n"))
        _wait_until(lambda: sockets() == 5)
    _wait_until(lambda: sockets() == 0)
