"""Networks of users, with a native engine and the real docker command."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import leaks
import pytest
from native_engine import IMAGE, NativeEngine

pytestmark = pytest.mark.root


def docker(engine: NativeEngine, *arguments: str) -> str:
    done = engine.docker(*arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def refused(engine: NativeEngine, *arguments: str) -> str:
    done = engine.docker(*arguments)
    assert done.returncode != 0, done.stdout.decode()
    return done.stderr.decode().strip()


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
        "--opt", "com.docker.network.bridge.name=wtown0", "--opt", "com.docker.network.driver.mtu=1400", "own",
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
