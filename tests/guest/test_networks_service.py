"""The network service on real namespaces: who reaches whom, and what is left afterwards."""

import ipaddress
import os
import socket
import subprocess
from pathlib import Path

import networks_fixtures
import networks_rig as rig_module
import pytest
from networks_rig import Rig, attach, call, call_udp, container_id, in_namespace, path_of, port, ports_of

from wherryd.errors import Conflict, InvalidParameter, NotFound
from wherryd.networks import conntrack, links
from wherryd.networks.netlink import Netlink
from wherryd.networks.sandbox import PortBinding
from wherryd.networks.service import NetworkService

pytestmark = pytest.mark.root

rig = networks_fixtures.rig
service = networks_fixtures.service

A, B, C = container_id(1), container_id(2), container_id(3)


# Who reaches whom


async def test_two_containers_reach_each_other(service: NetworkService) -> None:
    one, two = path_of(await attach(service, A)), path_of(await attach(service, B))
    target = service.sandbox(B)
    assert target is not None
    with rig_module.tcp_server(two, 80) as server:
        assert call(server, one, target.ip, 80) == service.sandbox(A).ip  # type: ignore[union-attr]
    with rig_module.udp_server(two, 53) as server:
        assert call_udp(server, one, target.ip, 53) == service.sandbox(A).ip  # type: ignore[union-attr]


async def test_a_container_reaches_the_host_by_its_gateway(service: NetworkService) -> None:
    sandbox = await attach(service, A)
    number = rig_module.free_port()
    with rig_module.tcp_server(None, number, sandbox.gateway) as server:
        assert call(server, path_of(sandbox), sandbox.gateway, number) == sandbox.ip


async def test_a_container_leaves_with_the_hosts_address(service: NetworkService, tmp_path: Path) -> None:
    sandbox = await attach(service, A)
    with (
        rig_module.neighbour(tmp_path) as neighbour,
        rig_module.tcp_server(neighbour.path, 80) as server,
    ):
        assert call(server, path_of(sandbox), neighbour.address, 80) == neighbour.host_address


async def test_a_published_port_answers_on_every_address_of_the_host(
    service: NetworkService, tmp_path: Path
) -> None:
    number = rig_module.free_port()
    sandbox = await attach(service, A, port(80, number))
    with (
        rig_module.neighbour(tmp_path) as neighbour,
        rig_module.tcp_server(path_of(sandbox), 80) as server,
    ):
        assert call(server, None, "127.0.0.1", number) == sandbox.gateway
        assert call(server, None, neighbour.host_address, number)
        assert call(server, None, sandbox.gateway, number)


async def test_another_machine_reaches_a_published_port_and_is_seen_as_itself(
    service: NetworkService, tmp_path: Path
) -> None:
    number = rig_module.free_port()
    sandbox = await attach(service, A, port(80, number), port(53, number, protocol="udp"))
    with rig_module.neighbour(tmp_path) as neighbour:
        with rig_module.tcp_server(path_of(sandbox), 80) as server:
            assert call(server, neighbour.path, neighbour.host_address, number) == neighbour.address
        with rig_module.udp_server(path_of(sandbox), 53) as server:
            assert call_udp(server, neighbour.path, neighbour.host_address, number) == neighbour.address


async def test_a_published_udp_port_answers_on_loopback(service: NetworkService) -> None:
    number = rig_module.free_port()
    sandbox = await attach(service, A, port(53, number, protocol="udp"))
    with rig_module.udp_server(path_of(sandbox), 53) as server:
        assert call_udp(server, None, "127.0.0.1", number) == sandbox.gateway


async def test_containers_reach_published_ports_also_their_own(
    service: NetworkService, tmp_path: Path
) -> None:
    number = rig_module.free_port()
    one, two = await attach(service, A, port(80, number)), await attach(service, B)
    with (
        rig_module.neighbour(tmp_path) as neighbour,
        rig_module.tcp_server(path_of(one), 80) as server,
    ):
        for path in (path_of(one), path_of(two)):
            for address in (one.gateway, neighbour.host_address):
                assert call(server, path, address, number)


async def test_a_port_published_on_loopback_is_closed_to_other_machines(
    service: NetworkService, tmp_path: Path
) -> None:
    number = rig_module.free_port()
    sandbox = await attach(service, A, port(80, number, host_ip="127.0.0.1"))
    with (
        rig_module.neighbour(tmp_path) as neighbour,
        rig_module.tcp_server(path_of(sandbox), 80) as server,
    ):
        assert call(server, None, "127.0.0.1", number)
        with pytest.raises(ConnectionRefusedError):
            call(server, neighbour.path, neighbour.host_address, number)


async def test_an_unpublished_port_is_closed_to_machines_that_route_to_it(
    service: NetworkService, tmp_path: Path
) -> None:
    sandbox = await attach(service, A)
    with (
        rig_module.neighbour(tmp_path) as neighbour,
        rig_module.tcp_server(path_of(sandbox), 80) as server,
    ):
        assert call(server, None, sandbox.ip, 80)  # the host itself may
        with pytest.raises(TimeoutError):
            call(server, neighbour.path, sandbox.ip, 80)


async def test_a_container_cannot_reach_the_hosts_loopback(service: NetworkService) -> None:
    """The container has the rights to send such packets; the rule set is what stops them."""
    sandbox = await attach(service, A)
    path = path_of(sandbox)
    for command in (
        ["ip", "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local"],
        ["ip", "route", "del", "local", "127.0.0.1", "dev", "lo", "table", "local"],
        ["ip", "route", "add", "127.0.0.1", "via", sandbox.gateway, "src", sandbox.ip],
    ):
        subprocess.run(["nsenter", f"--net={path}", *command], check=True, timeout=10)
    in_namespace(path, lambda: links.write_sysctl("net/ipv4/conf/all/route_localnet", "1"))
    number = rig_module.free_port()
    with rig_module.udp_server(None, number, "127.0.0.1") as server:
        with in_namespace(path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as attacker:
            attacker.sendto(b"let me in", ("127.0.0.1", number))
        server.settimeout(0.5)
        with pytest.raises(TimeoutError):
            server.recvfrom(64)
        server.settimeout(rig_module.WAIT_SECONDS)
        assert call_udp(server, None, "127.0.0.1", number) == "127.0.0.1"


@pytest.mark.skipif(
    tuple(map(int, os.uname().release.split(".")[:2])) < (6, 8), reason="needs rtnl_getlink of Linux 6.8"
)
async def test_the_way_is_open_when_attach_returns(rig: Rig, service: NetworkService) -> None:
    """Else a quick program's first packet is lost, and repeated after a second only."""
    for _ in range(10):
        await attach(service, A)
        (veth,) = ports_of(rig)
        carrier = [Path("/sys/class/net", name, "operstate").read_text() for name in (veth, rig.bridge)]
        assert carrier == ["up\n", "up\n"]
        assert Path("/sys/class/net", veth, "brport/state").read_text() == "3\n"  # forwarding
        await service.detach(A)
        await service.settle()  # the last port goes, and the bridge's carrier with it


# What a container gets


async def test_addresses_come_in_sequence_and_the_mac_says_the_address(
    rig: Rig, service: NetworkService
) -> None:
    base = rig.subnet.ip
    found = [await attach(service, identity) for identity in (A, B)]
    assert [sandbox.ip for sandbox in found] == [str(base + 1), str(base + 2)]
    assert found[0].mac == "02:42:" + (base + 1).packed.hex(":")
    assert (found[0].gateway, found[0].prefix_length) == (str(base), 24)


async def test_a_chosen_mac_is_the_devices(service: NetworkService) -> None:
    sandbox = await service.attach(A, mode="bridge", hostname="h", ports={}, mac="02:11:22:33:44:55")
    assert sandbox.mac == "02:11:22:33:44:55"
    assert _eth0(path_of(sandbox)).mac == "02:11:22:33:44:55"


async def test_the_device_has_the_mtu_of_the_hosts_way_out(service: NetworkService) -> None:
    sandbox = await attach(service, A)
    with Netlink() as nl:
        assert _eth0(path_of(sandbox)).mtu == links.default_route_mtu(nl)


async def test_none_has_loopback_only(service: NetworkService) -> None:
    sandbox = await attach(service, A, port(80, rig_module.free_port()), mode="none")
    assert (sandbox.network, sandbox.ip, sandbox.ports) == ("none", "", ())
    assert [(link.name, link.up) for link in _links_in(path_of(sandbox))] == [("lo", True)]


async def test_host_is_the_engines_own_namespace(service: NetworkService) -> None:
    sandbox = await attach(service, A, mode="host")
    assert (sandbox.netns_path, sandbox.network, sandbox.ip) == (None, "host", "")


async def test_a_container_can_join_another_ones_network(service: NetworkService) -> None:
    first = await attach(service, A)
    joined = await attach(service, B, mode=f"container:{A}")
    assert joined.netns_path == first.netns_path
    assert (joined.network, joined.ip, joined.key) == ("", "", "")
    await service.detach(A)
    assert service.sandbox(B).netns_path == first.netns_path  # type: ignore[union-attr]


async def test_joining_a_container_that_has_no_network_is_a_conflict(service: NetworkService) -> None:
    with pytest.raises(Conflict, match="cannot join network of a non running container"):
        await attach(service, B, mode=f"container:{A}")


async def test_attaching_twice_is_a_conflict_and_leaves_the_first(service: NetworkService) -> None:
    first = await attach(service, A)
    with pytest.raises(Conflict):
        await attach(service, A)
    assert service.sandbox(A) == first


async def test_an_unknown_network_is_not_found(service: NetworkService) -> None:
    with pytest.raises(NotFound, match="network elsewhere not found"):
        await attach(service, A, mode="elsewhere")


async def test_a_group_mac_is_refused(service: NetworkService) -> None:
    with pytest.raises(InvalidParameter, match="group address"):
        await service.attach(A, mode="bridge", hostname="h", ports={}, mac="01:00:5e:00:00:01")


async def test_events_and_inspect_tell_who_is_attached(rig: Rig, service: NetworkService) -> None:
    sandbox = await attach(service, A)
    member = service.inspect("bridge")["Containers"][A]
    assert member == {
        "Name": "name-1",
        "EndpointID": sandbox.endpoint_id,
        "MacAddress": sandbox.mac,
        "IPv4Address": f"{sandbox.ip}/24",
        "IPv6Address": "",
    }
    await service.detach(A)
    assert service.inspect("bridge")["Containers"] == {}
    about = {"container": A, "name": "bridge", "type": "bridge"}
    assert rig.events == [
        ("network", "connect", sandbox.network_id, about),
        ("network", "disconnect", sandbox.network_id, about),
    ]


# Host ports


async def test_a_port_of_another_container_is_a_conflict_in_dockers_words(
    rig: Rig, service: NetworkService
) -> None:
    number = rig_module.free_port()
    await attach(service, A, port(80, number))
    with pytest.raises(Conflict) as caught:
        await attach(service, B, port(80, number))
    assert "driver failed programming external connectivity on endpoint name-2 (" in str(caught.value)
    assert str(caught.value).endswith(f"Bind for 0.0.0.0:{number} failed: port is already allocated")
    assert service.sandbox(B) is None
    # Nothing of the refused one is left: the next address is the next one.
    assert (await attach(service, B)).ip == str(rig.subnet.ip + 2)


async def test_a_port_of_another_program_is_a_conflict(service: NetworkService) -> None:
    number = rig_module.free_port()
    with (
        rig_module.tcp_server(None, number, "127.0.0.1"),
        pytest.raises(Conflict, match=f"0.0.0.0:{number}/tcp: address already in use"),
    ):
        await attach(service, A, port(80, number))
    assert (await attach(service, A, port(80, number))).ports[0].host_port == number


async def test_a_published_port_is_taken_for_other_programs(service: NetworkService) -> None:
    tcp, udp = rig_module.free_port(), rig_module.free_port()
    await attach(service, A, port(80, tcp), port(80, udp, protocol="udp"))
    with pytest.raises(OSError, match="in use"), rig_module.tcp_server(None, tcp):
        pass
    with pytest.raises(OSError, match="in use"), rig_module.udp_server(None, udp):
        pass


async def test_a_detached_containers_port_is_free_at_once(service: NetworkService) -> None:
    number = rig_module.free_port()
    await attach(service, A, port(80, number))
    await service.detach(A)
    with rig_module.tcp_server(None, number) as server:
        assert call(server, None, "127.0.0.1", number) == "127.0.0.1"
    assert (await attach(service, B, port(80, number))).ports[0].host_port == number


async def test_port_0_picks_free_ports_in_the_kernels_range(service: NetworkService) -> None:
    sandbox = await attach(service, A, port(80), port(81))
    first, last = (int(word) for word in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    numbers = [binding.host_port for binding in sandbox.ports if ":" not in binding.host_ip]
    assert len(set(numbers)) == 2
    assert all(first <= number <= last for number in numbers)
    with rig_module.tcp_server(path_of(sandbox), 81) as server:
        assert call(server, None, "127.0.0.1", numbers[1])


async def test_a_range_gives_its_first_free_port(service: NetworkService) -> None:
    number = rig_module.free_port()
    with rig_module.tcp_server(None, number):
        sandbox = await attach(service, A, PortBinding("", number, 80, "tcp", number + 5))
    assert number < sandbox.ports[0].host_port <= number + 5


async def test_a_udp_client_that_talks_on_meets_whoever_has_the_port_now(service: NetworkService) -> None:
    """One socket, so one flow for the kernel: before the port is published, and over two containers."""
    number = rig_module.free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"too early", ("127.0.0.1", number))
        for identity in (A, B):
            sandbox = await attach(service, identity, port(53, number, protocol="udp"))
            with rig_module.udp_server(path_of(sandbox), 53) as server:
                client.sendto(identity.encode(), ("127.0.0.1", number))
                assert server.recvfrom(128)[0] == identity.encode()
            await service.detach(identity)


async def test_flows_to_a_container_are_forgotten_and_no_others(service: NetworkService) -> None:
    number, other = rig_module.free_port(), rig_module.free_port()
    one, two = await attach(service, A, port(80, number)), await attach(service, B, port(80, other))
    with (
        rig_module.tcp_server(path_of(one), 80) as server,
        rig_module.tcp_server(path_of(two), 80) as second,
    ):
        call(server, None, "127.0.0.1", number)
        call(second, None, "127.0.0.1", other)
    address = ipaddress.IPv4Address(one.ip)
    assert conntrack.forget_target(address) == 1
    assert conntrack.forget_target(address) == 0
    assert conntrack.forget_target(ipaddress.IPv4Address(two.ip)) == 1


# Looking


def _links_in(path: str) -> list[links.Link]:
    def look() -> list[links.Link]:
        with Netlink() as nl:
            return links.all_links(nl)

    found: list[links.Link] = in_namespace(path, look)
    return found


def _eth0(path: str) -> links.Link:
    (found,) = [link for link in _links_in(path) if link.name == "eth0"]
    return found
