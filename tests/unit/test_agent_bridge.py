"""Local connections and channels joined by Bridge, over a real sshd."""

import asyncio
import contextlib
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from machine_standins import Sshd, echo, needs_sshd, running_sshd, unix_server, wait_for

from wherry.agent.bridge import HIGH_WATER_BYTES, Bridge
from wherry.errors import TunnelProblem
from wherry.host import serve_local
from wherry.tunnel.dial import Tunnel, dial
from wherry.tunnel.transport import WINDOW_BYTES, TunnelChannel

pytestmark = needs_sshd
LIMIT = 20.0


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture
def tunnel(sshd: Sshd) -> Iterator[Tunnel]:
    found = dial(sshd.target)
    yield found
    found.close()


class Bridged:
    """A local socket whose connections go to `guest`, a unix socket reached through the tunnel."""

    def __init__(self, tunnel: Tunnel, folder: Path) -> None:
        self.guest = folder / "guest"
        self.local = folder / "local"
        self.living: set[Bridge] = set()
        self._threads = ThreadPoolExecutor(4)
        self._tunnel = tunnel

    def bridge(self) -> Bridge:
        def opener() -> TunnelChannel:
            return self._tunnel.open_socket(str(self.guest))

        return Bridge(
            opener, lambda exc: f"refused: {exc}".encode(), threads=self._threads, living=self.living
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.local))


@pytest.fixture
async def bridged(tunnel: Tunnel, tmp_path: Path) -> AsyncIterator[Bridged]:
    found = Bridged(tunnel, tmp_path)
    server = await serve_local(found.local, "", found.bridge)
    yield found
    server.close()
    for bridge in list(found.living):
        bridge.abort()
    await asyncio.sleep(0.05)
    found._threads.shutdown()


async def test_bytes_pass_both_ways_and_the_end_of_file_too(bridged: Bridged) -> None:
    payload = os.urandom(8 * 1024 * 1024)
    with unix_server(bridged.guest, echo):
        reader, writer = await bridged.connect()

        async def send() -> None:
            writer.write(payload)
            writer.write_eof()  # the other half stays open: the answer still comes

        sending = asyncio.create_task(send())
        got = await asyncio.wait_for(reader.read(-1), LIMIT)
        await sending
        writer.close()
    assert hashlib.sha256(got[:-5]).digest() == hashlib.sha256(payload).digest()
    assert got[-5:] == b"<end>"


async def test_the_guests_end_of_file_leaves_the_other_half_open(bridged: Bridged) -> None:
    heard: list[bytes] = []

    def half(connection: Any) -> None:
        connection.sendall(b"done talking")
        connection.shutdown(1)
        while data := connection.recv(100):
            heard.append(data)

    with unix_server(bridged.guest, half):
        reader, writer = await bridged.connect()
        assert await asyncio.wait_for(reader.read(-1), LIMIT) == b"done talking"
        writer.write(b"still here")
        await writer.drain()
        writer.close()
        await asyncio.to_thread(wait_for, lambda: b"".join(heard) == b"still here")
    await asyncio.to_thread(wait_for, lambda: not bridged.living)


async def test_a_guest_that_does_not_read_holds_up_its_own_sender_only(bridged: Bridged) -> None:
    release = threading.Event()

    def stubborn_then_echo(connection: Any) -> None:
        if connection.recv(1) == b"s":
            release.wait(LIMIT)
        else:
            connection.sendall(b"quick")

    with unix_server(bridged.guest, stubborn_then_echo):
        _, slow = await bridged.connect()
        slow.transport.set_write_buffer_limits(high=0)
        slow.write(b"s")
        written = 0
        try:
            while written < 256 * 1024 * 1024:
                slow.write(bytes(1024 * 1024))
                await asyncio.wait_for(slow.drain(), 1.0)
                written += 1024 * 1024
        except TimeoutError:
            pass
        assert written < 64 * 1024 * 1024, "the sender is held up instead of filling our memory"
        reader, quick = await bridged.connect()
        quick.write(b"q")
        assert await asyncio.wait_for(reader.read(5), LIMIT) == b"quick"
        release.set()
        slow.transport.abort()
        quick.close()


async def test_a_client_that_does_not_read_holds_up_the_guest(bridged: Bridged) -> None:
    sent = [0]

    def pour(connection: Any) -> None:
        while True:
            sent[0] += connection.send(bytes(65536))

    with unix_server(bridged.guest, pour):
        reader, writer = await bridged.connect()
        last = -1
        while last != sent[0]:
            last = sent[0]
            await asyncio.sleep(0.7)
        assert last < WINDOW_BYTES + HIGH_WATER_BYTES + 16 * 1024 * 1024
        got = 0
        while got < 2 * last:  # and it goes on when the client reads again
            got += len(await asyncio.wait_for(reader.read(1 << 20), LIMIT))
        writer.transport.abort()


async def test_idle_connections_cost_no_threads(bridged: Bridged) -> None:
    with unix_server(bridged.guest, echo):
        first = await bridged.connect()
        before = _tunnel_threads()
        others = [await bridged.connect() for _ in range(60)]
        for reader, writer in others:
            writer.write(b"x")
            assert await asyncio.wait_for(reader.readexactly(1), LIMIT) == b"x"
        assert _tunnel_threads() - before <= 4, "at most the openers' threads"
        for _, writer in [first, *others]:
            writer.close()
    await asyncio.to_thread(wait_for, lambda: not bridged.living)


def _tunnel_threads() -> int:
    """Ours; the stand-in guest's own threads run process_request_thread."""
    return sum("process_request_thread" not in thread.name for thread in threading.enumerate())


async def test_a_refused_channel_is_told_to_the_client(bridged: Bridged) -> None:
    reader, writer = await bridged.connect()
    text = await asyncio.wait_for(reader.read(-1), LIMIT)
    writer.close()
    assert text.startswith(b"refused: nothing answers on")


async def test_a_lost_connection_ends_the_clients_at_once(bridged: Bridged, sshd: Sshd) -> None:
    with unix_server(bridged.guest, echo):
        reader, writer = await bridged.connect()
        writer.write(b"x")
        await asyncio.wait_for(reader.readexactly(1), LIMIT)
        for pid in sshd.connections():
            os.kill(pid, 9)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(-1), 5.0) == b""
        writer.close()
    await asyncio.to_thread(wait_for, lambda: not bridged.living)


async def test_a_client_that_leaves_takes_its_channel_along(bridged: Bridged) -> None:
    gone = threading.Event()

    def until_gone(connection: Any) -> None:
        connection.sendall(b"x")
        while connection.recv(100):
            pass
        gone.set()

    with unix_server(bridged.guest, until_gone):
        reader, writer = await bridged.connect()
        await asyncio.wait_for(reader.readexactly(1), LIMIT)
        writer.close()
        await asyncio.to_thread(wait_for, gone.is_set)


def test_the_error_for_a_dead_tunnel_is_ours(sshd: Sshd) -> None:
    found = dial(sshd.target)
    found.close()
    with pytest.raises(TunnelProblem):
        found.open_engine()
