"""IPv6 on real namespaces: who reaches whom, published ports, names, and what is left."""

import asyncio
import ipaddress
import json
import subprocess
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import dnslib
import leaks
import networks_fixtures
import networks_rig as rig_module
import pytest
from docker_command import docker
from native_engine import IMAGE, NativeEngine
from networks_rig import MARK, Rig, call, call_udp, container_id, path_of, port, publish
from test_networks_names import ask

from wherryd.networks.ports import has_ipv6
from wherryd.networks.sandbox import EndpointWish, PortBinding, Sandbox
from wherryd.networks.service import NetworkService

pytestmark = [pytest.mark.root, pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")]

service = networks_fixtures.service

A, B = container_id(1), container_id(2)
SUBNET6 = f"fd57:{int(MARK) % 0xFFFF:x}::/64"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    with leaks.none_left(MARK), leaks.none_left(str(tmp_path)):
        made = Rig(tmp_path)
        made.subnet6 = ipaddress.IPv6Interface(SUBNET6.replace("::", "::1"))
        try:
            yield made
        finally:
            await made.remove()


async def attach(service: NetworkService, identity: str, *bindings: PortBinding) -> Sandbox:
    return await service.attach(identity, mode="default", hostname="h", ports=publish(*bindings))


async def test_containers_reach_each_other_and_leave_with_the_hosts_address(
    service: NetworkService, tmp_path: Path
) -> None:
    one, two = await attach(service, A), await attach(service, B)
    assert (one.primary.ip6, one.primary.prefix_length6) == (SUBNET6.replace("::/64", "::2"), 64)
    with rig_module.tcp_server(path_of(two), 80, "::") as server:
        assert call(server, path_of(one), two.primary.ip6, 80) == one.primary.ip6
    with (
        rig_module.neighbour(tmp_path) as neighbour,
        rig_module.tcp_server(neighbour.path, 80, "::") as server,
    ):
        assert call(server, path_of(one), neighbour.address6, 80) == neighbour.host_address6


async def test_a_published_port_is_reached_from_outside_with_the_source_kept_and_by_hairpin(
    service: NetworkService, tmp_path: Path
) -> None:
    number = rig_module.free_port()
    sandbox = await attach(service, A, port(80, number), port(53, number, protocol="udp"))
    assert [(each.host_ip, each.protocol) for each in sandbox.ports] == [
        (host, protocol)
        for protocol in ("tcp", "udp")
        for host in ("0.0.0.0", "::")  # noqa: S104 - compared
    ]
    with rig_module.neighbour(tmp_path) as neighbour:
        with rig_module.tcp_server(path_of(sandbox), 80, "::") as server:
            assert call(server, neighbour.path, neighbour.host_address6, number) == neighbour.address6
            assert call(server, None, neighbour.host_address6, number)
            assert call(server, path_of(sandbox), neighbour.host_address6, number)
        with rig_module.udp_server(path_of(sandbox), 53, "::") as server:
            assert call_udp(server, neighbour.path, neighbour.host_address6, number) == neighbour.address6


async def test_an_unpublished_port_is_closed_to_machines_that_route_to_it(
    service: NetworkService, tmp_path: Path
) -> None:
    sandbox = await attach(service, A)
    with (
        rig_module.neighbour(tmp_path) as neighbour,
        rig_module.tcp_server(path_of(sandbox), 80, "::") as server,
        pytest.raises(TimeoutError),
    ):
        call(server, neighbour.path, sandbox.primary.ip6, 80)


@pytest.mark.parametrize("address", ["::1", ""])
async def test_the_loopback_of_ipv6_reaches_a_published_port_of_either_protocol(
    service: NetworkService, address: str
) -> None:
    """The rules cannot do that: the engine passes it on."""
    number = rig_module.free_port()
    bindings = port(80, number, host_ip=address), port(53, number, host_ip=address, protocol="udp")
    sandbox = await attach(service, A, *bindings)
    with rig_module.tcp_server(path_of(sandbox), 80, "::") as server:
        assert await asyncio.to_thread(call, server, None, "::1", number) == sandbox.primary.gateway6
    with rig_module.udp_server(path_of(sandbox), 53, "::") as server:
        assert await asyncio.to_thread(call_udp, server, None, "::1", number) == sandbox.primary.gateway6
        assert await asyncio.to_thread(call_udp, server, None, "::1", number)


async def test_an_ipv6_client_reaches_a_container_that_has_only_ipv4(rig: Rig, tmp_path: Path) -> None:
    rig.subnet6 = None
    service = rig.service()
    await service.open()
    number = rig_module.free_port()
    sandbox = await attach(service, A, port(80, number), port(53, number, protocol="udp"))
    with rig_module.neighbour(tmp_path) as neighbour:
        with rig_module.tcp_server(path_of(sandbox), 80) as server:
            seen = await asyncio.to_thread(call, server, neighbour.path, neighbour.host_address6, number)
            assert seen == sandbox.gateway
        with rig_module.udp_server(path_of(sandbox), 53) as server:
            args = (server, neighbour.path, neighbour.host_address6, number)
            assert await asyncio.to_thread(call_udp, *args) == sandbox.gateway
    await service.close()


async def test_much_goes_through_the_loopback_unchanged_and_the_end_is_passed_on(
    service: NetworkService,
) -> None:
    number = rig_module.free_port()
    sandbox = await attach(service, A, port(80, number))
    sent = bytes(range(256)) * 8192
    received = bytearray()
    with rig_module.tcp_server(path_of(sandbox), 80, "::") as server:

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted:
                accepted.settimeout(rig_module.WAIT_SECONDS)
                while data := accepted.recv(65536):
                    received.extend(data)
                accepted.sendall(bytes(received[::-1]))

        thread = threading.Thread(target=serve)
        thread.start()
        reader, writer = await asyncio.open_connection("::1", number)
        writer.write(sent)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await asyncio.to_thread(thread.join, 5)
    assert bytes(received) == sent
    assert answer == sent[::-1]


async def test_ports_and_the_loopback_are_served_again_after_a_restart_and_free_after_detach(
    rig: Rig,
) -> None:
    first = rig.service()
    await first.open()
    number = rig_module.free_port()
    sandbox = await attach(first, A, port(80, number))
    await first.close()
    second = rig.service()
    await second.open()
    await second.adopt([A])
    assert second.sandbox(A) == sandbox
    with rig_module.tcp_server(path_of(sandbox), 80, "::") as server:
        assert await asyncio.to_thread(call, server, None, "::1", number)
    await second.detach(A)
    with rig_module.tcp_server(None, number, "::"):
        pass
    assert (await attach(second, B)).primary.ip6.endswith("::3")
    await second.close()


async def test_names_have_both_addresses_and_both_ways_back(rig: Rig, service: NetworkService) -> None:
    config = [{"Subnet": "10.188.7.0/24"}, {"Subnet": f"fd58:{int(MARK) % 0xFFFF:x}::/64"}]
    await service.create({"Name": f"n{MARK}", "EnableIPv6": True, "IPAM": {"Config": config}})
    wish = EndpointWish(network=f"n{MARK}", ip6=config[1]["Subnet"].replace("::/64", "::77"))
    one = await service.attach(A, mode=f"n{MARK}", hostname="h", ports={}, endpoints=[wish])
    assert one.primary.ip6 == wish.ip6

    async def answers(name: str, kind: str) -> list[str]:
        answer: dnslib.DNSRecord = await asyncio.to_thread(ask, one, name, kind)
        assert answer.header.rcode == dnslib.RCODE.NOERROR
        return [str(record.rdata) for record in answer.rr]

    assert await answers("name-1", "A") == [one.ip]
    assert await answers("name-1", "AAAA") == [wish.ip6]
    pointer = ipaddress.IPv6Address(wish.ip6).reverse_pointer
    assert await answers(pointer, "PTR") == [f"name-1.n{MARK}."]
    await service.detach(A)
    await service.settle()
    await service.remove(f"n{MARK}")


async def test_rules_flushed_by_somebody_come_back_in_both_tables(rig: Rig, service: NetworkService) -> None:
    number = rig_module.free_port()
    await attach(service, A, port(80, number))
    subprocess.run(["nft", "delete", "table", "ip6", f"wherry_{rig.bridge}"], check=True)
    await attach(service, B, port(80))
    for family in ("ip", "ip6"):
        listed = subprocess.run(
            ["nft", "list", "table", family, f"wherry_{rig.bridge}"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert f"tcp . {number} :" in listed


# With the real docker command


def inspected(engine: NativeEngine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker(engine, "network", "inspect", name))[0]
    return found


def test_a_network_with_ipv6_is_made_shown_and_joined(engine: NativeEngine, docker_cli: str) -> None:
    docker(
        engine, "network", "create", "--ipv6", "--subnet", "fd59:1::/64", "--gateway", "fd59:1::fe",
        "--ip-range", "fd59:1::ff00/120", "--aux-address", "router=fd59:1::ff00", "six",
    )  # fmt: skip
    found = inspected(engine, "six")
    assert found["EnableIPv6"] is True
    assert found["IPAM"]["Config"][1] == {
        "Subnet": "fd59:1::/64",
        "IPRange": "fd59:1::ff00/120",
        "Gateway": "fd59:1::fe",
        "AuxiliaryAddresses": {"router": "fd59:1::ff00"},
    }
    docker(engine, "run", "-d", "--name", "one", "--network", "six", "-p", "80", IMAGE, "sleep", "600")
    docker(
        engine, "run", "-d", "--name", "two", "--network", "six", "--ip6", "fd59:1::77", IMAGE, "sleep", "9"
    )
    settings = engine.inspect("one")["NetworkSettings"]["Networks"]["six"]
    assert (settings["GlobalIPv6Address"], settings["GlobalIPv6PrefixLen"]) == ("fd59:1::ff01", 64)
    assert settings["IPv6Gateway"] == "fd59:1::fe"
    assert engine.inspect("two")["NetworkSettings"]["Networks"]["six"]["IPAMConfig"] == {
        "IPv6Address": "fd59:1::77"
    }
    containers = inspected(engine, "six")["Containers"].values()
    assert sorted(each["IPv6Address"] for each in containers) == ["fd59:1::77/64", "fd59:1::ff01/64"]
    routes = docker(engine, "exec", "one", "ip", "-6", "route")
    assert "default via fd59:1::fe dev eth0" in routes
    assert "fd59:1::ff01\t" in docker(engine, "exec", "one", "cat", "/etc/hosts")
    assert docker(engine, "exec", "one", "ping", "-6", "-c", "1", "-W", "1", "two")
    assert "[::]:" in docker(engine, "port", "one", "80")
    docker(engine, "network", "create", "plain")
    docker(engine, "network", "disconnect", "six", "two")
    docker(engine, "network", "connect", "plain", "two")
    assert "fd59" not in docker(engine, "exec", "two", "ip", "-6", "addr")
    refused = engine.docker("network", "connect", "--ip6", "fd59:1::78", "plain", "one")
    assert b"only when connecting to networks with user configured subnets" in refused.stderr


def test_ipv6_networks_without_a_subnet_get_private_ones(engine: NativeEngine, docker_cli: str) -> None:
    subnets = set()
    for name in ("s1", "s2"):
        docker(engine, "network", "create", "--ipv6", name)
        subnets.add(ipaddress.IPv6Network(inspected(engine, name)["IPAM"]["Config"][1]["Subnet"]))
    assert len(subnets) == 2
    assert all(each.prefixlen == 64 and each.subnet_of(ipaddress.IPv6Network("fd00::/8")) for each in subnets)


def test_the_default_bridge_has_ipv6_when_the_engine_is_told_so(
    fresh_engine: NativeEngine, docker_cli: str
) -> None:
    fresh_engine.stop()
    fresh_engine.start("--ipv6", "--fixed-cidr-v6", "fd59:2::/64")
    found = inspected(fresh_engine, "bridge")
    assert found["EnableIPv6"] is True
    assert found["IPAM"]["Config"][1] == {"Subnet": "fd59:2::/64", "Gateway": "fd59:2::1"}
    docker(fresh_engine, "run", "-d", "--name", "one", IMAGE, "sleep", "600")
    assert fresh_engine.inspect("one")["NetworkSettings"]["GlobalIPv6Address"] == "fd59:2::2"
    assert "default via fd59:2::1" in docker(fresh_engine, "exec", "one", "ip", "-6", "route")
