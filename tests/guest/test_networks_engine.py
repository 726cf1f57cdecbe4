"""Networks through the whole engine, with the real docker command: what a user of `-p` sees."""

import socket
import time
from http.client import HTTPConnection

import leaks
import pytest
from docker_command import docker
from native_engine import NativeEngine
from networks_rig import free_port

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

SERVE = ("busybox:test", "httpd", "-f", "-p", "80", "-h", "/etc")
WAIT_SECONDS = 5.0


def fetch(port: int) -> str:
    """GET /passwd at 127.0.0.1; tries again while the server in the container is still starting."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
        try:
            connection.request("GET", "/passwd")
            return connection.getresponse().read().decode()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        finally:
            connection.close()


def assert_free(port: int) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))


def test_a_published_port_answers_and_is_free_after_stop(engine: NativeEngine) -> None:
    port = free_port()
    docker(engine, "run", "-d", "--name", "web", "-p", f"{port}:80", *SERVE)
    assert "root:x:0:0" in fetch(port)
    assert f"80/tcp -> 0.0.0.0:{port}" in docker(engine, "port", "web").splitlines()
    docker(engine, "stop", "-t", "0", "web")
    assert_free(port)
    docker(engine, "start", "web")
    assert "root:x:0:0" in fetch(port)


def test_a_taken_port_fails_in_dockers_words_and_later_works(engine: NativeEngine) -> None:
    port = free_port()
    docker(engine, "run", "-d", "--name", "first", "-p", f"{port}:80", *SERVE)
    refused = engine.docker("run", "-d", "--name", "second", "-p", f"{port}:80", *SERVE)
    assert refused.returncode == 125
    said = refused.stderr.decode()
    assert "driver failed programming external connectivity on endpoint second (" in said
    assert f"Bind for 0.0.0.0:{port} failed: port is already allocated" in said
    docker(engine, "rm", "-f", "first")
    docker(engine, "start", "second")
    assert "root:x:0:0" in fetch(port)


def test_networks_and_containers_tell_the_same(engine: NativeEngine) -> None:
    docker(engine, "run", "-d", "--name", "one", "busybox:test", "sleep", "60")
    (network,) = engine.call("GET", "/networks", filters='{"name":["bridge"]}').json
    settings = engine.inspect("one")["NetworkSettings"]
    (member,) = engine.call("GET", f"/networks/{network['Id']}").json["Containers"].values()
    assert settings["Networks"]["bridge"]["NetworkID"] == network["Id"]
    assert member["Name"] == "one"
    assert member["IPv4Address"] == f"{settings['IPAddress']}/{settings['IPPrefixLen']}"
    assert (member["MacAddress"], member["EndpointID"]) == (settings["MacAddress"], settings["EndpointID"])
    assert network["IPAM"]["Config"][0]["Gateway"] == settings["Gateway"]


def test_containers_reach_each_other_by_address(engine: NativeEngine) -> None:
    docker(engine, "run", "-d", "--name", "server", *SERVE)
    address = docker(engine, "inspect", "-f", "{{.NetworkSettings.IPAddress}}", "server")
    script = f"for i in 1 2 3 4 5; do wget -q -O - http://{address}/hostname && break; sleep 0.1; done"
    assert docker(engine, "run", "--rm", "busybox:test", "sh", "-c", script) == docker(
        engine, "inspect", "-f", "{{.Config.Hostname}}", "server"
    )


def test_a_container_can_share_another_ones_network_and_have_none(engine: NativeEngine) -> None:
    docker(engine, "run", "-d", "--name", "server", *SERVE)
    shared = docker(engine, "run", "--rm", "--network", "container:server", "busybox:test", "ip", "addr")
    assert docker(engine, "inspect", "-f", "{{.NetworkSettings.IPAddress}}", "server") in shared
    alone = docker(engine, "run", "--rm", "--network", "none", "busybox:test", "ip", "link")
    assert "lo:" in alone
    assert "eth0" not in alone


def test_a_killed_engine_takes_no_connection_down(fresh_engine: NativeEngine) -> None:
    engine, port = fresh_engine, free_port()
    docker(engine, "run", "-d", "--name", "web", "-p", f"{port}:80", *SERVE)
    assert "root:x:0:0" in fetch(port)
    before = engine.inspect("web")["NetworkSettings"]
    engine.kill()
    assert "root:x:0:0" in fetch(port)
    engine.start()
    assert "root:x:0:0" in fetch(port)
    assert engine.inspect("web")["NetworkSettings"] == before
    docker(engine, "rm", "-f", "web")
    assert_free(port)


def test_many_runs_leave_nothing(fresh_engine: NativeEngine) -> None:
    engine = fresh_engine
    docker(engine, "run", "--rm", "busybox:test", "true")
    with leaks.none_left(engine.name):
        for _ in range(5):
            docker(engine, "run", "--rm", "-p", "80", "busybox:test", "true")
    tables = engine.call("GET", "/networks/bridge").json["Containers"]
    assert tables == {}
