"""The pure parts of networks: addresses, rules, records, descriptions, a container's two files."""

import contextlib
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherryd.errors import InvalidParameter, NotFound, SystemFault
from wherryd.metadata.database import Database
from wherryd.networks import hosts, resolv, rules
from wherryd.networks.bridge import check_name, new_veth_name
from wherryd.networks.catalog import BridgeFacts, NetworkCatalog, document
from wherryd.networks.endpoint import Endpoint, EndpointStore, SandboxRecord
from wherryd.networks.ipam import AddressPool, mac_of
from wherryd.networks.rules import PublishedPort
from wherryd.networks.sandbox import PortBinding
from wherryd.networks.views import attachment_of, sandbox_of

SUBNET = ipaddress.IPv4Interface("192.0.2.1/29")
IP = ipaddress.IPv4Address
ANY = "0.0.0.0"  # noqa: S104


# ipam


def test_addresses_come_in_sequence_without_network_gateway_and_broadcast() -> None:
    pool = AddressPool(SUBNET)
    assert [str(pool.allocate()) for _ in range(5)] == [f"192.0.2.{last}" for last in range(2, 7)]


def test_a_full_subnet_says_so_and_what_to_do() -> None:
    pool = AddressPool(SUBNET)
    for _ in range(5):
        pool.allocate()
    with pytest.raises(SystemFault, match="no available IPv4 addresses.*192.0.2.0/29.*larger subnet"):
        pool.allocate()


def test_a_freed_address_is_the_last_to_be_used_again() -> None:
    pool = AddressPool(SUBNET)
    first = pool.allocate()
    pool.release(first)
    assert [pool.allocate() for _ in range(5)][-1] == first


def test_after_a_restart_the_next_address_follows_the_reserved_ones() -> None:
    pool = AddressPool(SUBNET)
    pool.reserve(IP("192.0.2.3"))
    assert pool.allocate() == IP("192.0.2.4")


def test_a_gateway_elsewhere_than_at_the_beginning_is_skipped_and_cannot_be_freed() -> None:
    pool = AddressPool(ipaddress.IPv4Interface("192.0.2.4/29"))
    pool.release(IP("192.0.2.4"))
    assert IP("192.0.2.4") not in {pool.allocate() for _ in range(5)}


@given(st.lists(st.booleans(), max_size=60))
def test_no_address_is_ever_given_to_two(steps: list[bool]) -> None:
    pool = AddressPool(SUBNET)
    held: list[ipaddress.IPv4Address] = []
    for take in steps:
        if take and len(held) < 5:
            address = pool.allocate()
            assert address not in held
            assert address in SUBNET.network
            held.append(address)
        elif held:
            pool.release(held.pop(0))


def test_the_mac_is_made_of_the_address() -> None:
    assert mac_of(IP("172.17.0.2")) == "02:42:ac:11:00:02"


# rules


TCP_ANY = PublishedPort("tcp", IP(ANY), 8080, IP("172.17.0.2"), 80)
UDP_AT = PublishedPort("udp", IP("127.0.0.1"), 53, IP("172.17.0.3"), 5353)


def test_a_port_on_every_address_and_one_on_a_single_address_are_in_different_maps() -> None:
    assert rules.add_ports("wherry0", [TCP_ANY, UDP_AT]) == (
        "add element ip wherry_wherry0 published { tcp . 8080 : 172.17.0.2 . 80 }\n"
        "add element ip wherry_wherry0 published_at { udp . 127.0.0.1 . 53 : 172.17.0.3 . 5353 }\n"
    )


def test_taking_a_port_back_names_its_key_only() -> None:
    assert rules.delete_ports("wherry0", [TCP_ANY, UDP_AT]) == (
        "delete element ip wherry_wherry0 published { tcp . 8080 }\n"
        "delete element ip wherry_wherry0 published_at { udp . 127.0.0.1 . 53 }\n"
    )


def test_the_whole_table_replaces_the_old_one_and_touches_no_other() -> None:
    script = rules.whole_table("wherry0", SUBNET.network, [TCP_ANY])
    first, second, *rest = script.splitlines()
    assert (first, second) == ("add table ip wherry_wherry0", "delete table ip wherry_wherry0")
    assert "flush" not in script
    assert [line for line in rest if "table" in line] == ["table ip wherry_wherry0 {"]
    assert rest[-1] == rules.add_ports("wherry0", [TCP_ANY]).strip()


def test_every_rule_but_the_host_wide_ones_names_the_bridge_or_its_subnet() -> None:
    """So two bridges do not act on each other's packets."""
    script = rules.whole_table("wherry0", SUBNET.network, [])
    forward = script[script.index("chain forward") :]
    acting = [line for line in forward.splitlines() if line.endswith(("accept", "drop", "masquerade"))]
    assert len(acting) == 7
    assert all('"wherry0"' in line for line in acting)


@pytest.mark.parametrize("name", ["", "a" * 16, 'x"; drop', "a b", "../x", "-x", "x/y", "wherry0\n"])
def test_a_bridge_name_that_could_be_more_than_a_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidParameter, match="--bridge"):
        check_name(name)


def test_device_names_fit_the_kernel() -> None:
    assert len(new_veth_name()) <= 15
    assert new_veth_name() != new_veth_name()


# records and descriptions


ENDPOINT = Endpoint(
    container_id="c" * 64,
    sandbox_id="5" * 64,
    network="bridge",
    endpoint_id="e" * 64,
    address="192.0.2.2",
    mac="02:42:c0:00:02:02",
    veth="veth0123456789",
    aliases=("db", "mysql"),
)
SANDBOX = SandboxRecord(
    container_id="c" * 64,
    sandbox_id="5" * 64,
    mode="bridge",
    hostname="web",
    wanted=(PortBinding("", 0, 80, "tcp"),),
    ports=(PortBinding(ANY, 8080, 80, "tcp"),),
    dns=("192.0.2.53",),
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(Database(tmp_path / "wherry.db")) as opened:
        yield opened


def test_an_endpoint_comes_back_from_the_database_as_it_was(database: Database) -> None:
    store = EndpointStore(database)
    store.save(SANDBOX, ENDPOINT)
    assert (store.sandboxes(), store.endpoints()) == ([SANDBOX], [ENDPOINT])
    store.delete(ENDPOINT)
    assert (store.sandboxes(), store.endpoints()) == ([SANDBOX], [])
    store.save(SANDBOX, ENDPOINT)
    store.delete_all(SANDBOX.container_id)
    assert (store.sandboxes(), store.endpoints()) == ([], [])


def test_network_ids_stay_over_restarts(tmp_path: Path) -> None:
    lists = []
    for _ in range(2):
        with contextlib.closing(Database(tmp_path / "wherry.db")) as opened:
            lists.append(NetworkCatalog(opened).all())
    assert lists[0] == lists[1]
    assert [network.name for network in lists[0]] == ["bridge", "host", "none"]
    assert all(len(network.id) == 64 for network in lists[0])


def test_a_network_is_found_by_name_id_and_beginning_of_its_id(database: Database) -> None:
    catalog = NetworkCatalog(database)
    bridge = catalog.named("bridge")
    assert catalog.find("bridge") == catalog.find(bridge.id) == catalog.find(bridge.id[:32]) == bridge
    for wrong in ("", "nothing", bridge.id + "0"):
        with pytest.raises(NotFound, match="not found"):
            catalog.find(wrong)


def test_the_bridge_network_is_described_in_dockers_fields(database: Database) -> None:
    facts = BridgeFacts("wherry0", ipaddress.IPv4Interface("172.17.0.1/16"), 1500)
    found = document(NetworkCatalog(database).named("bridge"), facts, {})
    assert found["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]
    assert found["Options"]["com.docker.network.bridge.name"] == "wherry0"
    assert (found["Scope"], found["Driver"], found["EnableIPv4"]) == ("local", "bridge", True)
    none = document(NetworkCatalog(database).named("none"), facts, {})
    assert (none["Driver"], none["IPAM"]["Config"], none["Options"]) == ("null", [], {})


def test_a_sandbox_says_where_its_namespace_is(database: Database) -> None:
    network = NetworkCatalog(database).named("bridge")
    attachment = attachment_of(ENDPOINT, SANDBOX, network, (SUBNET, None), "web")
    sandbox = sandbox_of(SANDBOX, (attachment,), Path("/run/wherry/netns"), resolver=False)
    assert sandbox.netns_path == sandbox.key == "/run/wherry/netns/" + "5" * 12
    assert (sandbox.ip, sandbox.prefix_length, sandbox.gateway) == ("192.0.2.2", 29, "192.0.2.1")


# resolv.conf


def test_the_users_servers_replace_the_hosts() -> None:
    host = "nameserver 192.0.2.53\nsearch example.org\noptions ndots:2\n"
    text = resolv.resolv_conf(host, dns=["198.51.100.1"], search=["a.example", "b.example"])
    assert text.splitlines()[1:] == [
        "nameserver 198.51.100.1",
        "search a.example b.example",
        "options ndots:2",
    ]


def test_loopback_and_ipv6_servers_are_left_out_of_a_containers_file() -> None:
    host = "nameserver 127.0.0.53\nnameserver ::1\nnameserver 2001:db8::1\nnameserver 192.0.2.53 # x\n"
    assert resolv.parse(resolv.resolv_conf(host)).nameservers == ("192.0.2.53",)


def test_a_container_on_the_hosts_network_keeps_loopback_servers() -> None:
    text = resolv.resolv_conf("nameserver 127.0.0.53\n", host_network=True)
    assert resolv.parse(text).nameservers == ("127.0.0.53",)


def test_without_any_usable_server_the_public_ones_are_taken() -> None:
    for host in ("", "nameserver 127.0.0.53\n", "nameserver what\n"):
        assert resolv.parse(resolv.resolv_conf(host)).nameservers == resolv.FALLBACK_SERVERS


def test_a_dot_switches_search_off_and_comments_are_dropped() -> None:
    host = (
        "; note\n# note\ndomain example.org\nsearch example.com\nsortlist 192.0.2.0/24\nnameserver 192.0.2.53"
    )
    text = resolv.resolv_conf(host, search=["."])
    assert resolv.parse(text) == resolv.ResolvConf(("192.0.2.53",), (), (), ("sortlist 192.0.2.0/24",))
    assert resolv.parse(host).search == ("example.com",)


def test_the_stubs_own_file_is_read_where_the_host_has_only_a_stub(tmp_path: Path) -> None:
    stub, upstream = tmp_path / "resolv.conf", tmp_path / "upstream.conf"
    stub.write_text("nameserver 127.0.0.53\n")
    files = [tmp_path / "missing.conf", upstream]
    assert resolv.read_upstream(stub, files) == "nameserver 127.0.0.53\n"
    upstream.write_text("nameserver 192.0.2.53\n")
    assert resolv.read_upstream(stub, files) == "nameserver 192.0.2.53\n"
    stub.write_text("nameserver 127.0.0.1\nnameserver 198.51.100.1\n")
    assert "198.51.100.1" in resolv.read_upstream(stub, files)
    assert resolv.read_upstream(tmp_path / "no.conf", []) == ""


# hosts


def test_the_hosts_file_has_dockers_lines_then_extra_ones_then_its_own() -> None:
    text = hosts.hosts_file(
        addresses=["172.17.0.2"], hostname="web", domainname="example.org", extra=[("192.0.2.9", "db")]
    )
    assert text.splitlines()[0] == "127.0.0.1\tlocalhost"
    assert text.splitlines()[-2:] == ["192.0.2.9\tdb", "172.17.0.2\tweb.example.org web"]
    assert hosts.hosts_file(addresses=[], hostname="web").splitlines()[-1] == "ff02::2\tip6-allrouters"


def test_extra_hosts_know_the_gateway_and_ipv6() -> None:
    entries = ["db:192.0.2.9", "me:host-gateway", "six:[2001:db8::1]", "seven:2001:db8::2"]
    assert hosts.parse_extra_hosts(entries, host_gateway=["172.17.0.1"]) == (
        ("192.0.2.9", "db"),
        ("172.17.0.1", "me"),
        ("2001:db8::1", "six"),
        ("2001:db8::2", "seven"),
    )


@pytest.mark.parametrize("entry", ["db", ":192.0.2.1", "db:", "db:where", "a b:192.0.2.1", "x\ny:192.0.2.1"])
def test_a_bad_extra_host_is_refused(entry: str) -> None:
    with pytest.raises(InvalidParameter, match="add-host"):
        hosts.parse_extra_hosts([entry], host_gateway=["172.17.0.1"])


def test_host_gateway_without_a_gateway_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="host-gateway"):
        hosts.parse_extra_hosts(["me:host-gateway"], host_gateway=[])


def test_the_hosts_own_file_is_kept_and_added_to() -> None:
    assert hosts.host_network_hosts_file("127.0.0.1 localhost", [("192.0.2.9", "db")]) == (
        "127.0.0.1 localhost\n192.0.2.9\tdb\n"
    )
