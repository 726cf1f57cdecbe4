"""Ports that containers publish, on the host that runs the agent."""

import asyncio
import contextlib
import socket
import time
from typing import Any

import agent_world
import pytest
from agent_world import World, until
from machine_standins import (
    needs_sshd,
)

from wherry.agent import control
from wherry.machine import sshport

pytestmark = needs_sshd

sshd = agent_world.sshd
world = agent_world.world


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
