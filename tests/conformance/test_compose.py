"""Debian's docker-compose 1.29 with a project of four services (compose/): its whole life, on this engine."""

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from native_engine import NativeEngine

pytestmark = pytest.mark.root

PROJECT = Path(__file__).parent / "compose"
SECONDS = 90.0


class Project:
    """A copy of the project's folder under a name of its own."""

    def __init__(self, engine: NativeEngine, folder: Path, name: str) -> None:
        self.engine, self.folder, self.name = engine, folder, name
        shutil.copytree(PROJECT, folder)

    def compose(self, *arguments: str, status: int = 0) -> str:
        """Runs docker-compose; what it says on both its outputs."""
        done = self.engine.judged(
            ["docker-compose", "--ansi", "never", "-p", self.name, *arguments],
            cwd=self.folder,
            environment={"HOME": str(self.engine.folder)},
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
        )
        said = done.stdout.decode()
        assert done.returncode == status, f"{arguments}:\n{said}\n{self.engine.log_tail()}"
        return said

    def write(self, text: str) -> None:
        (self.folder / "docker-compose.yml").write_text(text)

    def change(self, before: str, after: str) -> None:
        text = (self.folder / "docker-compose.yml").read_text()
        assert before in text
        self.write(text.replace(before, after))

    def containers(self, **filters: list[str]) -> dict[str, Any]:
        """Name -> what the list says, running or not."""
        filters["label"] = [f"com.docker.compose.project={self.name}"]
        listed = self.engine.call("GET", "/containers/json", all="1", filters=json.dumps(filters)).json
        return {each["Names"][0].removeprefix(f"/{self.name}_"): each for each in listed}

    def ids(self) -> dict[str, str]:
        return {name: each["Id"] for name, each in self.containers().items()}

    def page(self) -> list[str]:
        """Lines of the page at the port that web publishes: greeting, database's lines, a cache's name."""
        address = self.compose("port", "web", "80").strip()
        with urllib.request.urlopen(f"http://{address}/cgi-bin/page", timeout=SECONDS) as answer:
            return str(answer.read().decode()).split()


@pytest.fixture(scope="module")
def kept(module_engine: NativeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One project for all tests: most of the time goes into starting docker-compose."""
    if shutil.which("docker-compose") is None:
        pytest.skip("needs docker-compose 1.29 (scripts/setup.sh dev)")
    made = Project(module_engine, tmp_path_factory.mktemp("compose") / "project", f"up{os.getpid()}")
    yield made
    made.compose("down", "-v", "-t", "0", "--rmi", "local")


@pytest.fixture
def project(kept: Project) -> Project:
    """It is up, and whole."""
    if len(kept.containers(status=["running"])) != 4 or len(kept.containers()) != 4:
        kept.compose("up", "-d")
    return kept


def test_services_start_in_order_and_find_each_other_by_name(project: Project) -> None:
    greeting, *database, cache = project.page()
    assert greeting == "hello"
    assert set(database) == {"started"}
    # By its alias, over the network that the front does not see: else there would be one more line.
    assert project.ids()["cache_1"].startswith(cache)
    assert set(project.containers(health=["healthy"])) == {"db_1", "cache_1", "api_1"}
    born = {name: project.engine.inspect(each)["State"]["StartedAt"] for name, each in project.ids().items()}
    assert max(born["db_1"], born["cache_1"]) < born["api_1"] < born["web_1"]


def test_ps_logs_exec_and_run_reach_the_services(project: Project) -> None:
    assert project.compose("ps").count("Up (healthy)") == 3
    assert "cache_1  | cache is up" in project.compose("logs", "--no-color", "cache")
    assert project.compose("exec", "-T", "db", "hostname").strip() == project.ids()["db_1"][:12]
    script = "wget -qO- http://db/boats; exit 3"
    assert "started" in project.compose("run", "--rm", "-T", "api", "sh", "-c", script, status=3)
    assert set(project.ids()) == {"db_1", "cache_1", "api_1", "web_1"}


def test_a_service_is_scaled_up_and_down_and_its_name_follows(project: Project) -> None:
    def addresses() -> int:
        found = project.compose("exec", "-T", "api", "nslookup", "-type=a", "fast")
        return found.partition("answer")[2].count("Address: ")

    project.compose("up", "-d", "--scale", "cache=3")
    assert {"cache_1", "cache_2", "cache_3"} < set(project.ids())
    assert addresses() == 3
    project.compose("up", "-d", "-t", "1", "--scale", "cache=1")
    assert not {"cache_2", "cache_3"} & set(project.ids())
    assert addresses() == 1


def test_only_what_changed_is_built_and_made_again(project: Project) -> None:
    before = project.ids()
    project.change("GREETING: hello", "GREETING: goodbye")
    try:
        assert "RUN echo" in project.compose("up", "-d", "-t", "1", "--build")
        after = project.ids()
        assert {name for name, each in after.items() if before[name] != each} == {"api_1"}
        assert project.page()[0] == "goodbye"
    finally:
        project.change("GREETING: goodbye", "GREETING: hello")
        project.compose("rm", "-s", "-f", "api")
        project.compose("build", "api")


def test_a_container_that_is_made_again_keeps_its_volumes(project: Project) -> None:
    project.compose("exec", "-T", "db", "sh", "-c", "echo kept >>/data/boats; echo too >/scratch/f")
    before = project.ids()["db_1"]
    project.compose("up", "-d", "-t", "1", "--force-recreate", "--no-deps", "db")
    assert project.ids()["db_1"] != before
    found = project.compose("exec", "-T", "db", "sh", "-c", "tail -n 2 /data/boats; cat /scratch/f")
    # The last one is in an anonymous volume.
    assert found.split() == ["kept", "started", "too"]


def test_services_are_restarted_paused_killed_and_stopped(project: Project) -> None:
    before = project.ids()
    project.compose("restart", "-t", "5")
    project.compose("pause", "cache")
    assert set(project.containers(status=["paused"])) == {"cache_1"}
    project.compose("unpause", "cache")
    project.compose("kill", "-s", "KILL", "web")
    project.compose("stop", "-t", "5")
    assert set(project.containers(status=["exited"])) == set(before)
    project.compose("up", "-d")
    assert project.ids() == before
    assert project.page()[0] == "hello"


@pytest.fixture
def alone(kept: Project) -> Iterator[Project]:
    """A project without anything, for a file of the test's own."""
    made = Project(kept.engine, kept.folder.parent / "alone", f"own{os.getpid()}")
    yield made
    made.compose("down", "-v", "-t", "0")
    shutil.rmtree(made.folder)


def test_up_in_the_foreground_ends_with_a_services_status(alone: Project) -> None:
    alone.write(
        "services:\n"
        "  one: {image: 'busybox:test', init: true, command: [sleep, '60']}\n"
        "  two: {image: 'busybox:test', depends_on: [one], command: [sh, -c, 'ping -c 1 one && exit 7']}\n"
    )
    said = alone.compose("up", "-t", "1", "--exit-code-from", "two", status=7)
    assert "1 packets received" in said
    assert f"{alone.name}_two_1 exited with code 7" in said


def test_a_dependency_that_gets_ill_stops_the_start(alone: Project) -> None:
    alone.write(
        'version: "2.4"\n'
        "services:\n"
        "  one:\n"
        "    {image: 'busybox:test', command: [sleep, '60'],\n"
        "     healthcheck: {test: [CMD, 'false'], interval: 0.1s, retries: 1}}\n"
        "  two: {image: 'busybox:test', depends_on: {one: {condition: service_healthy}}}\n"
    )
    assert "is unhealthy" in alone.compose("up", "-d", status=1)
    assert set(alone.containers()) == {"one_1"}


def test_down_with_volumes_leaves_nothing(project: Project) -> None:
    def everything() -> tuple[int, ...]:
        call = project.engine.call
        return (
            len(call("GET", "/containers/json", all="1").json),
            len(call("GET", "/networks").json),
            len(call("GET", "/volumes").json["Volumes"]),
            len(call("GET", "/images/json").json),
        )

    project.compose("down", "-v", "-t", "0", "--rmi", "local")
    # An anonymous volume that a new container took over has a name from then on and stays, as with dockerd.
    nothing = everything()
    assert nothing[:2] == (0, 3)
    project.compose("up", "-d")
    assert everything() == (4, 5, nothing[2] + 2, nothing[3] + 1)
    said = project.compose("down", "-v", "-t", "0", "--rmi", "local")
    assert "Removing network" in said
    assert everything() == nothing
