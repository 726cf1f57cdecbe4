"""The whole agent in this process: a real sshd and a small engine stand in for the guest."""

import asyncio
import contextlib
import getpass
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machine_standins import (
    FakeEngine,
    FakeProvider,
    Sshd,
    fake_engine,
    needs_sshd,
    running_sshd,
    wait_for,
)

from wherry.agent import control, launch
from wherry.agent.events import EventReader
from wherry.agent.serve import Agent
from wherry.config import Hypervisor
from wherry.errors import MachineProblem
from wherry.machine import sshport
from wherry.machine.provider import SshEndpoint
from wherry.machine.record import MachineRecord
from wherry.machine.state import MachineState
from wherry.machine.store import Machine
from wherry.paths import MachinePaths
from wherrywire.serialline import Booted, Ready, encode

pytestmark = needs_sshd


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


async def test_a_boot_goes_through_its_events_in_order(world: World) -> None:
    world.start()
    await world.reaches("starting")
    world.say(Booted())
    await world.reaches("booted")
    world.ready()
    await world.reaches("running")
    assert world.events() == ["starting", "booted", "ready", "connected", "running"]
    assert world.files.known_host.read_text().strip() == world.sshd.host_key
    assert world.files.known_hosts.read_text().startswith(f"[127.0.0.1]:{world.sshd.port} ssh-ed25519 ")


async def test_the_engine_answers_on_the_local_socket_once_running_is_said(world: World) -> None:
    world.start()
    await world.reaches("starting")
    assert not world.files.socket.exists(), "a socket would look like a running machine"
    world.ready()
    await world.reaches("running")
    answer = await asyncio.to_thread(get, str(world.files.socket), "/_ping")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"OK")
    assert world.files.socket.stat().st_mode & 0o777 == 0o600


async def test_nothing_is_dialled_before_the_host_key_is_known(world: World) -> None:
    world.start()
    await world.reaches("starting")
    await asyncio.sleep(0.3)
    assert world.events() == ["starting"]


async def test_a_resumed_guest_is_trusted_by_the_stored_host_key(world: World) -> None:
    world.files.known_host.write_text(world.sshd.host_key + "\n")
    world.start(resumed=True)
    await world.reaches("running")
    assert "ready" not in world.events()


async def test_a_fresh_boot_does_not_trust_the_stored_host_key(world: World) -> None:
    world.files.known_host.write_text("SHA256:old\n")
    world.start()
    await world.reaches("starting")
    world.ready()
    await world.reaches("running")


async def test_a_kernel_panic_ends_the_wait_at_once(world: World) -> None:
    world.start()
    await world.reaches("starting")
    world.files.serial_log.write_text("[1.0] Kernel panic - not syncing: no init found\n")
    stopped = await world.reaches("stopped")
    assert "Kernel panic - not syncing: no init found" in stopped["reason"]
    await world.stop()


async def test_ports_open_and_close_with_their_container(world: World) -> None:
    await world.running()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        guest_port = taken.getsockname()[1]
    await until(lambda: world.engine.listeners)
    # The stand-in guest is this host: the "published" port must not be taken before the agent listens on it.
    world.engine.start_container("c1", guest_port)
    opened = await world.reaches("port-forwarded")
    assert (opened["port"], opened["container"]) == (guest_port, "c1")
    began = time.monotonic()
    world.engine.end_container("c1")
    await world.reaches("port-closed")
    assert time.monotonic() - began < 1.0
    assert await asyncio.to_thread(sshport.is_free, guest_port)


async def test_ports_follow_the_networks_of_a_running_container(world: World) -> None:
    """What a disconnect from the last network takes away, and a connect brings back."""
    await world.running()
    port = sshport.pick()
    await until(lambda: world.engine.listeners)
    world.engine.start_container("c1", port)
    await world.reaches("port-forwarded")
    (container,) = world.engine.containers
    ports, container["Ports"] = container["Ports"], []
    world.engine.publish("disconnect", "n1", "network")
    await world.reaches("port-closed")
    container["Ports"] = ports
    world.engine.publish("connect", "n1", "network")
    await world.reaches("port-forwarded", times=2)


def _talk(client: socket.socket, port: int, payload: bytes) -> bytes:
    client.sendto(payload, ("127.0.0.1", port))
    return client.recv(70000)


def _udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(10)
    return made


async def test_a_udp_port_carries_datagrams_of_each_client_and_goes_with_its_container(world: World) -> None:
    await world.running()
    await until(lambda: world.engine.listeners)
    with _udp() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    world.engine.start_container("c1", port, kind="udp")
    opened = await world.reaches("port-forwarded")
    assert (opened["port"], opened["protocol"], opened["addresses"][0]) == (port, "udp", "127.0.0.1")
    with _udp() as one, _udp() as two:
        assert await asyncio.to_thread(_talk, one, port, b"one") == b"ONE"
        assert await asyncio.to_thread(_talk, two, port, b"two") == b"TWO"
        large = b"x" * 60000
        assert await asyncio.to_thread(_talk, one, port, large) == large.upper()
    answer = await asyncio.to_thread(control.ask, world.files, {"do": "status"})
    assert answer is not None
    assert [(each["port"], each["protocol"], each["state"]) for each in answer["ports"]] == [
        (port, "udp", "open")
    ]
    world.engine.end_container("c1")
    await world.reaches("port-closed")

    def is_free() -> bool:
        with _udp() as again, contextlib.suppress(OSError):
            again.bind(("127.0.0.1", port))
            return True
        return False

    await until(is_free)


async def test_after_the_engine_hung_up_a_udp_port_works_again(world: World) -> None:
    await world.running()
    await until(lambda: world.engine.listeners)
    with _udp() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    world.engine.start_container("c1", port, kind="udp")
    await world.reaches("port-forwarded")

    def answers(client: socket.socket) -> bool:
        client.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            return _talk(client, port, b"again") == b"AGAIN"
        return False

    with _udp() as client:
        assert await asyncio.to_thread(_talk, client, port, b"one") == b"ONE"
        client.sendto(b"hang up", ("127.0.0.1", port))
        await until(lambda: answers(client))


async def test_a_taken_udp_port_is_told_with_its_protocol(world: World) -> None:
    with _udp() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        world.engine.start_container("c1", port, kind="udp")
        await world.running()
        failed = await world.reaches("port-failed")
        assert f"port {port}/udp" in failed["reason"]


async def test_one_number_may_be_a_tcp_and_a_udp_port(world: World) -> None:
    port = sshport.pick()
    world.engine.start_container("c1", port)
    world.engine.start_container("c2", port, kind="udp")
    await world.running()
    await world.reaches("port-forwarded", times=2)
    kinds = {
        (each["protocol"], each["container"]) for each in world.seen if each["event"] == "port-forwarded"
    }
    assert kinds == {("tcp", "c1"), ("udp", "c2")}


@pytest.mark.parametrize(
    ("listed", "named", "addresses"),
    [
        (("0.0.0.0", "::"), "0.0.0.0", {"0.0.0.0"}),  # noqa: S104
        (("0.0.0.0", "::"), "", {"127.0.0.1", "::1"}),  # noqa: S104
        (("127.0.0.1",), "127.0.0.1", {"127.0.0.1"}),
        (("::1",), "::1", {"::1"}),
        (("127.0.0.1", "::1"), "", {"127.0.0.1", "::1"}),
    ],
)
async def test_only_a_user_who_names_every_address_gets_more_than_the_loopback(
    world: World, listed: tuple[str, ...], named: str, addresses: set[str]
) -> None:
    port = sshport.pick()
    world.engine.bindings["c1"] = {"80/tcp": [{"HostIp": named, "HostPort": str(port)}]}
    world.engine.start_container("c1", port, addresses=listed)
    await world.running()
    world.engine.start_container("c2")  # the agent has looked at c1 when it has seen this one
    await until(lambda: [each for each in world.events() if each == "running"])
    await until(lambda: {address for each in ports_of(world) for address in each["addresses"]} == addresses)


def ports_of(world: World) -> list[dict[str, Any]]:
    """As `wherry machine inspect` shows them."""
    answer = control.ask(world.files, {"do": "status"})
    assert answer is not None
    found: list[dict[str, Any]] = answer["ports"]
    return found


@pytest.mark.parametrize("kind", ["tcp", "udp"])
async def test_localhost_is_both_of_its_addresses(world: World, kind: str) -> None:
    await world.running()
    await until(lambda: world.engine.listeners)
    port = sshport.pick()
    world.engine.start_container("c1", port, kind=kind)
    await world.reaches("port-forwarded")
    (shown,) = await asyncio.to_thread(ports_of, world)
    assert (shown["state"], shown["addresses"]) == ("open", ["127.0.0.1", "::1"])
    if kind == "udp":
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.sendto(b"six", ("::1", port))
            assert await asyncio.to_thread(client.recv, 100) == b"SIX"
    else:
        # Not dialled: the stand-in guest is this host, and would dial the agent again.
        for address, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            with pytest.raises(OSError, match="in use"):
                socket.create_server((address, port), family=family).close()
    world.engine.end_container("c1")
    await world.reaches("port-closed")
    assert await asyncio.to_thread(ports_of, world) == []


async def test_a_host_without_ipv6_has_the_port_on_its_one_loopback(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TEST-NET-1 (RFC 5737) is not there either."""
    monkeypatch.setattr("wherry.agent.ports.LOOPBACKS", ("127.0.0.1", "192.0.2.1"))
    await world.running()
    world.engine.start_container("c1", sshport.pick())
    opened = await world.reaches("port-forwarded")
    assert opened["addresses"] == ["127.0.0.1"]
    (shown,) = await asyncio.to_thread(ports_of, world)
    assert (shown["state"], "reason" in shown) == ("open", False)


async def test_a_program_on_the_other_loopback_is_told_and_the_port_had_when_it_has_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wherry.agent.forwards.RETRY_SECONDS", 0.05)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        port = other.getsockname()[1]
        world.engine.start_container("c1", port)
        await world.running()
        failed = await world.reaches("port-failed")
        assert failed["addresses"] == ["::1"]
        (shown,) = await asyncio.to_thread(ports_of, world)
        assert (shown["state"], shown["addresses"]) == ("open", ["127.0.0.1"])
        assert f"another program on this host listens on [::1]:{port}" in shown["reason"]
    await until(lambda: ports_of(world)[0]["addresses"] == ["127.0.0.1", "::1"])
    (shown,) = await asyncio.to_thread(ports_of, world)
    assert "reason" not in shown


async def test_containers_that_ran_before_get_their_ports(world: World) -> None:
    port = sshport.pick()
    world.engine.start_container("c1", port)
    await world.running()
    await world.reaches("port-forwarded")


async def test_a_taken_port_is_an_event_and_is_tried_again(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        world.engine.start_container("c1", port)
        await world.running()
        failed = await world.reaches("port-failed")
        assert failed["port"] == port
        assert "another program" in failed["reason"]
        answer = await asyncio.to_thread(control.ask, world.files, {"do": "status"})
        assert answer is not None
        assert [(entry["port"], entry["state"]) for entry in answer["ports"]] == [(port, "failed")]
    await until(lambda: world.engine.listeners)
    world.engine.publish("start", "other")
    await world.reaches("port-forwarded")


async def test_a_taken_port_is_had_once_its_program_has_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wherry.agent.forwards.RETRY_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as other:
        world.engine.start_container("c1", other.getsockname()[1])
        await world.running()
        await world.reaches("port-failed")
    await world.reaches("port-forwarded")
    assert world.events().count("port-failed") == 1


async def test_a_lost_connection_is_degraded_and_then_running_again(world: World) -> None:
    await world.running()
    await until(lambda: world.engine.listeners)
    for pid in world.sshd.connections():
        os.kill(pid, 9)
    await world.reaches("degraded")
    await world.reaches("running", times=2)
    answer = await asyncio.to_thread(get, str(world.files.socket), "/_ping")
    assert answer.endswith(b"OK")


async def test_while_the_guest_is_lost_calls_fail_at_once_with_a_sentence(world: World) -> None:
    await world.running()
    unused = sshport.pick()
    await until(lambda: world.engine.listeners)
    # The next dial goes nowhere, so the machine stays degraded.
    import wherry.agent.serve as serve

    real = serve.dial
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve, "dial", lambda target: real(_with_port(target, unused)))
        for pid in world.sshd.connections():
            os.kill(pid, 9)
        await world.reaches("degraded")
        began = time.monotonic()
        answer = await asyncio.to_thread(get, str(world.files.socket), "/_ping")
        assert time.monotonic() - began < 2.0
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    assert 'machine "default" does not answer' in json.loads(body)["message"]
    await world.reaches("running", times=2)


def _with_port(target: Any, port: int) -> Any:
    from dataclasses import replace

    return replace(target, port=port)


async def test_an_engine_that_restarts_is_degraded_and_then_running_again(world: World) -> None:
    await world.running()
    await until(lambda: world.engine.listeners)
    world.engine.close()
    await world.reaches("degraded")
    await world.reaches("running", times=2)


async def test_the_agent_ends_with_its_vm_and_cleans_up(world: World) -> None:
    await world.running()
    world.provider.now = MachineState.STOPPED
    for pid in world.sshd.connections():
        os.kill(pid, 9)
    assert world.task is not None
    await asyncio.wait_for(world.task, 20)
    assert world.events()[-1] == "stopped"
    assert "stopped" in world.seen[-1]["reason"]
    for path in (world.files.socket, world.files.control, world.files.agent_state):
        assert not path.exists()


async def test_the_agent_ends_when_asked_to(world: World) -> None:
    await world.running()
    await asyncio.to_thread(launch.stop, world.files)
    assert world.task is not None
    await asyncio.wait_for(world.task, 20)
    assert world.events()[-1] == "stopped"
    assert world.seen[-1]["asked"] is True
    assert not launch.is_alive(world.files)


async def test_a_second_agent_never_runs(world: World) -> None:
    await world.running()
    second = Agent(world.machine, resumed=True)
    with pytest.raises(MachineProblem, match="runs already"):
        await second.run()
    answer = await asyncio.to_thread(get, str(world.files.socket), "/_ping")
    assert answer.endswith(b"OK"), "the first one is unharmed"


async def test_the_clock_is_looked_at_and_a_failure_does_not_end_the_connection(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wherry.agent.pulse.ASK", "echo 1000")  # a guest in 1970
    monkeypatch.setattr("wherry.agent.pulse.STEP", "echo no such right >&2; exit 1")
    await world.running()
    said = ""

    def complained() -> bool:
        nonlocal said
        said += capfd.readouterr().out
        return "no such right" in said

    await until(complained)
    assert world.events().count("degraded") == 0


async def test_a_guest_whose_clock_was_stepped_is_an_event(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wherry.agent.pulse.ASK", "echo $(( $(date +%s) - 3600 ))")
    monkeypatch.setattr("wherry.agent.pulse.STEP", "true {epoch}")
    await world.running()
    stepped = await world.reaches("clock-stepped")
    assert -3605 < stepped["offset_seconds"] < -3595


async def test_the_sockets_of_a_killed_agent_are_swept_away(world: World) -> None:
    world.files.socket.parent.mkdir(parents=True, exist_ok=True)
    for path in (world.files.socket, world.files.control, world.files.agent_state):
        path.touch()
    launch.stop(world.files)
    assert not world.files.socket.exists()
    with contextlib.suppress(FileNotFoundError):
        assert list(world.files.socket.parent.iterdir()) == []
