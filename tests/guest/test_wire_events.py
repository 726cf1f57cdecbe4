"""Wire details, 5: events: their shape, what clients read of them, filters, and replay."""

import json
import time
from typing import Any

import pytest
from native_engine import IMAGE, NativeEngine
from wire_rig import actions, connected, events, fields, header, line

pytestmark = pytest.mark.root


def exited(engine: NativeEngine, code: int, **fields: Any) -> str:
    container = engine.run("sh", "-c", f"exit {code}", **fields)
    engine.wait(container)
    return container


def test_an_event_has_type_action_actor_scope_and_both_times(engine: NativeEngine) -> None:
    begun = time.time()
    container = exited(engine, 0)
    (died,) = events(engine, begun, container=[container], event=["die"])
    assert (died["Type"], died["Action"], died["scope"]) == ("container", "die", "local")
    assert died["Actor"]["ID"] == container
    assert set(died["Actor"]) == {"ID", "Attributes"}
    assert died["timeNano"] // 10**9 == died["time"]
    assert begun * 10**9 <= died["timeNano"] <= time.time_ns()


def test_an_event_has_the_fields_of_old_up_to_1_51(engine: NativeEngine) -> None:
    begun = time.time()
    container = exited(engine, 0)
    (died,) = events(engine, begun, container=[container], event=["die"])
    assert (died["status"], died["id"], died["from"]) == ("die", container, IMAGE)


def test_events_are_lines_of_json_behind_a_head_that_is_sent_at_once(engine: NativeEngine) -> None:
    with connected(engine, 'GET /events?filters={"event":["die"]}') as connection:
        head = header(connection)  # nothing has happened yet
        assert head.startswith("HTTP/1.1 200")
        assert fields(head)["Content-Type"] == "application/json"
        containers = [exited(engine, code) for code in (1, 2)]
        assert [line(connection)["id"] for _ in containers] == containers
    lines = engine.call("GET", "/events", since="1", until=f"{time.time():.9f}").body
    assert lines.endswith(b"}\n")
    assert all(json.loads(each) for each in lines.splitlines())


def test_an_events_attributes_are_all_labels_and_what_belongs_to_the_action(engine: NativeEngine) -> None:
    begun = time.time()
    container = engine.run("sleep", "60", Labels={"a.b": "c", "empty": ""}, name="labelled")
    made = engine.call("POST", f"/containers/{container}/exec", {"Cmd": ["true"]}).json["Id"]
    assert engine.call("POST", f"/exec/{made}/start", {}).status == 200
    assert engine.call("POST", f"/containers/{container}/kill", signal="KILL").status == 204
    engine.wait(container)
    found = {
        each["Action"]: each["Actor"]["Attributes"] for each in events(engine, begun, container=[container])
    }
    common = {"a.b": "c", "empty": "", "image": IMAGE, "name": "labelled"}
    assert all(common.items() <= attributes.items() for attributes in found.values())
    assert found["die"]["exitCode"] == "137"
    assert found["kill"]["signal"] == "9"
    assert found["exec_die"]["execID"] == made


def test_compose_finds_out_at_die_whether_it_will_be_started_again(engine: NativeEngine) -> None:
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 20}}
    with connected(engine, 'GET /events?filters={"event":["die"]}') as connection:
        header(connection)
        again = engine.run("false", HostConfig=policy)
        died = line(connection)
        assert died["Actor"]["Attributes"]["exitCode"] == "1"
        # What compose's monitor does next: the state was written before the event was told.
        state = engine.inspect(died["Actor"]["ID"])
        assert state["State"]["Restarting"] or state["RestartCount"] > 0
        engine.remove(again)
    begun = time.time()
    over = exited(engine, 5)
    (died,) = events(engine, begun, container=[over], event=["die"])
    assert died["Actor"]["Attributes"]["exitCode"] == "5"
    assert engine.inspect(over)["State"]["Restarting"] is False


def test_filters_are_and_across_keys_and_or_within_one(engine: NativeEngine) -> None:
    begun = time.time()
    engine.run("sleep", "60", name="first")
    engine.run("sleep", "60", name="second")
    found = events(engine, begun, type=["container"], event=["create", "start"], container=["first"])
    assert actions(found) == ["create", "start"]
    assert events(engine, begun, event=["start"], type=["network"]) == []
    both = events(engine, begun, event=["start"], container=["first", "second"])
    assert [each["Actor"]["Attributes"]["name"] for each in both] == ["first", "second"]
    assert len(events(engine, begun, type=["container", "network"], event=["start", "connect"])) == 4


def test_the_event_filter_is_exact_but_for_three_that_match_by_their_beginning(engine: NativeEngine) -> None:
    check = {"Test": ["CMD", "true"], "Interval": 50_000_000}
    begun = time.time()
    container = engine.run("sleep", "60", Healthcheck=check)
    while engine.inspect(container)["State"]["Health"]["Status"] != "healthy":
        time.sleep(0.02)
    made = engine.call("POST", f"/containers/{container}/exec", {"Cmd": ["true", "x"]}).json["Id"]
    assert engine.call("POST", f"/exec/{made}/start", {}).status == 200
    for wanted, told in (
        ("star", []),
        ("exec_di", []),
        ("exec_create", ["exec_create: true x"]),
        ("exec_start", ["exec_start: true x"]),
        ("exec_start: true x", ["exec_start: true x"]),
        ("health_status", ["health_status: healthy"]),
        ("health_status: healthy", ["health_status: healthy"]),
        ("health_status: unhealthy", []),
    ):
        found = events(engine, begun, container=[container], event=[wanted])
        mine = [each for each in found if each["Actor"]["Attributes"].get("execID", made) == made]
        assert actions(mine) == told, wanted


def test_the_image_filter_matches_containers_too_and_without_the_tag(engine: NativeEngine) -> None:
    begun = time.time()
    container = engine.create("true")
    assert engine.call("POST", f"/images/{IMAGE}/tag", repo="other", tag="9").status == 201
    repository = IMAGE.partition(":")[0]
    for wanted in (IMAGE, repository):
        found = events(engine, begun, image=[wanted])
        assert [each["Actor"]["ID"] for each in found if each["Type"] == "container"] == [container]
    (tagged,) = events(engine, begun, image=["other"])
    assert (tagged["Type"], tagged["Action"]) == ("image", "tag")
    assert events(engine, begun, image=["busy"]) == []
    assert engine.call("DELETE", "/images/other:9").status == 200


def test_the_container_filter_matches_the_beginning_of_an_id_or_a_name(engine: NativeEngine) -> None:
    begun = time.time()
    container = engine.create("true", name="service-web-1")
    engine.create("true", name="other")
    for wanted in (container, container[:8], "service-web-1", "service", "/service-web"):
        found = events(engine, begun, container=[wanted])
        assert [each["Actor"]["ID"] for each in found] == [container], wanted
    assert events(engine, begun, container=["web-1"]) == []


def test_every_label_of_the_filter_must_be_there(engine: NativeEngine) -> None:
    begun = time.time()
    engine.create("true", Labels={"x": "1", "y": ""})
    engine.create("true", Labels={"x": "2"})
    assert len(events(engine, begun, label=["x"])) == 2
    assert len(events(engine, begun, label=["x=1"])) == 1
    assert len(events(engine, begun, label=["x", "y"])) == 1
    assert len(events(engine, begun, label=["x=1", "y="])) == 1
    assert events(engine, begun, label=["x=2", "y"]) == []
    assert events(engine, begun, label=["x=1", "x=2"]) == []


def test_since_and_until_are_seconds_with_a_fraction(engine: NativeEngine) -> None:
    begun = time.time()
    for name in ("one", "two", "three"):
        engine.create("true", name=name)
    found = events(engine, begun, event=["create"], type=["container"])
    first, second, third = (each["timeNano"] for each in found)

    def between(since: int, until: int) -> list[str]:
        span = {
            "since": f"{since // 10**9}.{since % 10**9:09d}",
            "until": f"{until // 10**9}.{until % 10**9:09d}",
        }
        answer = engine.call("GET", "/events", filters='{"event":["create"],"type":["container"]}', **span)
        return [json.loads(each)["Actor"]["Attributes"]["name"] for each in answer.body.splitlines()]

    assert between(first, third) == ["one", "two", "three"]
    assert between(first + 1, third - 1) == ["two"]
    assert between(second, second) == ["two"]
    wrong = engine.call("GET", "/events", since="20", until="10")
    assert (wrong.status, "cannot be after" in wrong.message) == (400, True)


def test_an_end_in_the_past_replays_and_closes(engine: NativeEngine) -> None:
    container = engine.create("true")
    now = f"{time.time():.9f}"
    # Without a beginning it is all that is kept.
    for query in ({"since": "1", "until": now}, {"until": now}):
        answer = engine.call("GET", "/events", filters=json.dumps({"container": [container]}), **query)
        assert actions([json.loads(each) for each in answer.body.splitlines()]) == ["create"], query
    assert engine.call("GET", "/events", until="1").body == b""


def test_an_end_to_come_closes_when_it_has_come(engine: NativeEngine) -> None:
    begun = time.time()
    until = begun + 0.5
    span = f"since={begun:.6f}&until={until:.6f}"
    with connected(engine, f'GET /events?{span}&filters={{"event":["create"]}}') as connection:
        header(connection)
        container = engine.create("true")
        assert line(connection)["id"] == container
        assert connection.recv(65536) == b"0\r\n\r\n"
    assert time.time() >= until - 0.001


def test_the_last_256_events_are_kept_for_replay(engine: NativeEngine) -> None:
    begun = time.time()
    container = engine.create("true", name="n0")
    for number in range(1, 257):
        assert engine.call("POST", f"/containers/{container}/rename", name=f"n{number}").status == 204
    assert len(events(engine, begun, container=[container], event=["rename"])) >= 256
