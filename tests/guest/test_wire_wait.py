"""Wire details, 4: waiting for the end of a container, before it has begun, and when it never will."""

import json
import threading
import time

import pytest
from native_engine import NativeEngine
from wire_rig import chunks, connected, fields, header

pytestmark = pytest.mark.root


@pytest.mark.parametrize("query", ["", "?condition=", "?condition=not-running"])
def test_not_running_is_the_default_and_true_of_a_created_and_an_ended_container(
    engine: NativeEngine, query: str
) -> None:
    created = engine.create("true")
    ended = engine.run("sh", "-c", "exit 3")
    while engine.inspect(ended)["State"]["Running"]:
        time.sleep(0.02)
    for container, code in ((created, 0), (ended, 3)):
        answer = engine.call("POST", f"/containers/{container}/wait{query}")
        assert answer.json["StatusCode"] == code


def test_not_running_waits_for_a_running_container(engine: NativeEngine) -> None:
    container = engine.run("sh", "-c", "sleep 0.5; exit 7")
    assert engine.wait(container, "not-running") == 7


def test_next_exit_waits_for_the_next_one_also_of_a_created_or_ended_container(engine: NativeEngine) -> None:
    container = engine.create("sh", "-c", "exit 3")
    for _ in range(2):
        with connected(engine, f"POST /containers/{container}/wait?condition=next-exit") as connection:
            header(connection)
            assert engine.call("POST", f"/containers/{container}/start").status == 204
            assert json.loads(chunks(connection))["StatusCode"] == 3


def test_removed_waits_until_it_is_removed_and_tells_how_it_ended(engine: NativeEngine) -> None:
    container = engine.create("sh", "-c", "exit 3")
    codes: list[int] = []
    waiter = threading.Thread(target=lambda: codes.append(engine.wait(container, "removed")))
    waiter.start()
    engine.call("POST", f"/containers/{container}/start")
    assert engine.wait(container) in (0, 3)
    engine.wait(container)
    assert codes == []
    engine.remove(container)
    waiter.join(30)
    assert codes == [3]


@pytest.mark.parametrize("version", ["1.30", "1.51"])
def test_the_head_is_sent_at_once_and_the_line_at_the_end(engine: NativeEngine, version: str) -> None:
    container = engine.create("sh", "-c", "exit 9")
    path = f"/v{version}/containers/{container}/wait"
    with connected(engine, f"POST {path}?condition=next-exit") as connection:
        # It comes before the start, without which there would be nothing to wait for.
        head = header(connection)
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert fields(head)["Content-Type"] == "application/json"
        engine.call("POST", f"/containers/{container}/start")
        found = chunks(connection)
    assert found.endswith(b"\n")
    assert found.count(b"\n") == 1
    document = json.loads(found)
    assert document["StatusCode"] == 9
    assert document.get("Error") is None


def test_removal_releases_those_who_wait_for_an_exit_that_will_never_come(engine: NativeEngine) -> None:
    container = engine.create("true")
    with connected(engine, f"POST /containers/{container}/wait?condition=next-exit") as connection:
        header(connection)
        engine.remove(container)
        assert json.loads(chunks(connection))["StatusCode"] == 0


def test_the_line_says_why_the_last_start_failed(engine: NativeEngine) -> None:
    container = engine.create("nosuch")
    assert engine.call("POST", f"/containers/{container}/start").status == 400
    document = engine.call("POST", f"/containers/{container}/wait").json
    assert document["StatusCode"] == 127
    assert "executable file not found" in document["Error"]["Message"]


def test_a_failed_start_releases_those_who_wait_for_the_removal_of_an_auto_removed_container(
    engine: NativeEngine,
) -> None:
    container = engine.create("nosuch", HostConfig={"AutoRemove": True})
    with connected(engine, f"POST /containers/{container}/wait?condition=removed") as connection:
        header(connection)
        engine.call("POST", f"/containers/{container}/start")
        assert json.loads(chunks(connection))["StatusCode"] == 127
    assert engine.call("GET", f"/containers/{container}/json").status == 404


def test_a_condition_that_is_none_of_the_three_is_a_bad_request(engine: NativeEngine) -> None:
    container = engine.create("true")
    answer = engine.call("POST", f"/containers/{container}/wait", condition="soon")
    assert (answer.status, "not-running, next-exit, removed" in answer.message) == (400, True)
