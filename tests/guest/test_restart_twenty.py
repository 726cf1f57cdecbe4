"""Twenty containers of all kinds live through the death of their engine, and nothing of theirs is lost."""

import contextlib
import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import leaks
import pytest
from native_engine import NativeEngine

pytestmark = pytest.mark.root

_TICK = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done"
#: Until the engine is dead.
_WAIT = "while [ ! -e /flag/go ]; do sleep 0.05; done; "
_TRAP = "trap 'echo asked; exit 5' TERM; "
WAIT_S = 20.0


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def logs(engine: NativeEngine, container: str, **query: str) -> str:
    answer = engine.call("GET", f"/containers/{container}/logs", stdout="1", stderr="1", **query)
    data, plain = answer.body, b""
    if engine.inspect(container)["Config"]["Tty"]:
        return data.decode()
    while data:  # frames: 4 bytes of which stream, 4 of how much
        length = int.from_bytes(data[4:8], "big")
        plain, data = plain + data[8 : 8 + length], data[8 + length :]
    return plain.decode()


def assert_no_gap(text: str, *, at_least: int) -> None:
    numbers = [int(line.split()[1]) for line in text.split("\n")[:-1]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) >= at_least


def run_in(engine: NativeEngine, container: str, *command: str) -> str:
    """Output of an exec, without its frames."""
    body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, "Tty": True}
    made = engine.call("POST", f"/containers/{container}/exec", body)
    return engine.call("POST", f"/exec/{made.json['Id']}/start", {"Detach": False, "Tty": True}).text


def events(engine: NativeEngine, since: float, **filters: list[str]) -> list[tuple[str, str]]:
    """(id, action) of what containers did since a moment, by this engine's own memory."""
    answer = engine.call(
        "GET", "/events", since=f"{since:.3f}", until=f"{time.time():.3f}",
        filters=json.dumps({"type": ["container"], **filters}),
    )  # fmt: skip
    return [(each["Actor"]["ID"], each["Action"]) for each in map(json.loads, answer.body.splitlines())]


@contextlib.contextmanager
def attached(engine: NativeEngine, container: str) -> Iterator[socket.socket]:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        connection.settimeout(WAIT_S)
        connection.connect(str(engine.socket))
        connection.sendall(
            f"POST /containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\n"
            "Host: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert b" 101 " in head.split(b"\r\n")[0]
        yield connection


def read_until(connection: socket.socket, wanted: bytes) -> None:
    found = b""
    while wanted not in found:
        data = connection.recv(65536)
        assert data, found
        found += data


class Fleet:
    """The twenty, by what they are for."""

    def __init__(self, engine: NativeEngine, flag: Path) -> None:
        self.engine = engine
        self._binds = [f"{flag}:/flag:ro"]
        answer = engine.call("POST", "/networks/create", {"Name": "fleet"})
        assert answer.status == 201, answer.text
        on = {"NetworkMode": "fleet"}
        rotated = {"LogConfig": {"Type": "json-file", "Config": {"max-size": "3k", "max-file": "200"}}}
        self.tickers = [self.sh(_TICK) for _ in range(3)] + [self.sh(_TICK, rotated)]
        self.terminals = [self.sh(_TICK, Tty=True) for _ in range(3)]
        self.paused = [self.sh(_TICK), self.sh("sleep 1000")]
        self.cat = self.sh("cat", OpenStdin=True)
        self.asked = self.sh(_TRAP + "while :; do sleep 0.05; done", Tty=True)
        self.web = self.sh(
            "echo fine > /index.html; httpd -f -p 80 -h /",
            on | {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}}, name="web",
        )  # fmt: skip
        self.neighbour = self.sh("sleep 1000", on, name="neighbour")
        self.busy = self.sh("sleep 1000")  # with execs
        #: What ends while nobody looks, and how.
        self.ends = {
            self.sh(_WAIT + "echo last words; exit 0", Tty=True): 0,
            self.sh(_WAIT + "echo last words; exit 42", Tty=True): 42,
            self.sh(_WAIT + "echo last words; kill -KILL $$", {"PidMode": "host"}, Tty=True): 137,
        }
        self.removes_itself = self.sh(_WAIT, {"AutoRemove": True})
        self.comes_back = [
            self.sh(_WAIT + "[ -e /again ] && exec sleep 1000; touch /again; exit 3", policy)
            for policy in (
                {"RestartPolicy": {"Name": "always"}},
                {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5}},
            )
        ]

    def sh(self, script: str, host: dict[str, Any] | None = None, **fields: Any) -> str:
        return self.engine.run(
            "sh", "-c", script, HostConfig={"Binds": self._binds, **(host or {})}, **fields
        )

    @property
    def stay(self) -> list[str]:
        """Those that run the whole time, under one pid."""
        return [
            *self.tickers, *self.terminals, *self.paused,
            self.cat, self.asked, self.web, self.neighbour, self.busy,
        ]  # fmt: skip


@pytest.fixture
def fleet(fresh_engine: NativeEngine, tmp_path: Path) -> Iterator[Fleet]:
    # What an engine makes once, with its first container, is its own.
    fresh_engine.wait(fresh_engine.run("true"))
    fresh_engine.remove_containers()
    fresh_engine.stop()
    with leaks.none_left(within=fresh_engine.name):
        fresh_engine.start()
        yield Fleet(fresh_engine, tmp_path)
        fresh_engine.remove_containers()
        fresh_engine.remove_networks()
        fresh_engine.stop()


def state_of(engine: NativeEngine, container: str) -> dict[str, Any]:
    return dict(engine.inspect(container)["State"])


def start_execs(engine: NativeEngine, container: str) -> threading.Thread:
    """A detached exec, and one whose client is attached until the engine dies."""
    body = {"Cmd": ["sh", "-c", _WAIT + "echo done > /detached"]}
    made = engine.call("POST", f"/containers/{container}/exec", body)
    assert engine.call("POST", f"/exec/{made.json['Id']}/start", {"Detach": True}).status == 200
    script = f"{_WAIT} echo done > /attached"

    def attached() -> None:
        engine.docker("exec", container, "sh", "-c", f"touch /begun; {script}")

    client = threading.Thread(target=attached)
    client.start()
    until(lambda: "begun" in run_in(engine, container, "ls", "/"), "the exec has not begun")
    return client


def test_twenty_containers_outlive_their_engine(fleet: Fleet, tmp_path: Path) -> None:
    engine = fleet.engine
    assert len(engine.call("GET", "/containers/json").json) == 20
    until(lambda: all(len(logs(engine, each)) > 0 for each in fleet.tickers), "nothing is logged yet")
    for container in fleet.paused:
        assert engine.call("POST", f"/containers/{container}/pause").status == 204
    frozen = logs(engine, fleet.paused[0])
    pids = {container: state_of(engine, container)["Pid"] for container in fleet.stay}
    started = {container: state_of(engine, container)["StartedAt"] for container in fleet.stay}
    port = engine.inspect(fleet.web)["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
    client = start_execs(engine, fleet.busy)
    with attached(engine, fleet.cat) as connection:
        connection.sendall(b"before\n")
        read_until(connection, b"before\n")
        assert engine.kill() == -signal.SIGKILL
    client.join(WAIT_S)
    (tmp_path / "go").touch()
    gone = [*fleet.ends, fleet.removes_itself, *fleet.comes_back]
    until(
        lambda: all((engine.exec_root / "containers" / each / "exit.json").exists() for each in gone), "ends"
    )
    assert all(Path(f"/proc/{pid}").exists() for pid in pids.values())
    back = time.time()
    engine.start()

    for container in fleet.stay:
        state = state_of(engine, container)
        wanted = "paused" if container in fleet.paused else "running"
        assert (state["Status"], state["Pid"]) == (wanted, pids[container])
        assert state["StartedAt"] == started[container]
    _check_logs(fleet, frozen)
    _check_ends(fleet)
    _check_that_all_can_be_used(fleet, port)
    _check_events(fleet, back)


def _check_logs(fleet: Fleet, frozen: str) -> None:
    engine = fleet.engine
    for container in (*fleet.tickers, *fleet.terminals):
        assert_no_gap(logs(engine, container).replace("\r", ""), at_least=50)
    assert logs(engine, fleet.paused[0]) == frozen
    for container in fleet.paused:
        assert engine.call("POST", f"/containers/{container}/unpause").status == 204
    until(lambda: len(logs(engine, fleet.paused[0])) > len(frozen), "it does not go on")
    assert_no_gap(logs(engine, fleet.paused[0]), at_least=2)


def _check_ends(fleet: Fleet) -> None:
    engine = fleet.engine
    for container, code in fleet.ends.items():
        state = state_of(engine, container)
        assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", code, 0), state
        assert "last words" in logs(engine, container)
        assert state["StartedAt"] < state["FinishedAt"]
        assert engine.wait(container) == code
    until(
        lambda: engine.call("GET", f"/containers/{fleet.removes_itself}/json").status == 404,
        "--rm was forgotten",
    )
    for container in fleet.comes_back:
        until(lambda each=container: state_of(engine, each)["Status"] == "running", "not started again")  # type: ignore[misc]


def _check_that_all_can_be_used(fleet: Fleet, port: str) -> None:
    engine = fleet.engine
    for container in fleet.stay:
        assert run_in(engine, container, "echo", "inside") == "inside\r\n"
        with attached(engine, container):
            pass
    with attached(engine, fleet.cat) as connection:
        connection.sendall(b"after\n")
        read_until(connection, b"after\n")
    assert logs(engine, fleet.cat) == "before\nafter\n"
    # What an exec began goes on without its client.
    until(lambda: "done" in run_in(engine, fleet.busy, "cat", "/detached", "/attached"), "an exec was lost")
    until(lambda: run_in(engine, fleet.busy, "cat", "/detached", "/attached").count("done") == 2, "one")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=WAIT_S) as page:
        assert page.read() == b"fine\n"
    assert run_in(engine, fleet.neighbour, "wget", "-qO-", "http://web/") == "fine\r\n"


def _check_events(fleet: Fleet, back: float) -> None:
    """Each end is told once; of those that ran on nothing is, until something happens to them."""
    engine = fleet.engine
    told = events(engine, back, event=["start", "die", "destroy", "pause"])
    for container in fleet.ends:
        assert told.count((container, "die")) == 1, told
    for container in fleet.stay:
        assert [action for who, action in told if who == container] == []
    moment = time.time()
    for container, code in ((fleet.asked, 5), (fleet.tickers[0], 137)):
        assert engine.call("POST", f"/containers/{container}/stop", t="1").status == 204
        assert state_of(engine, container)["ExitCode"] == code
    told = events(engine, moment, event=["kill", "die", "stop"])
    assert [action for who, action in told if who == fleet.asked] == ["kill", "die", "stop"]
    assert [action for who, action in told if who == fleet.tickers[0]] == ["kill", "kill", "die", "stop"]


def monitor_of(engine: NativeEngine, container: str) -> int:
    state = json.loads((engine.exec_root / "containers" / container / "state.json").read_text())
    return int(state["monitor_pid"])


def cgroups_of(container: str) -> list[Path]:
    return [Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup") if Path(folder).name == container]


@pytest.mark.parametrize("engine_dead", [False, True])
@pytest.mark.parametrize("pid_mode", ["", "host"])
def test_a_killed_monitor_leaves_nothing_running(
    fresh_engine: NativeEngine, engine_dead: bool, pid_mode: str
) -> None:
    """Docker's word for it: exited with 137. Also where no PID namespace takes the rest along."""
    engine = fresh_engine
    container = engine.run("sh", "-c", "sleep 1001 & sleep 1002 & wait", HostConfig={"PidMode": pid_mode})
    made = engine.call("POST", f"/containers/{container}/exec", {"Cmd": ["sleep", "1003"]})
    assert engine.call("POST", f"/exec/{made.json['Id']}/start", {"Detach": True}).status == 200
    until(lambda: len(engine.call("GET", f"/containers/{container}/top").json["Processes"]) == 4, "top")
    pids = [int(row[1]) for row in engine.call("GET", f"/containers/{container}/top").json["Processes"]]
    if engine_dead:
        engine.kill()
    os.kill(monitor_of(engine, container), signal.SIGKILL)
    if engine_dead:
        time.sleep(0.2)
        engine.start()
    else:
        assert engine.wait(container) == 137
    state = state_of(engine, container)
    assert (state["Status"], state["ExitCode"], state["Pid"], state["Dead"]) == ("exited", 137, 0, False)
    assert "monitor" in state["Error"]
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "a process is left")
    until(lambda: not cgroups_of(container), "a cgroup is left")
    assert engine.call("POST", f"/containers/{container}/start").status == 204
    assert run_in(engine, container, "echo", "again") == "again\r\n"


def test_an_engine_that_dies_while_it_stops_a_container(fresh_engine: NativeEngine) -> None:
    """The container was asked to end and does not: nobody kills it for the engine, and it can be stopped."""
    engine = fresh_engine
    deaf = engine.run("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    slow = engine.run("sh", "-c", "trap 'sleep 1; exit 9' TERM; while :; do sleep 0.05; done")
    time.sleep(0.3)

    def stop(container: str) -> None:
        with contextlib.suppress(Exception):
            engine.call("POST", f"/containers/{container}/stop", t="30")

    threads = [threading.Thread(target=stop, args=(each,)) for each in (deaf, slow)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    engine.kill()
    for thread in threads:
        thread.join(WAIT_S)
    time.sleep(1.2)
    engine.start()
    assert state_of(engine, deaf)["Status"] == "running"
    assert (state_of(engine, slow)["Status"], state_of(engine, slow)["ExitCode"]) == ("exited", 9)
    assert engine.call("POST", f"/containers/{deaf}/stop", t="0").status == 204
    assert state_of(engine, deaf)["ExitCode"] == 137


def test_an_engine_that_dies_while_it_removes(fresh_engine: NativeEngine) -> None:
    engine = fresh_engine
    containers = [engine.run("sleep", "1000") for _ in range(6)]

    def remove() -> None:
        for container in containers:
            with contextlib.suppress(Exception):
                engine.call("DELETE", f"/containers/{container}", force="1", v="1")

    worker = threading.Thread(target=remove)
    worker.start()
    time.sleep(0.1)
    engine.kill()
    worker.join(WAIT_S)
    engine.start()
    for each in engine.call("GET", "/containers/json", all="1").json:
        assert each["State"] in ("running", "exited"), each
    engine.remove_containers()
    for container in containers:
        until(lambda each=container: not cgroups_of(each), "a cgroup is left")  # type: ignore[misc]
        assert not (engine.exec_root / "containers" / container).exists()
        assert not (engine.data_root / "containers" / container).exists()
