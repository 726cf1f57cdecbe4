"""The engine's log: one line, and no traceback, for what a client, a container or a killed helper causes."""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from native_engine import NativeEngine

pytestmark = pytest.mark.root


def lines_of(engine: NativeEngine, action: Callable[[], object]) -> list[str]:
    """What the engine wrote to its log while action ran, and shortly after."""
    before = engine.log.stat().st_size
    action()
    engine.call("GET", "/_ping")
    time.sleep(0.3)
    with engine.log.open("rb") as log:
        log.seek(before)
        return log.read().decode(errors="replace").splitlines()


def assert_quiet(lines: list[str], *, at_most: int) -> None:
    """Debug and info lines do not count; what is left are single lines."""
    # The rig's own notify socket is closed by the time that the engine stops.
    quiet = ("DEBUG ", "INFO ", "WARNING wherryd.daemon.notify:")
    loud = [line for line in lines if not line.startswith(quiet)]
    assert not [line for line in loud if "Traceback" in line or line.startswith("  ")], "\n".join(lines)
    assert len(loud) <= at_most, "\n".join(loud)


def half_a_request(engine: NativeEngine, text: str, *, reset: bool = True) -> None:
    """Sends a request, reads the first bytes of the answer if there are any soon, and is gone."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.closing(connection):
        connection.connect(str(engine.socket))
        connection.sendall(text.encode())
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            connection.recv(1 if reset else 65536)  # unread bytes make it a reset


def request(method: str, path: str, body: Any = None, **headers: str) -> str:
    data = "" if body is None else json.dumps(body)
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n{more}\r\n{data}"


def exec_id(engine: NativeEngine, container: str, *command: str, **more: Any) -> str:
    body = {"Cmd": list(command), "AttachStdout": True, **more}
    made = engine.call("POST", f"/containers/{container}/exec", body)
    return str(made.json.get("Id") or "refused")


def test_a_container_that_cannot_start_is_one_line_at_most(engine: NativeEngine) -> None:
    def attempt(**fields: Any) -> Callable[[], None]:
        def action() -> None:
            made = engine.call("POST", "/containers/create", {"Image": "busybox:test", **fields})
            if made.status == 201:
                engine.call("POST", f"/containers/{made.json['Id']}/start")

        return action

    for fields in (
        {"Cmd": ["/no/such"]},
        {"Cmd": ["/etc/passwd"]},
        {"Cmd": ["true"], "User": "nobody-here"},
        {"Cmd": ["true"], "WorkingDir": "/etc/passwd"},
        {"Cmd": ["true"], "WorkingDir": "/proc/self/fd/3"},
        {"Cmd": ["x" * 200_000]},
        {"Cmd": ["true", "\0"]},
        {"Cmd": ["true"], "Env": ["A=\0"]},
        {"Cmd": ["\udcff"]},
        {"Cmd": ["true"], "HostConfig": {"Ulimits": [{"Name": "as", "Soft": 1, "Hard": 1}]}},
        {"Cmd": ["true"], "HostConfig": {"Binds": ["/proc/self/mem:/x"]}},
        {"Cmd": ["true"], "HostConfig": {"Tmpfs": {"/x": "size=nonsense"}}},
        {"Cmd": ["true"], "HostConfig": {"Sysctls": {"net.ipv4.no_such": "1"}}},
        {"Cmd": ["true"], "HostConfig": {"Devices": [{"PathOnHost": "/etc/passwd"}]}},
    ):  # fmt: skip
        assert_quiet(lines_of(engine, attempt(**fields)), at_most=1)


def test_an_exec_that_fails_is_one_line_at_most(engine: NativeEngine) -> None:
    container = engine.run("sleep", "1000")
    for command, more in (
        (("/no/such",), {}),
        (("/etc/passwd",), {}),
        (("true",), {"User": "nobody-here"}),
        (("true",), {"WorkingDir": "/no/such"}),
        (("true",), {"Tty": True, "User": "nobody-here"}),
        (("true", "\0"), {}),
    ):
        for detach in (False, True):

            def action(command: Any = command, more: Any = more, detach: bool = detach) -> None:
                found = exec_id(engine, container, *command, **more)
                engine.call("POST", f"/exec/{found}/start", {"Detach": detach})

            assert_quiet(lines_of(engine, action), at_most=1)


def test_clients_that_vanish_are_no_errors(engine: NativeEngine) -> None:
    container = engine.run("sh", "-c", "while :; do echo line; sleep 0.05; done", OpenStdin=True)
    ended = engine.create("true")
    running = exec_id(engine, container, "sleep", "1")
    upgrade = {"Upgrade": "tcp", "Connection": "Upgrade"}
    for text in (
        request("POST", f"/containers/{container}/wait"),
        request("POST", f"/containers/{ended}/wait?condition=removed"),
        request("GET", f"/containers/{container}/logs?follow=1&stdout=1&stderr=1"),
        request("GET", f"/containers/{container}/stats"),
        request("GET", "/events"),
        request("POST", f"/containers/{container}/attach?stream=1&stdout=1&stdin=1", **upgrade),
        request("POST", f"/exec/{running}/start", {"Detach": False}, **upgrade),
        request("GET", "/images/busybox:test/get"),
        request("POST", "/images/load").replace("Content-Length: 0\r\n\r\n", "")
        + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello",
        "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        "GET / HTTP/9.9\r\n\r\n",
        "\x00\xff\r\n\r\n",
    ):
        assert_quiet(lines_of(engine, lambda text=text: half_a_request(engine, text)), at_most=1)

    def ends() -> None:
        for path in (container, ended):
            engine.call("DELETE", f"/containers/{path}", force="1")

    assert_quiet(lines_of(engine, ends), at_most=0)


def test_wait_of_a_client_that_vanished_before_the_end(engine: NativeEngine) -> None:
    container = engine.run("sleep", "1000")

    def action() -> None:
        for _ in range(3):
            half_a_request(engine, request("POST", f"/containers/{container}/wait"))
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(engine.socket))
        connection.sendall(request("POST", f"/containers/{container}/wait").encode())
        connection.recv(1)
        killer = threading.Thread(
            target=lambda: engine.call("POST", f"/containers/{container}/kill", signal="KILL")
        )
        killer.start()
        connection.close()
        killer.join()

    assert_quiet(lines_of(engine, action), at_most=0)


def children(pid: int) -> dict[str, int]:
    """Name -> pid of a process's children."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found[Path(f"/proc/{child}/comm").read_text().strip()] = int(child)
    return found


def monitor_of(engine: NativeEngine, container: str) -> int:
    state = json.loads((engine.exec_root / "containers" / container / "state.json").read_text())
    return int(state["monitor_pid"])


def test_a_killed_zygote_is_one_line(engine: NativeEngine) -> None:
    def action() -> None:
        os.kill(children(engine.pid)["wherry-zygote"], signal.SIGKILL)
        assert engine.wait(engine.run("true")) == 0

    assert_quiet(lines_of(engine, action), at_most=1)


def test_a_killed_monitor_is_one_line_also_with_execs_and_clients(engine: NativeEngine) -> None:
    container = engine.run("sleep", "1000", OpenStdin=True)
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda path=path, body=body: answers.append(engine.call("POST", path, body)))
        for path, body in (
            (f"/exec/{exec_id(engine, container, 'sleep', '1000')}/start", {"Detach": False}),
            (f"/containers/{container}/attach?stream=1&stdout=1", None),
            (f"/containers/{container}/wait", None),
        )
    ]
    detached = exec_id(engine, container, "sleep", "1000")
    assert engine.call("POST", f"/exec/{detached}/start", {"Detach": True}).status == 200
    for thread in threads:
        thread.start()
    time.sleep(0.5)

    def action() -> None:
        os.kill(monitor_of(engine, container), signal.SIGKILL)
        assert engine.wait(container) == 137
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()

    assert_quiet(lines_of(engine, action), at_most=3)
    state = engine.inspect(container)["State"]
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 137, 0)
    assert "monitor" in state["Error"]
    # Docker forgets the execs of a container that has ended, or says how they did.
    told = engine.call("GET", f"/exec/{detached}/json")
    assert told.status == 404 or (told.json["Running"], told.json["ExitCode"]) == (False, 137)
    assert engine.call("POST", f"/containers/{container}/start").status == 204
    assert engine.inspect(container)["State"]["Running"]


def test_an_engine_that_stops_under_its_clients_says_nothing_loud(fresh_engine: NativeEngine) -> None:
    container = fresh_engine.run("sh", "-c", "while :; do echo line; sleep 0.05; done")
    paths = (f"/containers/{container}/logs?follow=1&stdout=1", "/events", f"/containers/{container}/stats")
    threads = []

    def follow(path: str) -> None:
        with contextlib.suppress(Exception):
            fresh_engine.call("GET", path)

    for path in paths:
        threads.append(threading.Thread(target=follow, args=(path,)))
        threads[-1].start()
    time.sleep(0.5)
    before = fresh_engine.log.stat().st_size
    assert fresh_engine.stop() == 0
    for thread in threads:
        thread.join(20)
    text = fresh_engine.log.read_bytes()[before:].decode()
    assert_quiet(text.splitlines(), at_most=0)


def test_an_engine_that_has_spoken_to_no_registry_has_not_loaded_openssl(fresh_engine: NativeEngine) -> None:
    """It is 2 MB of memory of every idle engine; see daemon/main.py."""
    container = fresh_engine.call("POST", "/containers/create", {"Image": "busybox:test", "Cmd": ["true"]})
    assert fresh_engine.call("POST", f"/containers/{container.json['Id']}/start").status == 204
    for pid in (fresh_engine.pid, *children(fresh_engine.pid).values()):
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert "libpython" in mapped or "/python3" in mapped
        assert "libssl" not in mapped
        assert "libcrypto" not in mapped
