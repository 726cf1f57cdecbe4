"""Many clients at once, and bad ones: idle, slow, or gone without a word. None may cost others anything."""

import contextlib
import os
import resource
import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from native_engine import NativeEngine

pytestmark = pytest.mark.root

CONNECTIONS = int(os.environ.get("WHERRY_CROWD_CONNECTIONS", "1000"))
FOLLOWERS = int(os.environ.get("WHERRY_CROWD_FOLLOWERS", "100"))
SECONDS = 120.0
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    """As many as the crowd needs, for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + 200:
        pytest.skip(f"needs {CONNECTIONS + 200} descriptors, the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def crowd(engine: NativeEngine, amount: int, request: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that have sent `request`."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(amount):
            each = stack.enter_context(socket.socket(socket.AF_UNIX))
            each.settimeout(SECONDS)
            each.connect(str(engine.socket))
            each.sendall(request)
            made.append(each)
        yield made


def follow(container: str) -> bytes:
    path = f"/containers/{container}/logs?stdout=1&follow=1&tail=all"
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


def resident(engine: NativeEngine) -> int:
    """Bytes of memory that the engine has. Source: proc(5), status."""
    lines = Path(f"/proc/{engine.pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


def descriptors(engine: NativeEngine) -> int:
    """The engine's connections and open logs."""
    found = 0
    for each in Path(f"/proc/{engine.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += str(each.readlink()).startswith(("socket:", str(engine.data_root / "containers")))
    return found


def settled(engine: NativeEngine, wanted: int) -> bool:
    """Whether the engine has come down to so many descriptors."""
    deadline = time.monotonic() + SECONDS
    while (found := descriptors(engine)) > wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return found <= wanted


def read_all(clients: list[socket.socket]) -> list[bytes]:
    """What each gets, up to its end."""
    got = {client: bytearray() for client in clients}
    deadline = time.monotonic() + SECONDS
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        while selector.get_map():
            assert time.monotonic() < deadline, f"{len(selector.get_map())} streams do not end"
            for key, _ in selector.select(1.0):
                client = key.fileobj
                assert isinstance(client, socket.socket)
                data = client.recv(1 << 16)
                got[client] += data
                if not data:
                    selector.unregister(client)
    return [bytes(each) for each in got.values()]


def test_idle_connections_cost_little_and_go_when_their_clients_do(fresh_engine: NativeEngine) -> None:
    engine = fresh_engine
    engine.call("GET", "/_ping")
    before, descriptors_before = resident(engine), descriptors(engine)
    ping = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
    half = CONNECTIONS // 2
    with crowd(engine, half) as silent, crowd(engine, half, ping) as spoken:
        for each in spoken:
            assert each.recv(4096).startswith(b"HTTP/1.1 200")
        assert descriptors(engine) >= len(silent) + len(spoken)
        assert engine.wait(engine.run("true")) == 0
        # A client may come back to its connection after all the others.
        spoken[0].sendall(ping)
        assert spoken[0].recv(4096).startswith(b"HTTP/1.1 200")
        grown = resident(engine) - before
    print(f"{CONNECTIONS} idle connections: {grown / 1024:.0f} KiB more")  # noqa: T201 - pytest -s shows it
    assert grown < CONNECTIONS * 32 * 1024 + 16 * MIB
    assert settled(engine, descriptors_before + 4)


def test_every_follower_of_a_log_gets_every_line_to_the_end(engine: NativeEngine) -> None:
    script = "for i in 1 2 3 4 5; do seq $((i * 1000)) $((i * 1000 + 299)); sleep 0.2; done"
    container = engine.run("sh", "-c", script, HostConfig={"Init": True}, Tty=True)
    with crowd(engine, FOLLOWERS, follow(container)) as clients:
        texts = read_all(clients)
    wanted = [b"%d" % (turn * 1000 + number) for turn in range(1, 6) for number in range(300)]
    for text in texts:
        assert [line for line in _joined(text) if line] == wanted


def _joined(answer: bytes) -> list[bytes]:
    """The lines of an answer in chunks. Source: RFC 9112, section 7.1."""
    body, rest = b"", answer.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
    return body.split(b"\r\n")


def test_followers_that_do_not_read_cost_neither_memory_nor_anybodys_time(fresh_engine: NativeEngine) -> None:
    engine = fresh_engine
    container = engine.run(
        "sh", "-c", "read x; head -c 25000000 /dev/zero | tr '\\0' 'x' | fold; echo end", OpenStdin=True
    )
    before, descriptors_before = resident(engine), descriptors(engine)
    with crowd(engine, FOLLOWERS, follow(container)) as stuck:
        for each in stuck:
            assert each.recv(64).startswith(b"HTTP/1.1 200")
        with socket.socket(socket.AF_UNIX) as stdin:
            stdin.settimeout(SECONDS)
            stdin.connect(str(engine.socket))
            stdin.sendall(
                f"POST /containers/{container}/attach?stdin=1&stream=1 HTTP/1.1\r\nHost: x\r\n"
                "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\ngo\n".encode()
            )
            # The container is held up by nobody.
            assert engine.wait(container) == 0
        with crowd(engine, 1, follow(container)) as reading:
            assert b"end" in read_all(reading)[0][-100:]
        grown = resident(engine) - before
    print(f"{FOLLOWERS} followers that do not read: {grown / 1024:.0f} KiB more")  # noqa: T201
    # About what a connection may hold before its writer waits, and not the 25 MB that each has not read.
    assert grown < FOLLOWERS * 512 * 1024 + 16 * MIB
    # They went without reading, most of them in the middle of a chunk.
    assert settled(engine, descriptors_before + 4)
    assert engine.call("GET", "/_ping").status == 200


def test_clients_that_break_off_anywhere_leave_nothing(fresh_engine: NativeEngine) -> None:
    engine = fresh_engine
    container = engine.run("sh", "-c", "while :; do echo line; sleep 0.01; done", HostConfig={"Init": True})
    engine.call("GET", "/_ping")
    descriptors_before = descriptors(engine)
    upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
    attach = (
        f"POST /containers/{container}/attach?stream=1&stdout=1&stdin=1 HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n"
    )
    requests = (
        follow(container),
        b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /containers/{container}/stats HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        f"POST /containers/{container}/wait HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        attach.encode(),
        f"GET /containers/{container}/export HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
        b"POST /build HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(512),
        b"GET /_ping HTT",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    )
    for pause in (0.0, 0.2):
        with contextlib.ExitStack() as stack:
            for request in requests:
                stack.enter_context(crowd(engine, 10, request))
            time.sleep(pause)
    assert settled(engine, descriptors_before + 4)
    assert engine.inspect(container)["State"]["Running"]
    assert "Traceback" not in engine.log.read_text()
