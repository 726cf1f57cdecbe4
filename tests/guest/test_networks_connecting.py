"""Containers that join and leave networks, with a native engine and the real docker command."""

import subprocess
import time
from typing import Any

import pytest
from docker_command import docker, refused
from native_engine import IMAGE, NativeEngine
from user_networks import CURL, inside, network, networks_of, run, wait_for

pytestmark = pytest.mark.root


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
        wait_for(lambda: subprocess.run([*CURL, f"http://127.0.0.1:{port}/"], check=False).returncode == 0)

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
