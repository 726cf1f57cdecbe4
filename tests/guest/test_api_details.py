"""More of the wire where clones get it wrong: bodies, events, logs, waiting, statistics, absent parts."""

import json
import re
import socket
import threading
import time
from typing import Any

import pytest
from native_engine import IMAGE, NativeEngine
from test_api_wire import connected, frames, header

pytestmark = pytest.mark.root


def events(engine: NativeEngine, since: float, **filters: list[str]) -> list[dict[str, Any]]:
    """What is replayed up to now."""
    answer = engine.call(
        "GET", "/events", since=f"{since:.9f}", until=f"{time.time():.9f}", filters=json.dumps(filters)
    )
    assert answer.status == 200
    return [json.loads(line) for line in answer.body.splitlines()]


def test_a_body_needs_its_type_and_one_value(engine: NativeEngine) -> None:
    body = json.dumps({"Image": IMAGE, "Cmd": ["true"]}).encode()
    plain = engine.call("POST", "/containers/create", body, headers={"Content-Type": "text/plain"})
    assert plain.status == 400
    twice = engine.call(
        "POST", "/containers/create", body + b"{}", headers={"Content-Type": "application/json"}
    )
    assert twice.status == 400
    container = engine.create("true")
    assert engine.call("POST", f"/containers/{container}/start").status == 204


@pytest.mark.parametrize(
    ("text", "all_of_them"), [("", 0), ("0", 0), ("no", 0), ("False", 0), ("none", 0), ("x", 1)]
)
def test_everything_but_five_words_is_true(engine: NativeEngine, text: str, all_of_them: int) -> None:
    engine.create("true")
    assert len(engine.call("GET", "/containers/json", all=text).json) == all_of_them


def test_filters_have_two_generations_and_known_keys(engine: NativeEngine) -> None:
    engine.create("true", name="found")
    for text in ('{"name":{"found":true}}', '{"name":["found"]}'):
        assert len(engine.call("GET", "/containers/json", all="1", filters=text).json) == 1
    for text in ("{", '{"colour":["red"]}'):
        assert engine.call("GET", "/containers/json", filters=text).status == 400


def test_an_event_has_all_labels_and_what_compose_reads(engine: NativeEngine) -> None:
    begun = time.time()
    container = engine.run("sh", "-c", "exit 7", Labels={"a.b": "c"})
    engine.wait(container)
    (died,) = events(engine, begun, container=[container], event=["die"])
    assert died["Type"] == "container"
    assert died["status"] == died["Action"] == "die"
    assert died["id"] == died["Actor"]["ID"] == container
    assert died["from"] == died["Actor"]["Attributes"]["image"] == IMAGE
    assert died["Actor"]["Attributes"]["a.b"] == "c"
    assert died["Actor"]["Attributes"]["exitCode"] == "7"
    assert died["timeNano"] // 10**9 == died["time"]


def test_event_filters_are_or_within_a_key_and_and_across_keys(engine: NativeEngine) -> None:
    begun = time.time()
    first = engine.run("sleep", "60", Labels={"x": "1"}, name="first")
    engine.run("sleep", "60", Labels={"x": "2"})
    made = engine.call("POST", f"/containers/{first}/exec", {"Cmd": ["true"]})
    assert made.status == 201
    both = events(engine, begun, type=["container"], event=["create", "start"], container=["first"])
    assert [each["Action"] for each in both] == ["create", "start"]
    assert len(events(engine, begun, event=["start"], label=["x"])) == 2
    assert len(events(engine, begun, event=["start"], label=["x=1", "x"])) == 1
    assert [each["Action"] for each in events(engine, begun, event=["exec_create"])] == ["exec_create: true"]
    assert len(events(engine, begun, event=["start"], image=[IMAGE.partition(":")[0]])) == 2
    assert events(engine, begun, event=["start"], type=["network"]) == []


def test_waiting_has_three_conditions(engine: NativeEngine) -> None:
    created = engine.create("sh", "-c", "exit 3")
    assert engine.wait(created) == 0
    codes: dict[str, int] = {}

    def wait(condition: str) -> None:
        codes[condition] = engine.wait(created, condition)

    waiters = [threading.Thread(target=wait, args=[name]) for name in ("next-exit", "removed")]
    for each in waiters:
        each.start()
    time.sleep(0.3)
    assert codes == {}
    engine.call("POST", f"/containers/{created}/start")
    waiters[0].join(30)
    assert codes == {"next-exit": 3}
    engine.remove(created)
    waiters[1].join(30)
    assert codes == {"next-exit": 3, "removed": 3}
    other = engine.create("true")
    assert engine.call("POST", f"/containers/{other}/wait", condition="soon").status == 400


def test_logs_are_asked_for_as_docker_wants_it(engine: NativeEngine) -> None:
    container = engine.run("sh", "-c", "echo a; echo b >&2; echo c")
    engine.wait(container)
    path = f"/containers/{container}/logs"
    assert engine.call("GET", path).status == 400
    assert engine.call("GET", "/containers/nobody/logs", stdout="1").status == 404
    everything = engine.call("GET", path, stdout="1", stderr="1", tail="junk")
    assert everything.headers["Content-Type"] == "application/vnd.docker.multiplexed-stream"
    assert sorted(frames(everything.body)) == [(1, b"a\n"), (1, b"c\n"), (2, b"b\n")]
    assert len(frames(engine.call("GET", path, stdout="1", stderr="1", tail="2").body)) == 2
    stamped = frames(engine.call("GET", path, stdout="1", timestamps="1").body)
    assert all(re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z [ac]\n", line) for _, line in stamped)
    assert engine.call("GET", f"/v1.41{path}", stdout="1").headers["Content-Type"].endswith("raw-stream")


def test_one_answer_of_stats_has_two_samples_unless_one_shot(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    path = f"/containers/{container}/stats"
    two = engine.call("GET", path, stream="0").json
    assert two["precpu_stats"]["system_cpu_usage"] > 0
    assert two["cpu_stats"]["online_cpus"] > 0
    assert (
        "inactive_file" in two["memory_stats"]["stats"]
        or "total_inactive_file" in two["memory_stats"]["stats"]
    )
    one = engine.call("GET", path, stream="0", **{"one-shot": "1"}).json
    assert not one["precpu_stats"].get("system_cpu_usage")
    with connected(engine, f"GET {path}") as connection:
        header(connection)
        assert not _first_of(connection)["precpu_stats"].get("system_cpu_usage")
        assert engine.call("DELETE", f"/containers/{container}", force="1").status == 204
        ended = b""
        while not ended.endswith(b"0\r\n\r\n"):
            ended = ended[-8:] + connection.recv(65536)


def _first_of(connection: socket.socket) -> Any:
    """Of a chunked stream of JSON lines."""
    found = b""
    while found.count(b"\n") < 2 or not found.endswith(b"\r\n"):
        found += connection.recv(65536)
    return json.loads(found.partition(b"\r\n")[2].partition(b"\n")[0])


def test_a_paused_container_takes_no_client(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    assert engine.call("POST", f"/containers/{container}/pause").status == 204
    assert engine.call("POST", f"/containers/{container}/attach", stream="1", stdout="1").status == 409
    assert engine.call("POST", f"/containers/{container}/exec", {"Cmd": ["true"]}).status == 409


@pytest.mark.parametrize(
    "size", [{}, {"h": "", "w": "1"}, {"h": "+1", "w": "1"}, {"h": "-1", "w": "1"}, {"h": "1"}]
)
def test_a_resize_needs_two_plain_numbers(engine: NativeEngine, size: dict[str, str]) -> None:
    container = engine.run("sleep", "60", Tty=True)
    assert engine.call("POST", f"/containers/{container}/resize", **size).status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs")),
        *(("GET", path) for path in ("/nodes/x", "/services/x", "/tasks/x", "/secrets/x", "/configs/x")),
        *(
            ("POST", path)
            for path in ("/services/create", "/secrets/create", "/configs/create", "/swarm/leave")
        ),
    ],
)
def test_what_belongs_to_a_swarm_says_that_this_is_none(engine: NativeEngine, method: str, path: str) -> None:
    answer = engine.call(method, path)
    assert answer.status == 503
    assert answer.message.startswith("This node is not a swarm manager.")
    assert engine.call("GET", "/info").json["Swarm"]["LocalNodeState"] == "inactive"


def test_a_second_prune_at_once_is_a_conflict(engine: NativeEngine) -> None:
    for _ in range(12):
        engine.create("true")
    answers = []
    pruners = [
        threading.Thread(target=lambda: answers.append(engine.call("POST", "/containers/prune")))
        for _ in range(4)
    ]
    for each in pruners:
        each.start()
    for each in pruners:
        each.join(60)
    assert {each.status for each in answers} <= {200, 409}
    assert sum(len(each.json["ContainersDeleted"] or ()) for each in answers if each.status == 200) == 12
    refused = [each for each in answers if each.status == 409]
    assert all(each.message == "a prune operation is already running" for each in refused)
