"""Wire details, 11b: prune: what it answers, one at a time, and its filters."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from builder_rig import built
from native_engine import Answer, NativeEngine

pytestmark = pytest.mark.root

RUNNING = "a prune operation is already running"


def prune(engine: NativeEngine, kind: str, **filters: list[str]) -> Any:
    answer = engine.call("POST", f"/{kind}/prune", filters=json.dumps(filters))
    assert answer.status == 200, answer.text
    return answer.json


def dangling(engine: NativeEngine, number: int, **labels: str) -> str:
    """An image that has lost its name."""
    words = " ".join(f"{key}={value}" for key, value in {"number": str(number), **labels}.items())
    made = built(engine, {"Dockerfile": f"FROM busybox:test\nLABEL {words}\n"}, t="dangling:1").image
    assert engine.call("POST", "/images/busybox:test/tag", repo="dangling", tag="1").status == 201
    assert engine.call("DELETE", "/images/dangling:1").json == [{"Untagged": "dangling:1"}]
    return made


def test_prune_of_containers_tells_ids_and_bytes(engine: NativeEngine) -> None:
    container = engine.run("sh", "-c", "head -c 100000 /dev/zero > /f")
    engine.wait(container)
    engine.run("sleep", "60")
    found = prune(engine, "containers")
    assert found["ContainersDeleted"] == [container]
    assert found["SpaceReclaimed"] >= 100_000


def test_prune_of_images_tells_what_was_untagged_and_deleted_and_bytes(engine: NativeEngine) -> None:
    image = dangling(engine, 1)
    found = prune(engine, "images")
    assert {"Deleted": image} in found["ImagesDeleted"]
    assert found["SpaceReclaimed"] >= 0
    assert prune(engine, "images") == {"ImagesDeleted": None, "SpaceReclaimed": 0}


def test_prune_of_networks_tells_names(engine: NativeEngine) -> None:
    assert engine.call("POST", "/networks/create", {"Name": "unused"}).status == 201
    assert prune(engine, "networks") == {"NetworksDeleted": ["unused"]}


def test_prune_of_volumes_tells_names_and_bytes(engine: NativeEngine) -> None:
    name = engine.call("POST", "/volumes/create", {}).json["Name"]
    found = prune(engine, "volumes")
    assert found["VolumesDeleted"] == [name]
    assert found["SpaceReclaimed"] >= 0


def test_prune_of_builds_tells_ids_and_bytes(engine: NativeEngine) -> None:
    built(engine, {"Dockerfile": "FROM busybox:test\nRUN head -c 100000 /dev/urandom > /f\n"}, q="1")
    found = prune(engine, "build")
    assert found["CachesDeleted"]
    assert found["SpaceReclaimed"] >= 100_000


def at_once(call: Callable[[], Answer], amount: int = 4) -> list[Answer]:
    answers: list[Answer] = []
    ready = threading.Barrier(amount)

    def one() -> None:
        ready.wait(20)
        answers.append(call())

    threads = [threading.Thread(target=one) for _ in range(amount)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert len(answers) == amount
    return answers


@pytest.mark.parametrize("kind", ["containers", "images", "networks"])
def test_a_second_prune_at_once_is_a_conflict(engine: NativeEngine, kind: str) -> None:
    """Those of volumes and builds take turns: there the second one has nothing left to do."""
    key = f"{kind.capitalize()}Deleted"
    for round_ in range(10):
        for number in range(6):
            if kind == "containers":
                engine.create("true")
            elif kind == "images":
                dangling(engine, 100 * round_ + number)
            else:
                assert engine.call("POST", "/networks/create", {"Name": f"unused-{number}"}).status == 201
        answers = at_once(lambda: engine.call("POST", f"/{kind}/prune"))
        assert {each.status for each in answers} <= {200, 409}
        deleted = [each.json[key] for each in answers if each.status == 200]
        assert sum(len(each or ()) for each in deleted) >= 6
        refused = [each.message for each in answers if each.status == 409]
        assert set(refused) <= {RUNNING}
        if refused:
            return
    pytest.fail("none was refused in ten rounds")


def test_the_label_filters_of_prune_are_and_and_not(engine: NativeEngine) -> None:
    kept = engine.create("true", Labels={"a": "1", "keep": ""})
    other = engine.create("true", Labels={"a": "2"})
    chosen = engine.create("true", Labels={"a": "1", "b": ""})
    found = prune(engine, "containers", label=["a=1"], **{"label!": ["keep"]})
    assert found["ContainersDeleted"] == [chosen]
    assert {engine.inspect(each)["Id"] for each in (kept, other)} == {kept, other}
    for kind, path, key in (
        ("networks", "/networks/create", "NetworksDeleted"),
        ("volumes", "/volumes/create", "VolumesDeleted"),
    ):
        for name, labels in (("one", {"a": "1"}), ("two", {"a": "1", "keep": ""}), ("three", {})):
            body = {"Name": name if kind == "networks" else "", "Labels": labels}
            answer = engine.call("POST", path, body)
            assert answer.status == 201, answer.text
        found = prune(engine, kind, label=["a"], **{"label!": ["keep"]})
        assert len(found[key]) == 1
        assert len(prune(engine, kind)[key]) == 2
    keep, go = dangling(engine, 901, keep="1"), dangling(engine, 902, keep="0")
    assert {"Deleted": go} in prune(engine, "images", **{"label!": ["keep=1"]})["ImagesDeleted"]
    assert {"Deleted": keep} in prune(engine, "images", label=["keep"])["ImagesDeleted"]


def test_until_of_prune_is_one_duration_or_time(engine: NativeEngine) -> None:
    old = engine.create("true")
    created = engine.inspect(old)["Created"]
    for before in ("1h", "2001-01-01T00:00:00Z", "1000000000"):
        assert prune(engine, "containers", until=[before])["ContainersDeleted"] is None
        assert prune(engine, "images", until=[before])["ImagesDeleted"] is None
        assert prune(engine, "networks", until=[before])["NetworksDeleted"] is None
    for kind in ("containers", "images", "networks"):
        for bad in (["1h", "2h"], ["yesterday"]):
            answer = engine.call("POST", f"/{kind}/prune", filters=json.dumps({"until": bad}))
            assert answer.status == 400, (kind, bad)
    assert prune(engine, "containers", until=[created])["ContainersDeleted"] == [old]
    again = engine.create("true")
    assert prune(engine, "containers", until=["0s"])["ContainersDeleted"] == [again]


def test_prune_of_images_takes_dangling_ones_only_unless_told_otherwise(engine: NativeEngine) -> None:
    image = dangling(engine, 903)
    for default in ({}, {"dangling": ["true"]}):
        assert prune(engine, "images", **default)["ImagesDeleted"] in ([{"Deleted": image}], None)
        assert engine.call("GET", "/images/busybox:test/json").status == 200
    built(engine, {"Dockerfile": "FROM busybox:test\nLABEL a=named\n"}, t="unused:1")
    container = engine.create("true")
    found = prune(engine, "images", dangling=["false"])
    assert {"Untagged": "unused:1"} in found["ImagesDeleted"]
    assert engine.call("GET", "/images/busybox:test/json").status == 200, "a container stands on it"
    engine.remove(container)


def test_prune_of_volumes_takes_named_ones_only_with_all(engine: NativeEngine) -> None:
    for name in ("named", "older"):
        assert engine.call("POST", "/volumes/create", {"Name": name}).status == 201
    anonymous = engine.call("POST", "/volumes/create", {}).json["Name"]
    assert prune(engine, "volumes")["VolumesDeleted"] == [anonymous]
    assert prune(engine, "volumes", all=["true"])["VolumesDeleted"] == ["named", "older"]
    # Before 1.42 there was no difference.
    assert engine.call("POST", "/volumes/create", {"Name": "named"}).status == 201
    assert engine.call("POST", "/v1.41/volumes/prune").json["VolumesDeleted"] == ["named"]


@pytest.mark.parametrize("kind", ["containers", "images", "networks", "volumes", "build"])
def test_prune_refuses_a_filter_that_it_does_not_know(engine: NativeEngine, kind: str) -> None:
    answer = engine.call("POST", f"/{kind}/prune", filters='{"colour":["red"]}')
    assert (answer.status, "invalid filter 'colour'" in answer.message) == (400, True)
