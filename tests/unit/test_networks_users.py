"""The pure parts of users' networks: subnets, addresses, gateways, and what is kept of them."""

import contextlib
import ipaddress
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherryd.errors import Conflict, Forbidden, InvalidParameter, SystemFault
from wherryd.metadata.database import Database
from wherryd.metadata.schema import MIGRATIONS
from wherryd.networks import hosts, pools, request, resolv, rules
from wherryd.networks.catalog import BridgeFacts, NetworkCatalog, document
from wherryd.networks.endpoint import Endpoint, EndpointStore, SandboxRecord
from wherryd.networks.ipam import AddressPool
from wherryd.networks.members import dns_names, gateway_of
from wherryd.networks.rules import Policy
from wherryd.networks.settings import BridgeOptions, NetworkSettings

IP, NET = ipaddress.IPv4Address, ipaddress.IPv4Network
SUBNET = ipaddress.IPv4Interface("10.7.0.1/16")


# Subnets and addresses


def test_the_first_free_pool_is_taken_in_dockers_order() -> None:
    taken: list[ipaddress.IPv4Network] = []
    for _ in range(17):
        taken.append(pools.free_subnet(taken))
    assert [str(each) for each in taken[:3]] == ["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16"]
    assert [str(each) for each in taken[14:]] == ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]


def test_a_route_of_the_host_inside_a_pool_rules_it_out() -> None:
    assert str(pools.free_subnet([NET("172.17.42.0/24"), NET("172.16.0.0/13")])) == "172.24.0.0/16"


def test_no_pool_left_says_what_to_do() -> None:
    with pytest.raises(SystemFault, match=r"non-overlapping IPv4 address pool.*network prune"):
        pools.free_subnet([NET("0.0.0.0/0")])


def test_addresses_come_from_the_range_and_claimed_ones_from_the_whole_subnet() -> None:
    pool = AddressPool(SUBNET, NET("10.7.5.0/30"), [IP("10.7.5.1")])
    assert [str(pool.allocate()) for _ in range(3)] == ["10.7.5.0", "10.7.5.2", "10.7.5.3"]
    with pytest.raises(SystemFault):
        pool.allocate()
    pool.claim(IP("10.7.200.1"))
    for taken in ("10.7.200.1", "10.7.0.1", "10.7.5.1", "10.7.0.0", "10.7.255.255"):
        with pytest.raises(Forbidden, match="Address already in use"):
            pool.claim(IP(taken))
    with pytest.raises(InvalidParameter):
        pool.claim(IP("10.8.0.1"))


def test_what_is_reserved_is_never_given_back_to_somebody() -> None:
    pool = AddressPool(SUBNET, NET("10.7.5.0/31"), [IP("10.7.5.1")])
    pool.release(IP("10.7.5.1"))
    assert str(pool.allocate()) == "10.7.5.0"
    with pytest.raises(SystemFault):
        pool.allocate()


# Gateways and names


def endpoint(network: str, priority: int = 0, *, address: str = "10.0.0.2") -> Endpoint:
    return Endpoint(
        container_id="c" * 64, sandbox_id="5" * 64, network=network, address=address, gw_priority=priority
    )


@pytest.mark.parametrize(
    ("endpoints", "chosen"),
    [
        ([endpoint("b"), endpoint("a")], "a"),
        ([endpoint("b", 1), endpoint("a")], "b"),
        ([endpoint("a", -1), endpoint("b")], "b"),
        ([endpoint("internal", 9), endpoint("z")], "z"),
        ([endpoint("internal")], None),
        ([endpoint("none", address="")], None),
    ],
)
def test_the_gateway_is_of_the_highest_priority_then_the_first_name(
    endpoints: list[Endpoint], chosen: str | None
) -> None:
    found = gateway_of(endpoints, lambda network: network == "internal")
    assert (found.network if found else None) == chosen


def test_a_container_is_called_by_each_name_once() -> None:
    sandbox = SandboxRecord(container_id="c" * 64, sandbox_id="5" * 64, mode="own", hostname="web")
    given = Endpoint(container_id="c" * 64, sandbox_id="5" * 64, network="own", aliases=("www", "web"))
    assert dns_names(given, sandbox, "web") == ("web", "www", "c" * 12)


# Rules


def test_an_internal_network_drops_both_ways_before_anything_is_accepted() -> None:
    script = rules.whole_table("br-x", SUBNET.network, [], Policy(internal=True))
    forward = script[script.index("chain forward") : script.index("chain postrouting")].splitlines()
    assert [line.strip() for line in forward[2:4]] == [
        'iifname "br-x" oifname != "br-x" drop',
        'oifname "br-x" iifname != "br-x" drop',
    ]
    assert f"ip saddr {SUBNET.network} oifname !=" not in script


def test_without_icc_or_masquerading_their_rules_are_missing() -> None:
    plain = rules.whole_table("br-x", SUBNET.network, [])
    assert 'iifname "br-x" oifname "br-x" accept' in plain
    script = rules.whole_table("br-x", SUBNET.network, [], Policy(icc=False, masquerade=False))
    assert 'iifname "br-x" oifname "br-x" accept' not in script
    assert f'ip saddr {SUBNET.network} oifname != "br-x" masquerade' not in script


# What is kept


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(Database(tmp_path / "wherry.db")) as opened:
        yield opened


def test_a_network_comes_back_from_the_database_as_it_was(database: Database) -> None:
    settings = NetworkSettings(
        interface="10.7.0.9/16",
        user_subnet=True,
        ip_range="10.7.5.0/24",
        auxiliary={"router": "10.7.5.1"},
        bridge=BridgeOptions(device="own0", mtu=1400, icc=False),
        internal=True,
        labels={"a": "b"},
        options={"com.docker.network.driver.mtu": "1400"},
    )
    made = NetworkCatalog(database).add("own", "1" * 64, settings)
    again = NetworkCatalog(database)
    assert again.named("own") == made
    assert made.device == "own0"
    found = document(made, BridgeFacts("wherry0", SUBNET, 1500), {})
    assert found["IPAM"]["Config"] == [
        {
            "Subnet": "10.7.0.0/16",
            "IPRange": "10.7.5.0/24",
            "Gateway": "10.7.0.9",
            "AuxiliaryAddresses": {"router": "10.7.5.1"},
        }
    ]
    with pytest.raises(Conflict, match="network with name own already exists"):
        again.add("own", "2" * 64, settings)
    again.delete(made)
    assert [network.name for network in NetworkCatalog(database).all()] == ["bridge", "host", "none"]


def test_a_device_is_named_after_the_networks_id() -> None:
    parsed = request.parse({"Name": "own"})
    assert (parsed.ipv4.subnet, parsed.bridge) == (None, BridgeOptions())


def test_endpoints_of_an_older_engine_become_sandboxes(tmp_path: Path) -> None:
    """What schema 5 kept in one record is in two tables now."""
    path = tmp_path / "wherry.db"
    old = sqlite3.connect(path)
    for statements in MIGRATIONS[:5]:
        for statement in statements:
            old.execute(statement)
    port = '{"host_ip":"0.0.0.0","host_port":8080,"container_port":80,"protocol":"tcp","host_port_last":0}'
    record = (
        '{"container_id":"c1","sandbox_id":"5","mode":"bridge","network":"bridge","hostname":"web",'
        f'"address":"172.17.0.2","mac":"02:42:ac:11:00:02","veth":"veth1","ports":[{port}]}}'
    )
    old.execute("INSERT INTO endpoints VALUES ('c1', 'bridge', ?)", (record,))
    joined = (
        '{"container_id":"c2","sandbox_id":"5","mode":"container:c1","network":"","hostname":"x","ports":[]}'
    )
    old.execute("INSERT INTO endpoints VALUES ('c2', '', ?)", (joined,))
    old.execute("PRAGMA user_version = 5")
    old.commit()
    old.close()
    with contextlib.closing(Database(path)) as database:
        store = EndpointStore(database)
        first, second = store.sandboxes()
        (kept,) = store.endpoints()
    assert (first.hostname, first.ports[0].host_port, second.mode) == ("web", 8080, "container:c1")
    assert (kept.address, kept.veth, kept.device) == ("172.17.0.2", "veth1", "eth0")


# The container's files


def test_own_lines_go_and_others_stay() -> None:
    text = "127.0.0.1\tlocalhost\n10.7.0.2\tweb\n10.7.0.2 mine\n10.8.0.2\tweb.example web\nlast"
    assert hosts.without(text, {"10.7.0.2", "10.8.0.2"}, "web") == (
        "127.0.0.1\tlocalhost\n10.7.0.2 mine\nlast\n"
    )


def test_the_embedded_resolvers_file_keeps_domains_and_options() -> None:
    upstream = "nameserver 192.0.2.53\nsearch example.org\noptions edns0 ndots:3\n"
    lines = resolv.embedded_conf(upstream).splitlines()[1:]
    assert lines == ["nameserver 127.0.0.11", "search example.org", "options edns0 ndots:0"]
    lines = resolv.embedded_conf(upstream, search=["."], options=["ndots:2"]).splitlines()[1:]
    assert lines == ["nameserver 127.0.0.11", "options ndots:2"]
