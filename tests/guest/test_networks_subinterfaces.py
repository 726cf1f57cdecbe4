"""macvlan and ipvlan networks on a parent of the test's own: one end of a veth pair whose other end is
another machine."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networks_fixtures
import pytest
from native_engine import IMAGE, NativeEngine
from networks_rig import MARK, Rig, call, container_id, path_of, port, publish, tcp_server

from wherryd.errors import Forbidden, InvalidParameter, NotSupported
from wherryd.networks import links, namespaces, sublinks
from wherryd.networks.netlink import Netlink
from wherryd.networks.sandbox import EndpointWish
from wherryd.networks.service import NetworkService

pytestmark = pytest.mark.root

rig = networks_fixtures.rig
service = networks_fixtures.service

A, B = container_id(1), container_id(2)
PARENT = f"wp{MARK}"
_OCTET = os.getpid() % 250
LAN = f"10.188.{_OCTET}"


def kernel_has(kind: str) -> bool:
    with Netlink() as nl:
        lo = links.find(nl, "lo")
        assert lo is not None
        name = f"wk{MARK}"
        try:
            if kind == "dummy":
                sublinks.create_dummy(nl, name)
            elif kind == "vlan":
                sublinks.create_vlan(nl, name, below=lo, vlan_id=5)
            else:
                sublinks.create_ipvlan(nl, name, parent=lo, mode="l2", flag="bridge", mtu=1500)
        except Exception as fault:  # a kernel without it says EOPNOTSUPP, one with it may dislike lo
            return "Operation not supported" not in str(fault)
        links.delete(nl, name)
    return True


@pytest.fixture
def router(tmp_path: Path) -> Iterator[str]:
    """The path of the other machine's namespace. It has LAN.1, and 192.0.2.1 behind itself."""
    directory = tmp_path / "router"
    directory.mkdir()
    with Netlink() as nl, contextlib.ExitStack() as undo:
        namespace = namespaces.create(directory)
        undo.callback(directory.rmdir)
        undo.callback(namespaces.remove, namespace.path)
        undo.callback(links.delete, nl, PARENT)
        with contextlib.closing(namespace):
            subprocess.run(
                ["ip", "link", "add", PARENT, "type", "veth", "peer", "name", f"wq{MARK}"], check=True
            )
            subprocess.run(["ip", "link", "set", f"wq{MARK}", "netns", str(namespace.path)], check=True)
            enter = ["nsenter", f"--net={namespace.path}", "ip"]
            subprocess.run([*enter, "addr", "add", f"{LAN}.1/24", "dev", f"wq{MARK}"], check=True)
            subprocess.run([*enter, "addr", "add", "192.0.2.1/32", "dev", "lo"], check=True)
            subprocess.run([*enter, "link", "set", f"wq{MARK}", "up"], check=True)
            subprocess.run(["ip", "link", "set", PARENT, "up"], check=True)
        yield str(namespace.path)


def body(driver: str = "macvlan", **options: str) -> dict[str, Any]:
    return {
        "Name": "lan",
        "Driver": driver,
        "Options": {"parent": PARENT, **options},
        "IPAM": {"Config": [{"Subnet": f"{LAN}.0/24", "Gateway": f"{LAN}.1", "IPRange": f"{LAN}.128/25"}]},
    }


async def join(service: NetworkService, container: str, **wish: Any) -> str:
    wishes = [EndpointWish(network="lan", **wish)]
    return path_of(await service.attach(container, mode="lan", hostname="h", ports={}, endpoints=wishes))


async def test_containers_of_macvlan_are_machines_of_the_parents_network(
    service: NetworkService, router: str
) -> None:
    await service.create(body())
    first = await join(service, A)
    second = await join(service, B, ip=f"{LAN}.200", mac="02:57:00:00:00:42")
    found = service.inspect("lan")
    assert (found["Driver"], found["Options"]["parent"]) == ("macvlan", PARENT)
    assert found["Containers"][B]["MacAddress"] == "02:57:00:00:00:42"
    addresses = {each: found["Containers"][each]["IPv4Address"].partition("/")[0] for each in (A, B)}
    assert addresses[B] == f"{LAN}.200"
    with tcp_server(router, 80, "192.0.2.1") as server:
        # Through its gateway, with its own address: nothing translates.
        assert call(server, first, "192.0.2.1", 80) == addresses[A]
    with tcp_server(second, 80) as server:
        assert call(server, first, addresses[B], 80) == addresses[A]
        assert call(server, router, addresses[B], 80) == f"{LAN}.1"


async def test_private_containers_of_macvlan_do_not_reach_each_other(
    service: NetworkService, router: str
) -> None:
    await service.create(body(macvlan_mode="private"))
    first, second = await join(service, A), await join(service, B)
    with tcp_server(second, 80) as server:
        with pytest.raises(TimeoutError):
            call(server, first, service.sandbox(B).ip, 80)  # type: ignore[union-attr]
        call(server, router, service.sandbox(B).ip, 80)  # type: ignore[union-attr]


async def test_a_running_container_gets_and_loses_a_macvlan(service: NetworkService, router: str) -> None:
    await service.create(body())
    before = await service.attach(A, mode="bridge", hostname="h", ports=publish(port(80)))
    assert before.ports
    # "lan" sorts after "bridge": the default route and the ports stay, until it is asked to lead.
    joined = await service.connect(A, EndpointWish(network="lan", gw_priority=1))
    assert joined.ports == ()
    assert joined.gateway == f"{LAN}.1"
    with tcp_server(router, 80, "192.0.2.1") as server:
        assert call(server, path_of(joined), "192.0.2.1", 80) == joined.on("lan").ip  # type: ignore[union-attr]
    left = await service.disconnect(A, "lan")
    assert left.gateway == before.gateway
    assert [each.container_port for each in left.ports] == [80, 80]
    with tcp_server(router, 81) as server, pytest.raises(TimeoutError):
        call(server, path_of(left), f"{LAN}.1", 81)


async def test_a_restarted_engine_finds_its_macvlans_and_gives_no_address_twice(
    rig: Rig, service: NetworkService, router: str
) -> None:
    await service.create(body())
    first = await join(service, A)
    address = service.sandbox(A).ip  # type: ignore[union-attr]
    await service.close()
    again = rig.service()
    await again.open()
    assert again.sandbox(A).ip == address  # type: ignore[union-attr]
    second = await join(again, B)
    assert again.sandbox(B).ip != address  # type: ignore[union-attr]
    with tcp_server(first, 80) as server:
        call(server, second, address, 80)
    await again.detach(A)
    await again.detach(B)
    await again.settle()
    await again.remove("lan")
    with Netlink() as nl:
        assert links.find(nl, PARENT) is not None, "the parent is the user's"
    await again.close()


async def test_a_parent_that_is_not_there_and_a_mode_that_is_none_are_told(
    service: NetworkService, router: str
) -> None:
    with pytest.raises(Forbidden, match="parent device wnone is not there"):
        await service.create(body(parent="wnone"))
    with pytest.raises(InvalidParameter, match='unknown macvlan_mode "bridged"'):
        await service.create(body(macvlan_mode="bridged"))
    with pytest.raises(InvalidParameter, match="VLAN's id"):
        await service.create(body(parent=f"{PARENT}.5000"))
    await service.create(body())
    other = {"Name": "other", "Driver": "macvlan", "Options": {"parent": PARENT, "macvlan_mode": "passthru"}}
    with pytest.raises(Forbidden, match="network lan is already using parent interface"):
        await service.create(other)
    assert [each["Name"] for each in service.list()] == ["bridge", "host", "lan", "none"]


@pytest.mark.parametrize(
    ("kind", "driver", "options"),
    [
        ("ipvlan", "ipvlan", {}),
        ("dummy", "macvlan", {"parent": ""}),
        ("vlan", "macvlan", {"parent": f"{PARENT}.50"}),
    ],
)
async def test_a_kernel_without_the_kind_of_device_is_told_at_create(
    service: NetworkService, router: str, kind: str, driver: str, options: dict[str, str]
) -> None:
    if kernel_has(kind):
        pytest.skip(f"this kernel has {kind}")
    with pytest.raises(NotSupported, match=f"no {kind} devices"):
        await service.create(body(driver, **options))


@pytest.mark.parametrize("mode", ["l2", "l3"])
async def test_containers_of_ipvlan_share_the_parents_mac(
    service: NetworkService, router: str, mode: str
) -> None:
    if not kernel_has("ipvlan"):
        pytest.skip("this kernel has no ipvlan")
    await service.create(body("ipvlan", ipvlan_mode=mode))
    first, second = await join(service, A), await join(service, B)
    assert service.inspect("lan")["Containers"][A]["MacAddress"] == ""
    assert service.sandbox(A).gateway == (f"{LAN}.1" if mode == "l2" else "")  # type: ignore[union-attr]
    with tcp_server(second, 80) as server:
        call(server, first, service.sandbox(B).ip, 80)  # type: ignore[union-attr]
    with pytest.raises(InvalidParameter, match="custom mac"):
        service.check_wish(EndpointWish(network="lan", mac="02:57:00:00:00:42"))


async def test_a_vlan_below_is_made_and_goes_with_its_last_network(
    rig: Rig, service: NetworkService, router: str
) -> None:
    if not kernel_has("vlan"):
        pytest.skip("this kernel has no VLANs")
    await service.create(body(parent=f"{PARENT}.50"))
    await join(service, A)
    await service.detach(A)
    await service.settle()
    await service.remove("lan")
    with Netlink() as nl:
        assert links.find(nl, f"{PARENT}.50") is None
        assert links.find(nl, PARENT) is not None


def test_dockers_command_makes_one_and_is_told_that_ports_are_discarded(
    engine: NativeEngine, docker_cli: str, router: str
) -> None:
    made = engine.docker(
        "network", "create", "-d", "macvlan", "--subnet", f"{LAN}.0/24", "-o", f"parent={PARENT}", "lan"
    )
    assert made.returncode == 0, made.stderr
    started = engine.docker(
        "run", "-d", "--name", "mac", "--network", "lan", "-p", "80", IMAGE, "sleep", "600"
    )
    assert b"Published ports are discarded on a macvlan network" in started.stderr
    assert engine.inspect("mac")["NetworkSettings"]["Ports"] == {"80/tcp": None}
    assert engine.docker("exec", "mac", "ping", "-c", "1", "-W", "2", f"{LAN}.1").returncode == 0
    assert engine.docker("rm", "-f", "mac").returncode == 0
    assert engine.docker("network", "rm", "lan").returncode == 0


async def test_without_a_parent_nothing_leads_out(service: NetworkService, router: str) -> None:
    if not kernel_has("dummy"):
        pytest.skip("this kernel has no dummy devices")
    await service.create(body(parent=""))
    assert service.inspect("lan")["Internal"]
    first, second = await join(service, A), await join(service, B)
    with tcp_server(second, 80) as server:
        call(server, first, service.sandbox(B).ip, 80)  # type: ignore[union-attr]
    assert service.sandbox(A).gateway == ""  # type: ignore[union-attr]
