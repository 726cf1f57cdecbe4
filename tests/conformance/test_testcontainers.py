"""Testcontainers as a user has it: a real database from a local image, its wait strategies and its reaper.

The reaper's own image is on a public hub. The one here (reaper/) is ours, and speaks its protocol: what the
engine is asked for is the same, a container that reaches the engine's socket and removes others by label.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from native_engine import NativeEngine

pytestmark = [
    pytest.mark.root,
    # Testcontainers and docker-py leave sockets to the garbage collector, and use what they call deprecated.
    pytest.mark.filterwarnings("ignore"),
]

ROOT = Path(__file__).parents[2]
DATABASE, REAPER = "mysql:demo", "reaper:test"
SECONDS = 60.0

#: A user's test run that is killed before it could clean up.
KILLED = """
import os, signal
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
network = Network().create()
DockerContainer("busybox:test").with_network(network).with_kwargs(init=True).with_command("sleep 600").start()
print("started", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def database(module_engine: NativeEngine) -> str:
    """The demo's MariaDB, from the cache; made in about a minute when it is not there."""
    if shutil.which("mmdebstrap") is None or shutil.which("mariadb") is None:
        pytest.skip("needs mmdebstrap and mariadb-client (scripts/setup.sh dev)")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    script = ["sh", str(ROOT / "examples/mariadb/rootfs.sh")]
    made = subprocess.run(script, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    result = module_engine.docker("import", made.stdout.splitlines()[-1], DATABASE)
    assert result.returncode == 0, result.stderr
    return DATABASE


@pytest.fixture(scope="module")
def reaper(module_engine: NativeEngine) -> str:
    """Built from reaper/ with docker's command and the libraries it is linked to in it."""
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("needs the docker command (scripts/setup.sh dev)")
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        archive.add(Path(__file__).parent / "reaper", ".")
        archive.add(Path(docker).resolve(), "bin/docker")
        linked = subprocess.run(["ldd", docker], capture_output=True, check=False, text=True).stdout
        for word in linked.split():
            if word.startswith("/"):
                archive.add(Path(word).resolve(), word.lstrip("/"))
    answer = module_engine.call(
        "POST", "/build", context.getvalue(), headers={"Content-Type": "application/x-tar"}, t=REAPER
    )
    assert b"Successfully tagged" in answer.body, answer.text
    return REAPER


@pytest.fixture
def testcontainers(engine: NativeEngine, reaper: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Its module of containers, set to this engine."""
    for name, value in _environment(engine).items():
        monkeypatch.setenv(name, value)
    from testcontainers.core import container
    from testcontainers.core.config import testcontainers_config as settings

    monkeypatch.setattr(settings, "ryuk_image", REAPER)
    monkeypatch.setattr(settings, "ryuk_docker_socket", str(engine.socket))
    monkeypatch.setattr(settings, "ryuk_reconnection_timeout", "1s")
    monkeypatch.setattr(settings, "sleep_time", 0.1)
    yield container
    container.Reaper.delete_instance()


def _environment(engine: NativeEngine) -> dict[str, str]:
    host = f"unix://{engine.socket}"
    return {
        "DOCKER_HOST": host,
        "DOCKER_CONFIG": str(engine.folder / "docker-config"),
        "RYUK_CONTAINER_IMAGE": REAPER,
        "RYUK_RECONNECTION_TIMEOUT": "1s",
        "TC_POOLING_INTERVAL": "0.1",
    }


def _sql(port: int, statement: str) -> str:
    where = ("--protocol=tcp", "-h", "127.0.0.1", "-P", str(port), "-umine", "-psecret", "boats")
    done = subprocess.run(
        ["mariadb", "--no-defaults", *where, "-N", "-e", statement],
        capture_output=True,
        timeout=SECONDS,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_database_passes_its_checks_and_goes_with_its_block(
    testcontainers: Any, engine: NativeEngine, database: str
) -> None:
    from testcontainers.core.wait_strategies import (
        CompositeWaitStrategy,
        ExecWaitStrategy,
        LogMessageWaitStrategy,
        PortWaitStrategy,
    )

    waits = CompositeWaitStrategy(
        LogMessageWaitStrategy("ready for connections"),
        PortWaitStrategy(3306),
        ExecWaitStrategy(["mariadb", "-e", "SELECT 1"]),
    )
    made = (
        testcontainers.DockerContainer(database)
        .with_exposed_ports(3306)
        .with_envs(MARIADB_DATABASE="boats", MARIADB_USER="mine", MARIADB_PASSWORD="secret")
        .with_copy_into_container(b"SELECT SUM(oars) FROM boats.fleet;", "/tmp/sum.sql")
        .with_command("mariadb-entrypoint")
        .waiting_for(waits.with_startup_timeout(int(SECONDS)))
    )
    with made:
        port = made.get_exposed_port(3306)
        assert port not in (0, 3306)
        _sql(port, "CREATE TABLE fleet (name VARCHAR(40), oars INT)")
        _sql(port, "INSERT INTO fleet VALUES ('wherry', 2), ('eight', 8)")
        assert _sql(port, "SELECT name FROM fleet ORDER BY oars") == "wherry\neight"
        code, output = made.exec(["sh", "-c", "mariadb -N </tmp/sum.sql"])
        assert (code, output.strip()) == (0, b"10")
        assert b"ready for connections" in b"".join(made.get_logs())
        listed = engine.call("GET", "/containers/json").json
        assert {each["Image"] for each in listed} == {database, REAPER}
    left = engine.call("GET", "/containers/json", all="1").json
    assert [each["Image"] for each in left] == [REAPER]


def test_containers_on_a_network_reach_each_other_by_alias(testcontainers: Any, engine: NativeEngine) -> None:
    from testcontainers.core.network import Network
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    def busybox(network: Any, command: list[str]) -> Any:
        made = testcontainers.DockerContainer("busybox:test").with_network(network)
        return made.with_kwargs(init=True).with_command(command)

    with Network() as network:
        script = "echo found >/tmp/index.html; exec httpd -f -p 80 -h /tmp"
        server = busybox(network, ["sh", "-c", script]).with_network_aliases("web").with_exposed_ports(80)
        with (
            server.waiting_for(HttpWaitStrategy(80).for_status_code(200)),
            busybox(network, ["sleep", "60"]) as other,
        ):
            assert other.exec(["wget", "-qO-", "http://web/"]) == (0, b"found\n")


def test_the_reaper_removes_what_a_killed_run_left(engine: NativeEngine, reaper: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        env={**os.environ, **_environment(engine)},
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stdout == b"started\n", done.stderr.decode()
    deadline = time.monotonic() + SECONDS
    while containers := engine.call("GET", "/containers/json", all="1").json:
        assert time.monotonic() < deadline, containers
        time.sleep(0.1)
    # The reaper, which was started with auto-remove, was the last to go.
    assert len(engine.call("GET", "/networks").json) == 3
