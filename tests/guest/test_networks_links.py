"""Links: lines and variables on the default bridge, private aliases on users' networks."""

import pytest
from docker_command import docker
from native_engine import IMAGE, NativeEngine

pytestmark = pytest.mark.root


def run(engine: NativeEngine, name: str, *options: str) -> str:
    return docker(engine, "run", "-d", "--name", name, *options, IMAGE, "sleep", "600")


def test_a_link_on_the_default_bridge_gives_lines_and_variables_and_follows_a_restart(
    engine: NativeEngine, docker_cli: str
) -> None:
    db = run(engine, "db", "--expose", "5432", "-e", "SECRET=x")
    run(engine, "web", "--link", "db:store", "-e", "STORE_PORT=mine")
    address = engine.inspect("db")["NetworkSettings"]["IPAddress"]
    assert f"{address}\tstore {db[:12]} db" in docker(engine, "exec", "web", "cat", "/etc/hosts")
    assert docker(engine, "exec", "web", "ping", "-c", "1", "-W", "1", "store")
    variables = docker(engine, "exec", "web", "env").splitlines()
    for expected in (
        "STORE_NAME=/web/store", "STORE_PORT=mine", f"STORE_PORT_5432_TCP=tcp://{address}:5432",
        f"STORE_PORT_5432_TCP_ADDR={address}", "STORE_PORT_5432_TCP_PORT=5432",
        "STORE_PORT_5432_TCP_PROTO=tcp", "STORE_ENV_SECRET=x",
    ):  # fmt: skip
        assert expected in variables
    assert "STORE_ENV_SECRET=x" in docker(engine, "exec", "web", "cat", "/proc/1/environ").split("\0")
    assert engine.inspect("web")["HostConfig"]["Links"] == ["/db:/web/store"]
    docker(engine, "rename", "db", "other")
    docker(engine, "stop", "-t", "0", "other")
    run(engine, "takes-its-address")
    docker(engine, "start", "other")
    moved = engine.inspect("other")["NetworkSettings"]["IPAddress"]
    assert moved != address
    lines = docker(engine, "exec", "web", "cat", "/etc/hosts").splitlines()
    assert [line for line in lines if "store" in line] == [f"{moved}\tstore {db[:12]} other"]
    assert engine.inspect("web")["HostConfig"]["Links"] == ["/other:/web/store"]


def test_a_link_can_be_removed(engine: NativeEngine, docker_cli: str) -> None:
    run(engine, "db")
    run(engine, "web", "--link", "db:store", "--link", "db:kept")
    docker(engine, "rm", "--link", "web/store")
    assert engine.inspect("web")["HostConfig"]["Links"] == ["/db:/web/kept"]
    lines = docker(engine, "exec", "web", "cat", "/etc/hosts")
    assert "store" not in lines
    assert "kept" in lines
    for link, words in (("web/store", "no such link"), ("web", "cannot remove the default link name")):
        done = engine.docker("rm", "--link", link)
        assert words in done.stderr.decode()
    assert engine.inspect("web")["State"]["Running"]


def test_link_local_addresses_are_further_ones(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "network", "create", "boats")
    run(engine, "web", "--network", "boats", "--link-local-ip", "169.254.8.8")
    assert "169.254.8.8/16" in docker(engine, "exec", "web", "ip", "addr")
    place = engine.inspect("web")["NetworkSettings"]["Networks"]["boats"]
    assert place["IPAMConfig"]["LinkLocalIPs"] == ["169.254.8.8"]
    docker(engine, "restart", "-t", "0", "web")
    assert "169.254.8.8/16" in docker(engine, "exec", "web", "ip", "addr")
    wrong = {"boats": {"IPAMConfig": {"LinkLocalIPs": ["10.0.0.1"]}}}
    answer = engine.call(
        "POST", "/containers/create", {"Image": IMAGE, "NetworkingConfig": {"EndpointsConfig": wrong}}
    )
    assert (answer.status, "invalid link-local IP address: 10.0.0.1" in answer.message) == (400, True)


def test_a_link_needs_a_container_that_runs_and_a_bridge(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "create", "--name", "idle", IMAGE)
    for options, words in (
        (("--link", "nobody"), "could not get container for nobody"),
        (("--link", "idle:x"), "Cannot link to a non running container: /idle AS /web/x"),
        (("--link", "idle", "--network", "host"), "host type networking can't be used with links"),
    ):
        done = engine.docker("run", "-d", "--name", "web", *options, IMAGE)
        assert words in done.stderr.decode()
        engine.remove("web")


def test_a_link_on_a_users_network_is_a_name_for_one_container_only(
    engine: NativeEngine, docker_cli: str
) -> None:
    docker(engine, "network", "create", "--internal", "own")
    run(engine, "db", "--network", "own")
    run(engine, "web", "--network", "own", "--link", "db:store")
    run(engine, "other", "--network", "own")
    assert docker(engine, "exec", "web", "ping", "-c", "1", "-W", "1", "store")
    assert engine.docker("exec", "other", "ping", "-c", "1", "-W", "1", "store").returncode != 0
    docker(engine, "network", "disconnect", "own", "other")
    docker(engine, "network", "connect", "--link", "db:base", "own", "other")
    assert docker(engine, "exec", "other", "ping", "-c", "1", "-W", "1", "base")
    assert engine.inspect("other")["NetworkSettings"]["Networks"]["own"]["Links"] == ["db:base"]
