"""A whole agent in this process, for tests: a real sshd and a small engine stand in for the guest."""

import asyncio
import getpass
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machine_standins import (
    FakeEngine,
    FakeProvider,
    Sshd,
    fake_engine,
    running_sshd,
    wait_for,
)

from wherry.agent import control
from wherry.agent.events import EventReader
from wherry.agent.serve import Agent
from wherry.config import Hypervisor
from wherry.machine.provider import SshEndpoint
from wherry.machine.record import MachineRecord
from wherry.machine.state import MachineState
from wherry.machine.store import Machine
from wherry.paths import MachinePaths
from wherrywire.serialline import Booted, Ready, encode


def make_record(name: str = "default") -> MachineRecord:
    return MachineRecord(
        name=name,
        created="2026-01-01T00:00:00Z",
        version="0.1.0",
        hypervisor=Hypervisor.VBOXQEMU,
        cpus=1,
        memory_mib=512,
        disk_gib=1,
        ssh_port=1,
        box="/box",
        box_sha256="0" * 64,
    )


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as found:
        yield found


class World:
    """A machine with its stand-ins. `say` writes on the serial port."""

    def __init__(self, machine: Machine, provider: FakeProvider, engine: FakeEngine, sshd: Sshd) -> None:
        self.machine = machine
        self.files = machine.files
        self.provider = provider
        self.engine = engine
        self.sshd = sshd
        self.task: asyncio.Task[None] | None = None
        self._events = EventReader(self.files.events)
        self.seen: list[dict[str, Any]] = []

    def say(self, event: Booted | Ready) -> None:
        with self.files.serial_log.open("a") as serial:
            serial.write(encode(event) + "\r\n")

    def ready(self) -> None:
        self.say(Ready("0.1.0", self.sshd.host_key))

    def start(self, *, resumed: bool = False) -> None:
        self.task = asyncio.create_task(Agent(self.machine, resumed=resumed).run())

    def events(self) -> list[str]:
        self.seen.extend(self._events.poll())
        return [event["event"] for event in self.seen]

    async def reaches(self, event: str, times: int = 1) -> dict[str, Any]:
        await until(lambda: self.events().count(event) >= times)
        return [entry for entry in self.seen if entry["event"] == event][times - 1]

    async def running(self) -> None:
        self.ready()
        self.start()
        await self.reaches("running")

    async def stop(self) -> None:
        if self.task is not None and not self.task.done():
            await asyncio.to_thread(control.ask, self.files, {"do": "stop"})
        if self.task is not None:
            await asyncio.wait_for(self.task, 20)


async def until(what: Callable[[], Any]) -> None:
    await asyncio.to_thread(wait_for, what)


@pytest.fixture
async def world(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("wherry.agent.serve.SSH_USER", getpass.getuser())
    monkeypatch.setattr("wherry.tunnel.dial.ENGINE_SOCKET", str(tmp_path / "engine"))
    monkeypatch.setattr("wherry.agent.boot.STATE_SECONDS", 0.1)
    files = MachinePaths(folder=tmp_path / "default", socket=tmp_path / "s" / "default.sock")
    files.folder.mkdir()
    files.private_key.write_bytes((sshd.folder / "id_ed25519").read_bytes())
    provider = FakeProvider(endpoint=SshEndpoint("127.0.0.1", sshd.port), now=MachineState.RUNNING)
    with fake_engine(tmp_path / "engine") as engine:
        found = World(Machine(make_record(), files, provider), provider, engine, sshd)
        yield found
        await found.stop()


def get(address: str | tuple[str, int], target: str) -> bytes:
    """A whole answer, headers included."""
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        connection.connect(address)
    else:
        connection = socket.create_connection(address, 10)
    with connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer
