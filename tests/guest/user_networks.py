"""What the tests of users' networks ask of containers, with the real docker command."""

import time
from collections.abc import Callable
from typing import Any

from docker_command import docker
from native_engine import IMAGE, NativeEngine


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


def fetched(engine: NativeEngine, name: str, address: str, port: int) -> str:
    """A page, asked for from inside a container."""
    ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {address} {port}"
    return inside(engine, name, "sh", "-c", ask)


CURL = ["curl", "-sf", "-m", "3", "-o", "/dev/null"]


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
