"""Networks of users, with a native engine and the real docker command."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import leaks
import pytest
from docker_command import docker, refused
from native_engine import IMAGE, NativeEngine
from user_networks import CURL, fetched, inside, network, networks_of, reaches, run, wait_for

pytestmark = pytest.mark.root


# Making and removing


def test_a_network_is_made_with_what_was_asked_and_shown_in_dockers_fields(
    engine: NativeEngine, docker_cli: str
) -> None:
    made = docker(
        engine, "network", "create", "--subnet", "10.251.0.0/16", "--ip-range", "10.251.5.0/24",
        "--gateway", "10.251.5.254", "--aux-address", "router=10.251.5.1", "--label", "a=b", "--attachable",
        "-o", "com.docker.network.bridge.name=wtown0", "--opt", "com.docker.network.driver.mtu=1400", "own",
    )  # fmt: skip
    found = network(engine, "own")
    assert found["Id"] == made
    assert found["IPAM"]["Config"] == [
        {
            "Subnet": "10.251.0.0/16",
            "IPRange": "10.251.5.0/24",
            "Gateway": "10.251.5.254",
            "AuxiliaryAddresses": {"router": "10.251.5.1"},
        }
    ]
    assert (found["Labels"], found["Attachable"], found["Internal"]) == ({"a": "b"}, True, False)
    run(engine, "one", "--network", "own")
    # The first of the range is the router's, as the user said.
    assert networks_of(engine, "one")["own"]["IPAddress"] == "10.251.5.0"
    assert Path("/sys/class/net/wtown0/mtu").read_text().strip() == "1400"
    assert inside(engine, "one", "cat", "/sys/class/net/eth0/mtu") == "1400"
    docker(engine, "rm", "-f", "one")
    assert docker(engine, "network", "rm", "own") == "own"
    assert not Path("/sys/class/net/wtown0").exists()


def test_names_are_unique_and_the_predefined_ones_protected(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "network", "create", "own")
    assert "network with name own already exists" in refused(engine, "network", "create", "own")
    assert "operation is not permitted on predefined bridge network" in refused(
        engine, "network", "create", "bridge"
    )
    assert "bridge is a pre-defined network and cannot be removed" in refused(
        engine, "network", "rm", "bridge"
    )
    assert "network none-such not found" in refused(engine, "network", "inspect", "none-such")


def test_a_network_with_containers_is_neither_removed_nor_pruned(
    engine: NativeEngine, docker_cli: str
) -> None:
    for name in ("used", "unused", "kept"):
        docker(engine, "network", "create", "--label", f"is={name}", name)
    run(engine, "one", "--network", "used")
    assert "has active endpoints" in refused(engine, "network", "rm", "used")
    printed = docker(engine, "network", "prune", "-f", "--filter", "label!=is=kept")
    assert printed.splitlines() == ["Deleted Networks:", "unused"]
    assert docker(engine, "network", "ls", "--format", "{{.Name}}", "--filter", "type=custom").split() == [
        "kept",
        "used",
    ]


def test_a_network_has_its_configuration_from_another(engine: NativeEngine, docker_cli: str) -> None:
    own = (
        "--subnet",
        "10.252.9.0/24",
        "--ip-range",
        "10.252.9.64/26",
        "-o",
        "com.docker.network.driver.mtu=1400",
    )
    docker(engine, "network", "create", "--config-only", *own, "--label", "a=b", "conf")
    said = refused(engine, "run", "--rm", "--network", "conf", IMAGE, "true")
    assert "cannot create endpoint on configuration-only network" in said
    engine.restart()
    docker(engine, "network", "create", "--config-from", "conf", "own")
    shown = network(engine, "own")
    assert shown["ConfigFrom"] == {"Network": "conf"}
    assert shown["IPAM"]["Config"][0]["Subnet"] == "10.252.9.0/24"
    assert (shown["Options"], shown["Labels"]) == ({"com.docker.network.driver.mtu": "1400"}, {"a": "b"})
    run(engine, "aa", "--network", "own")
    assert inside(engine, "aa", "cat", "/sys/class/net/eth0/mtu") == "1400"
    assert networks_of(engine, "aa")["own"]["IPAddress"] == "10.252.9.64"
    assert 'configuration network "conf" is in use' in refused(engine, "network", "rm", "conf")
    docker(engine, "rm", "-f", "aa")
    docker(engine, "network", "rm", "own", "conf")


def test_subnets_come_from_dockers_pools_and_never_overlap(engine: NativeEngine, docker_cli: str) -> None:
    found = set()
    for number in range(3):
        docker(engine, "network", "create", f"n{number}")
        found.add(network(engine, f"n{number}")["IPAM"]["Config"][0]["Subnet"])
    assert len(found) == 3
    assert all(subnet.startswith(("172.", "192.168.")) for subnet in found)
    taken = next(iter(found))
    assert "Pool overlaps with other one on this address space" in refused(
        engine, "network", "create", "--subnet", taken, "again"
    )
    own = engine.subnet.rpartition(".")[0]
    assert "Pool overlaps" in refused(engine, "network", "create", "--subnet", f"{own}.0/25", "again")


def test_a_subnet_that_the_host_has_a_route_to_is_left_alone(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "network", "create", "first")
    subnet = network(engine, "first")["IPAM"]["Config"][0]["Subnet"]
    docker(engine, "network", "rm", "first")
    subprocess.run(["ip", "route", "add", "blackhole", subnet], check=True)
    try:
        docker(engine, "network", "create", "second")
        assert network(engine, "second")["IPAM"]["Config"][0]["Subnet"] != subnet
    finally:
        subprocess.run(["ip", "route", "del", "blackhole", subnet], check=True)


# Traffic


def test_networks_are_isolated_from_each_other_and_from_the_default(
    engine: NativeEngine, docker_cli: str
) -> None:
    docker(engine, "network", "create", "left")
    docker(engine, "network", "create", "right")
    run(engine, "aa", "--network", "left")
    run(engine, "bb", "--network", "left")
    run(engine, "cc", "--network", "right")
    run(engine, "dd")
    address = {
        name: next(iter(networks_of(engine, name).values()))["IPAddress"] for name in ("aa", "bb", "cc", "dd")
    }
    assert reaches(engine, "aa", address["bb"])
    assert not reaches(engine, "aa", address["cc"])
    assert not reaches(engine, "aa", address["dd"])
    assert not reaches(engine, "dd", address["aa"])


def test_an_internal_network_has_no_way_out_and_no_ports(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "network", "create", "--internal", "inner")
    docker(engine, "network", "create", "outer")
    run(engine, "aa", "--network", "inner", "-p", "80")
    run(engine, "bb", "--network", "inner")
    run(engine, "cc", "--network", "outer")
    assert "default" not in inside(engine, "aa", "ip", "route")
    assert reaches(engine, "aa", "bb")
    assert docker(engine, "port", "aa") == ""
    target = networks_of(engine, "cc")["outer"]["IPAddress"]
    # Also with a route of its own making.
    gateway = network(engine, "inner")["IPAM"]["Config"][0]["Gateway"]
    docker(engine, "exec", "--privileged", "aa", "ip", "route", "add", "default", "via", gateway)
    assert not reaches(engine, "aa", target)


def test_without_inter_container_traffic_only_the_way_out_is_open(
    engine: NativeEngine, docker_cli: str
) -> None:
    docker(engine, "network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "apart")
    run(engine, "aa", "--network", "apart")
    run(engine, "bb", "--network", "apart")
    gateway = network(engine, "apart")["IPAM"]["Config"][0]["Gateway"]
    assert reaches(engine, "aa", gateway)
    assert not reaches(engine, "aa", networks_of(engine, "bb")["apart"]["IPAddress"])


def test_a_published_port_on_a_users_network_is_reached_from_the_host_and_another_network(
    engine: NativeEngine, docker_cli: str
) -> None:
    docker(engine, "network", "create", "own")
    docker(engine, "network", "create", "other")
    serve = ("sh", "-c", "echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp")
    run(engine, "web", "--network", "own", "-p", "80", command=serve)
    run(engine, "client", "--network", "other")
    host_port = docker(engine, "port", "web", "80").partition(":")[2].splitlines()[0]
    gateway = network(engine, "other")["IPAM"]["Config"][0]["Gateway"]
    wait_for(lambda: subprocess.run([*CURL, f"http://127.0.0.1:{host_port}/"], check=False).returncode == 0)
    assert "hello" in fetched(engine, "client", gateway, int(host_port))


# Addresses


def test_a_fixed_address_is_given_and_refused_in_dockers_words(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "network", "create", "--subnet", "10.252.7.0/24", "own")
    docker(engine, "network", "create", "auto")
    run(engine, "aa", "--network", "own", "--ip", "10.252.7.77", "--mac-address", "02:42:0a:00:00:99")
    found = networks_of(engine, "aa")["own"]
    assert (found["IPAddress"], found["IPAMConfig"]) == ("10.252.7.77", {"IPv4Address": "10.252.7.77"})
    assert found["MacAddress"] == "02:42:0a:00:00:99"
    assert "10.252.7.77/24" in inside(engine, "aa", "ip", "addr", "show", "eth0")
    cases = [
        (("--network", "own", "--ip", "10.252.7.77"), "Address already in use"),
        (("--network", "own", "--ip", "10.9.9.9"), "no configured subnet"),
        (
            ("--network", "auto", "--ip", "172.18.0.9"),
            "only when connecting to networks with user configured",
        ),
        (("--ip", "172.18.0.9"), "supported on user-defined networks only"),
        (("--network-alias", "x"), "network-scoped aliases are only supported for user-defined networks"),
    ]
    for options, words in cases:
        assert words.lower() in refused(engine, "run", "-d", "--name", "no", *options, IMAGE).lower(), options
        engine.remove("no")


# Names, as far as the container sees them (test_networks_names.py asks the resolver itself)


def looked_up(engine: NativeEngine, name: str, wanted: str) -> str:
    """The last address that nslookup prints; "" for an unknown name."""
    done = engine.docker("exec", name, "nslookup", wanted)
    lines = [line for line in done.stdout.decode().splitlines() if line.startswith("Address:")]
    return lines[-1].split()[1] if done.returncode == 0 and len(lines) > 1 else ""


def test_a_renamed_container_is_found_by_its_new_name_only(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "network", "create", "--internal", "own")
    run(engine, "aa", "--network", "own")
    run(engine, "bb", "--network", "own")
    address = networks_of(engine, "bb")["own"]["IPAddress"]
    assert looked_up(engine, "aa", "bb") == address
    docker(engine, "rename", "bb", "new")
    assert looked_up(engine, "aa", "new") == address
    assert looked_up(engine, "aa", "bb") == ""
    assert networks_of(engine, "new")["own"]["DNSNames"][0] == "new"


def test_dns_options_and_added_hosts_are_in_the_containers_files(
    engine: NativeEngine, docker_cli: str
) -> None:
    docker(engine, "network", "create", "own")
    run(
        engine, "aa", "--network", "own", "--dns", "192.0.2.53", "--dns-search", "example.org", "--dns-opt",
        "ndots:2", "--add-host", "db:192.0.2.9", "--add-host", "me:host-gateway", "--hostname", "web",
        "--domainname", "example.org",
    )  # fmt: skip
    resolv = inside(engine, "aa", "cat", "/etc/resolv.conf").splitlines()
    assert resolv[1:] == ["nameserver 127.0.0.11", "search example.org", "options ndots:2"]
    gateway = network(engine, "own")["IPAM"]["Config"][0]["Gateway"]
    address = networks_of(engine, "aa")["own"]["IPAddress"]
    hosts = inside(engine, "aa", "cat", "/etc/hosts").splitlines()
    assert hosts[-4:] == [
        "192.0.2.9\tdb",
        f"{gateway}\tme",
        f"{gateway}\thost.docker.internal",
        f"{address}\tweb.example.org web",
    ]
    assert looked_up(engine, "aa", "host.docker.internal") == gateway
    assert reaches(engine, "aa", "me")


def test_a_container_that_exposes_port_53_may_listen_there(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "network", "create", "own")
    run(engine, "dns", "--network", "own", "--expose", "53", command=("nc", "-l", "-p", "53"))
    wait_for(lambda: ":53 " in inside(engine, "dns", "netstat", "-ltn"))
    assert looked_up(engine, "dns", "dns") == networks_of(engine, "dns")["own"]["IPAddress"]


# Restart


def test_networks_connections_and_names_survive_a_kill_of_the_engine(
    fresh_engine: NativeEngine, docker_cli: str
) -> None:
    engine = fresh_engine
    docker(engine, "network", "create", "--subnet", "10.253.4.0/24", "own")
    docker(engine, "network", "create", "other")
    serve = ("sh", "-c", "echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp")
    run(engine, "web", "--network", "own", "--network-alias", "www", "-p", "80", command=serve)
    docker(engine, "network", "connect", "other", "web")
    run(engine, "client", "--network", "own")
    before = engine.inspect("web")["NetworkSettings"]
    described = network(engine, "own")
    engine.kill()
    # The rules, the addresses and the bridge do not need the engine.
    engine.start()
    assert engine.inspect("web")["NetworkSettings"] == before
    assert network(engine, "own") == described
    assert reaches(engine, "client", "www")
    assert "hello" in fetched(engine, "client", before["Networks"]["own"]["IPAddress"], 80)
    run(engine, "third", "--network", "own")
    assert networks_of(engine, "third")["own"]["IPAddress"] == "10.253.4.4"
    docker(engine, "network", "disconnect", "own", "web")
    assert list(networks_of(engine, "web")) == ["other"]


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    with leaks.none_left("br-"):
        yield


def test_networks_and_their_containers_leave_nothing(
    nothing_left: None, fresh_engine: NativeEngine, docker_cli: str
) -> None:
    engine = fresh_engine
    names = [f"n{number}" for number in range(4)]
    for name in names:
        docker(engine, "network", "create", name)
    for number in range(6):
        run(engine, f"c{number}", "--network", names[number % 4], "-p", "80")
        docker(engine, "network", "connect", names[(number + 1) % 4], f"c{number}")
    engine.kill()
    engine.start()
    with leaks.none_left(engine.name):
        engine.remove_containers()
        engine.remove_networks()
    links = json.loads(
        subprocess.run(["ip", "-j", "link"], check=True, capture_output=True, text=True).stdout
    )
    assert [link["ifname"] for link in links if link.get("master") == engine.bridge] == []
    assert (
        list((engine.exec_root / "netns").glob("*")) == []
        or len(list((engine.exec_root / "netns").glob("*"))) <= 2
    )  # those that are kept ready
