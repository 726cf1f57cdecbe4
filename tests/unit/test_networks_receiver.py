"""The thread that receives the resolvers' datagrams, on sockets of this machine's loopback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from wherryd.networks.dns import receiver
from wherryd.networks.dns.receiver import Client, Port, Receiver
from wherryd.networks.dns.reply import Reply

QUESTION = b"\0\1question"
ANSWER = b"\0\1answer"


class Scene:
    """One port; what it does not know is kept in `missed`."""

    def __init__(self) -> None:
        self.revision = 0
        self.missed: list[tuple[bytes, Client]] = []
        self.receiver = Receiver()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        self.address = sock.getsockname()
        self.port = Port(sock, lambda *each: self.missed.append(each), lambda: self.revision)
        self.receiver.add(self.port)

    async def wait_for_missed(self, count: int) -> None:
        while len(self.missed) < count:
            await asyncio.sleep(0.001)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    async with asyncio.timeout(20):
        yield made
    made.receiver.close()


@pytest.fixture
def client(scene: Scene) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(5)
        asker.connect(scene.address)
        yield asker


def ask(client: socket.socket, question: bytes) -> bytes:
    """Blocks the event loop, so that nobody but the thread can have answered."""
    client.send(question)
    return client.recv(512)


async def test_what_is_kept_is_answered_with_the_askers_id_and_without_the_event_loop(
    scene: Scene, client: socket.socket
) -> None:
    client.send(QUESTION)
    await scene.wait_for_missed(1)
    assert scene.missed[0] == (QUESTION, client.getsockname())
    scene.port.keep(QUESTION, Reply(ANSWER, lasting=True), scene.revision)
    for identity in (b"\7\7", b"\x08\x08"):
        assert ask(client, identity + QUESTION[2:]) == identity + ANSWER[2:]
    assert len(scene.missed) == 1


async def test_nothing_is_repeated_after_a_change_nor_kept_from_before_one(
    scene: Scene, client: socket.socket
) -> None:
    scene.port.keep(QUESTION, Reply(ANSWER), 0)
    scene.revision = 1
    client.send(QUESTION)
    await scene.wait_for_missed(1)
    # Its answer was looked for before the next change.
    scene.revision = 2
    scene.port.keep(QUESTION, Reply(ANSWER), 1)
    client.send(QUESTION)
    await scene.wait_for_missed(2)


async def test_each_record_comes_first_at_some_time(scene: Scene, client: socket.socket) -> None:
    scene.port.keep(QUESTION, Reply(b"\0\1head" + b"aabbcc", fixed=6, rotating=2), 0)
    seen = {ask(client, QUESTION) for _ in range(60)}
    assert seen == {b"\0\1head" + each for each in (b"aabbcc", b"bbccaa", b"ccaabb")}


async def test_a_flood_waits_up_to_a_limit(
    scene: Scene, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "MAX_WAITING", 3)
    scene.port.keep(QUESTION, Reply(ANSWER), 0)
    for number in range(10):
        client.send(bytes([0, number]) + b"unknown")
    # Answered behind the flood, while the event loop cannot take any of it.
    assert ask(client, QUESTION) == ANSWER
    await scene.wait_for_missed(3)
    client.send(b"\0\x63unknown")
    await scene.wait_for_missed(4)
    assert [question[1] for question, _ in scene.missed] == [0, 1, 2, 0x63]


async def test_what_is_kept_is_bounded(
    scene: Scene, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "MAX_KEPT", 2)
    for number in range(3):
        scene.port.keep(bytes([0, 0, number]), Reply(ANSWER), 0)
    client.send(b"\0\0\0")
    await scene.wait_for_missed(1)
    assert ask(client, b"\0\1\2") == ANSWER


async def test_a_closed_receiver_begins_again_and_closing_twice_is_fine(scene: Scene) -> None:
    scene.receiver.close()
    scene.receiver.close()
    assert scene.port.sock.fileno() == -1
    scene.receiver.remove(scene.port)
    again = Scene()
    with contextlib.closing(again.receiver), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(5)
        asker.connect(again.address)
        again.port.keep(QUESTION, Reply(ANSWER), 0)
        assert ask(asker, QUESTION) == ANSWER
