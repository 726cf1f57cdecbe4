"""Wire details, 3: the size of terminals, before the start and after it, in bursts, and without any."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from native_engine import NativeEngine
from wire_rig import payload

pytestmark = pytest.mark.root

#: A terminal's size, or that there is no size to one, or no terminal.
SIZE = "s=$(stty size 2>/dev/null); echo ${s:-$(tty)}"


def said(engine: NativeEngine, container: str) -> bytes:
    engine.wait(container)
    return engine.call("GET", f"/containers/{container}/logs", stdout="1").body


def size_in_exec(
    engine: NativeEngine, container: str, create: Any, start: Any, version: str = "1.51"
) -> bytes:
    body = {"Cmd": ["sh", "-c", SIZE], "AttachStdout": True, **create}
    made = engine.call("POST", f"/v{version}/containers/{container}/exec", body)
    assert made.status == 201, made.text
    answer = engine.call("POST", f"/v{version}/exec/{made.json['Id']}/start", start)
    assert answer.status == 200, answer.text
    return answer.body if start.get("Tty") else payload(answer.body)


def test_a_resize_before_the_start_is_kept(engine: NativeEngine) -> None:
    container = engine.create("stty", "size", Tty=True)
    assert engine.call("POST", f"/containers/{container}/resize", h="41", w="97").status == 200
    engine.call("POST", f"/containers/{container}/start")
    assert said(engine, container) == b"41 97\r\n"


def test_a_resize_after_the_start_reaches_the_terminal_and_its_program(engine: NativeEngine) -> None:
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"
    container = engine.run("sh", "-c", script, Tty=True)
    while b"ready" not in engine.call("GET", f"/containers/{container}/logs", stdout="1").body:
        time.sleep(0.02)
    assert engine.call("POST", f"/containers/{container}/resize", h="11", w="222").status == 200
    assert said(engine, container) == b"ready\r\n11 222\r\n"


def test_a_burst_of_resizes_is_not_queued_and_the_last_one_counts(engine: NativeEngine) -> None:
    """Each answer comes when its size is set, so nothing is left behind them, and nothing grows."""
    container = engine.run("sleep", "60", Tty=True)
    held = engine.create("sleep", "60", Tty=True)
    answers: list[int] = []

    def burst(name: str, width: int) -> None:
        path = f"/containers/{name}/resize"
        answers.extend(engine.call("POST", path, h="10", w=str(width)).status for _ in range(50))

    def descriptors() -> int:
        return len(list(Path(f"/proc/{engine.pid}/fd").iterdir()))

    burst(container, 1)
    before = descriptors()
    threads = [
        threading.Thread(target=burst, args=(name, 50)) for name in (container, held) for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert answers == [200] * len(answers)
    assert len(answers) == 450
    assert engine.call("POST", f"/containers/{container}/resize", h="33", w="44").status == 200
    assert size_in_exec(engine, container, {}, {}) != b""  # the engine is not busy with what came before
    deadline = time.monotonic() + 10
    while descriptors() > before + 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert descriptors() <= before + 4
    assert "Traceback" not in Path(engine.log).read_text()


@pytest.mark.parametrize(
    "size", [{}, {"h": "", "w": "1"}, {"h": "+1", "w": "1"}, {"h": "-1", "w": "1"}, {"h": "1"}, {"w": "1"}]
)
def test_a_resize_needs_two_plain_numbers(engine: NativeEngine, size: dict[str, str]) -> None:
    container = engine.run("sleep", "60", Tty=True)
    assert engine.call("POST", f"/containers/{container}/resize", **size).status == 400
    created = engine.create("true", Tty=True)
    assert engine.call("POST", f"/containers/{created}/resize", **size).status == 400


def test_create_and_exec_take_a_console_size_since_1_42(engine: NativeEngine) -> None:
    for version, wanted in (("1.42", b"31 62\r\n"), ("1.41", b"/dev/pts/0\r\n")):
        body = {
            "Image": "busybox:test",
            "Cmd": ["sh", "-c", SIZE],
            "Tty": True,
            "HostConfig": {"ConsoleSize": [31, 62]},
        }
        made = engine.call("POST", f"/v{version}/containers/create", body)
        assert engine.call("POST", f"/containers/{made.json['Id']}/start").status == 204
        assert said(engine, made.json["Id"]) == wanted, version
    container = engine.run("sleep", "60")
    size, tty = {"ConsoleSize": [21, 43]}, {"Tty": True}
    for create, start in (({**tty, **size}, tty), (tty, {**tty, **size})):
        assert size_in_exec(engine, container, create, start, "1.42") == b"21 43\r\n"
        assert size_in_exec(engine, container, create, start, "1.41") == b"/dev/pts/0\r\n"


def test_without_a_terminal_a_console_size_is_ignored(engine: NativeEngine) -> None:
    size = {"ConsoleSize": [21, 43]}
    container = engine.run("sh", "-c", SIZE, HostConfig=size)
    assert payload(said(engine, container)) == b"not a tty\n"
    running = engine.run("sleep", "60")
    assert size_in_exec(engine, running, size, size) == b"not a tty\n"
