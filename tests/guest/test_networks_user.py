"""Networks of users, with a native engine and the real docker command."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import leaks
import pytest
from docker_command import docker, refused
from native_engine import IMAGE, NativeEngine

pytestmark = pytest.mark.root


def run(engine: NativeEngine, name: str, *options: str, command: tuple[str, ...] = ("sleep", "600")) -> str:
    return docker(engine, "run", "-d", "--name", name, *options, IMAGE, *command)


def inside(engine: NativeEngine, name: str, *command: str) -> str:
    return docker(engine, "exec", name, *command)


def networks_of(engine: NativeEngine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.inspect(name)["NetworkSettings"]["Networks"]
    return found


def reaches(engine: NativeEngine, name: str, address: str) -> bool:
    return engine.docker("exec", name, "ping", "-c", "1", "-W", "1", address).returncode == 0


def network(engine: NativeEngine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.call("GET", f"/networks/{name}").json
    return found


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
    wait_for(lambda: subprocess.run([*_curl, f"http://127.0.0.1:{host_port}/"], check=False).returncode == 0)
    assert "hello" in fetched(engine, "client", gateway, int(host_port))


def fetched(engine: NativeEngine, name: str, address: str, port: int) -> str:
    """A page, asked for from inside a container."""
    ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {address} {port}"
    return inside(engine, name, "sh", "-c", ask)


_curl = ["curl", "-sf", "-m", "3", "-o", "/dev/null"]


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


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


# Connecting


_ENDPOINT = "com.docker.network.endpoint"


def test_a_device_has_the_name_and_the_sysctls_that_were_asked_for(
    engine: NativeEngine, docker_cli: str
) -> None:
    for name in ("own", "more"):
        docker(engine, "network", "create", name)
    sysctls = f"{_ENDPOINT}.sysctls=net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0"
    wish = f'name=own,driver-opt={_ENDPOINT}.ifname=lan0,"driver-opt={sysctls}"'
    run(engine, "aa", "--network", wish)
    read = "cat /proc/sys/net/ipv4/conf/lan0/log_martians /proc/sys/net/ipv4/conf/lan0/forwarding"
    assert inside(engine, "aa", "sh", "-c", read).split() == ["1", "0"]
    assert networks_of(engine, "aa")["own"]["DriverOpts"][f"{_ENDPOINT}.ifname"] == "lan0"
    # Beside it the usual names go on, and one that is taken is told.
    connect = ("network", "connect", "--driver-opt")
    said = refused(engine, *connect, f"{_ENDPOINT}.ifname=lan0", "more", "aa")
    assert 'the container has a device "lan0" already' in said
    docker(engine, "network", "connect", "more", "aa")
    assert inside(engine, "aa", "ls", "/sys/class/net").split() == ["eth0", "lan0", "lo"]
    docker(engine, "restart", "-t", "0", "aa")
    assert inside(engine, "aa", "ls", "/sys/class/net").split() == ["eth0", "lan0", "lo"]
    assert inside(engine, "aa", "sh", "-c", read).split() == ["1", "0"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("ifname=a/b", "want up to 15 letters"),
        ("ifname=lo", "and not lo"),
        ("sysctls=net.ipv4.conf.eth0.forwarding=1", "unrecognised network interface sysctl"),
        ("sysctls=net.ipv4.conf.IFNAME.nothing=1", "this kernel refuses it"),
    ],
)
def test_options_of_a_device_that_cannot_be_are_refused(
    engine: NativeEngine, docker_cli: str, option: str, said: str
) -> None:
    docker(engine, "network", "create", "own")
    wish = f"name=own,driver-opt={_ENDPOINT}.{option}"
    assert said in refused(engine, "run", "--name", "aa", "--network", wish, IMAGE, "true")


def test_a_running_container_gets_and_loses_a_network(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "network", "create", "--subnet", "10.252.8.0/24", "own")
    run(engine, "aa")
    before = inside(engine, "aa", "cat", "/etc/resolv.conf")
    docker(engine, "exec", "aa", "sh", "-c", "echo 192.0.2.1 mine >>/etc/hosts")
    docker(engine, "network", "connect", "--ip", "10.252.8.40", "--alias", "alpha", "own", "aa")
    found = networks_of(engine, "aa")
    assert list(found) == ["bridge", "own"]
    assert (found["own"]["IPAddress"], found["own"]["Aliases"]) == ("10.252.8.40", ["alpha"])
    assert found["own"]["DNSNames"][:2] == ["aa", "alpha"]
    assert "10.252.8.40/24" in inside(engine, "aa", "ip", "addr", "show", "eth1")
    hosts = inside(engine, "aa", "cat", "/etc/hosts")
    assert "10.252.8.40\t" in hosts
    assert "192.0.2.1 mine" in hosts
    assert "nameserver 127.0.0.11" in inside(engine, "aa", "cat", "/etc/resolv.conf")
    assert "already exists in network own" in refused(engine, "network", "connect", "own", "aa")
    docker(engine, "network", "disconnect", "own", "aa")
    assert list(networks_of(engine, "aa")) == ["bridge"]
    assert "eth1" not in inside(engine, "aa", "ip", "addr")
    hosts = inside(engine, "aa", "cat", "/etc/hosts")
    assert "10.252.8.40" not in hosts
    assert "192.0.2.1 mine" in hosts
    assert inside(engine, "aa", "cat", "/etc/resolv.conf") == before
    assert "is not connected to network own" in refused(engine, "network", "disconnect", "own", "aa")


def test_a_resolv_conf_that_the_container_changed_is_left_alone(
    engine: NativeEngine, docker_cli: str
) -> None:
    docker(engine, "network", "create", "own")
    run(engine, "aa")
    docker(engine, "exec", "aa", "sh", "-c", "echo nameserver 192.0.2.53 >/etc/resolv.conf")
    for change in ("connect", "disconnect"):
        docker(engine, "network", change, "own", "aa")
        assert inside(engine, "aa", "cat", "/etc/resolv.conf") == "nameserver 192.0.2.53", change


def test_a_stopped_container_joins_at_its_start_what_it_was_connected_to(
    engine: NativeEngine, docker_cli: str
) -> None:
    docker(engine, "network", "create", "one")
    docker(engine, "network", "create", "two")
    docker(engine, "create", "--name", "aa", "--network", "one", IMAGE, "sleep", "600")
    docker(engine, "network", "connect", "two", "aa")
    assert list(networks_of(engine, "aa")) == ["one", "two"]
    docker(engine, "start", "aa")
    assert all(each["IPAddress"] for each in networks_of(engine, "aa").values())
    docker(engine, "stop", "-t", "0", "aa")
    docker(engine, "network", "disconnect", "one", "aa")
    docker(engine, "start", "aa")
    assert list(networks_of(engine, "aa")) == ["two"]


def test_a_container_that_does_not_run_may_be_connected_again(engine: NativeEngine) -> None:
    network = engine.call("POST", "/networks/create", {"Name": "own"}).json["Id"]
    container = engine.create("sleep", "60", HostConfig={"NetworkMode": "own"})

    def change(verb: str, **more: Any) -> int:
        return engine.call("POST", f"/networks/{network}/{verb}", {"Container": container, **more}).status

    assert change("connect", EndpointConfig={"Aliases": ["first"]}) == 200
    assert change("disconnect") == 200
    assert change("connect", EndpointConfig={"Aliases": ["second"]}) == 200
    assert change("connect") == 200
    assert engine.call("POST", f"/containers/{container}/start").status == 204
    assert engine.inspect(container)["NetworkSettings"]["Networks"]["own"]["Aliases"] == ["second"]
    assert change("connect") == 403


def test_several_networks_at_create_and_the_default_route_by_priority_then_name(engine: NativeEngine) -> None:
    for name in ("alpha", "beta"):
        assert engine.call("POST", "/networks/create", {"Name": name}).status == 201

    def gateway_of(settings: dict[str, Any]) -> str:
        container = engine.run(
            "sleep", "600", HostConfig={"NetworkMode": "beta"}, NetworkingConfig={"EndpointsConfig": settings}
        )
        route = docker(engine, "exec", container, "ip", "route")
        engine.remove(container)
        return next(line.split()[2] for line in route.splitlines() if line.startswith("default"))

    alpha, beta = (network(engine, name)["IPAM"]["Config"][0]["Gateway"] for name in ("alpha", "beta"))
    assert gateway_of({"alpha": {}, "beta": {}}) == alpha
    assert gateway_of({"alpha": {}, "beta": {"GwPriority": 1}}) == beta


def test_the_default_route_and_the_ports_follow_the_networks(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "network", "create", "beta")
    docker(engine, "network", "create", "alpha")
    serve = ("sh", "-c", "echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp")
    run(engine, "web", "--network", "beta", "-p", "80", command=serve)
    port = docker(engine, "port", "web", "80").splitlines()[0].rpartition(":")[2]
    gateways = {name: network(engine, name)["IPAM"]["Config"][0]["Gateway"] for name in ("alpha", "beta")}

    def holds(name: str) -> None:
        assert f"default via {gateways[name]}" in inside(engine, "web", "ip", "route")
        wait_for(lambda: subprocess.run([*_curl, f"http://127.0.0.1:{port}/"], check=False).returncode == 0)

    holds("beta")
    docker(engine, "network", "connect", "alpha", "web")
    holds("alpha")
    docker(engine, "network", "disconnect", "alpha", "web")
    holds("beta")
    docker(engine, "network", "disconnect", "beta", "web")
    assert "default" not in inside(engine, "web", "ip", "route")
    assert docker(engine, "port", "web") == ""
    docker(engine, "network", "connect", "alpha", "web")
    assert docker(engine, "port", "web", "80")


@pytest.mark.parametrize("mode", ["host", "none"])
def test_a_container_of_host_or_none_joins_nothing_else(
    engine: NativeEngine, docker_cli: str, mode: str
) -> None:
    docker(engine, "network", "create", "own")
    run(engine, "aa", "--network", mode)
    assert "cannot be" in refused(engine, "network", "connect", "own", "aa")
    run(engine, "bb", "--network", "container:aa")
    assert "sharing network namespace" in refused(engine, "network", "connect", "own", "bb")


def test_events_tell_of_networks(engine: NativeEngine, docker_cli: str) -> None:
    since = f"{time.time():.6f}"
    docker(engine, "network", "create", "own")
    run(engine, "aa")
    docker(engine, "network", "connect", "own", "aa")
    docker(engine, "network", "disconnect", "own", "aa")
    docker(engine, "network", "rm", "own")
    lines = docker(
        engine, "events", "--since", since, "--until", f"{time.time():.6f}", "--filter", "type=network",
        "--format", "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}",
    )  # fmt: skip
    assert lines.splitlines() == [
        "create own bridge",
        "connect bridge bridge",
        "connect own bridge",
        "disconnect own bridge",
        "destroy own bridge",
    ]


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
