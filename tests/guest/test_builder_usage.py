"""What builds keep: it is listed, pruned by filters, and kept to a size."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from builder_rig import built
from native_engine import NativeEngine

from wherryd.builder import usage

pytestmark = pytest.mark.root


def records(engine: NativeEngine, kind: str) -> list[dict[str, Any]]:
    found = engine.call("GET", "/system/df").json["BuildCache"]
    return [each for each in found if each["Type"] == kind]


def prune(engine: NativeEngine, **query: Any) -> dict[str, Any]:
    if "filters" in query:
        query["filters"] = json.dumps(query["filters"])
    answer = engine.call("POST", "/build/prune", **query)
    assert answer.status == 200, answer.text
    return dict(answer.json)


@pytest.fixture
def built_engine(fresh_engine: NativeEngine) -> NativeEngine:
    """With three steps, the last of which has a name, and a cache mount of 1 MiB."""
    file = (
        "FROM busybox:test\nRUN head -c 3000000 /dev/urandom > /big\n"
        "RUN --mount=type=cache,target=/c,id=mine head -c 1048576 /dev/urandom > /c/f\n"
    )
    built(fresh_engine, {"Dockerfile": file + "RUN echo named > /n\n"}, t="kept:1")
    built(fresh_engine, {"Dockerfile": file + "RUN echo lost > /l\n"})
    return fresh_engine


def test_df_lists_steps_and_cache_mounts(built_engine: NativeEngine, docker_cli: str) -> None:
    shown = built_engine.docker("system", "df")
    assert b"1.0" in shown.stdout.split(b"Build Cache")[1], shown.stderr
    (mount,) = records(built_engine, "exec.cachemount")
    assert mount["Size"] >= 1_048_576
    assert "mine" in mount["Description"]
    steps = {each["Description"].rpartition("> ")[2]: each for each in records(built_engine, "regular")}
    assert steps["/big"]["Size"] >= 3_000_000
    assert steps["/big"]["Shared"]  # kept:1 stands on it
    assert not steps["/l"]["Shared"]
    assert steps["/l"]["Parents"] == [steps["/c/f"]["ID"]]
    old = built_engine.call("GET", "/v1.41/system/df").json
    assert old["BuilderSize"] == sum(each["Size"] for each in old["BuildCache"] if not each["Shared"])


def test_prune_takes_what_the_filters_say(built_engine: NativeEngine) -> None:
    def pruned(**filters: str) -> tuple[int, int]:
        """(steps, cache mounts)"""
        deleted = prune(
            built_engine, filters={key.replace("_", "-"): [text] for key, text in filters.items()}
        )
        found = deleted["CachesDeleted"]
        return len([each for each in found if each.startswith("sha256:")]), len(
            [each for each in found if not each.startswith(("sha256:", "contexts"))]
        )

    for nothing in ({"until": "1h"}, {"shared": "true"}, {"inuse": "true"}, {"label": "x"}):
        assert pruned(**nothing) == (0, 0)
    assert pruned(description="cache mine", type="exec.cachemount") == (0, 1)
    assert records(built_engine, "exec.cachemount") == []
    assert pruned(unused_for="0s", private="true") == (1, 0)
    assert pruned() == (0, 0)


def test_prune_takes_records_by_id_and_parent(built_engine: NativeEngine) -> None:
    steps = {each["Description"].rpartition("> ")[2]: each for each in records(built_engine, "regular")}
    last = steps["/l"]
    for nothing in (
        {"id": ["0" * 12]},
        {"parents": ["0" * 12]},
        {"id": [last["ID"]], "type": ["source.local"]},
    ):
        assert prune(built_engine, filters=nothing)["CachesDeleted"] == []
    short = last["ID"].removeprefix("sha256:")[:12]
    assert prune(built_engine, filters={"id": [short], "unused-for": ["1h"]})["CachesDeleted"] == []
    found = prune(built_engine, filters={"parents": [steps["/c/f"]["ID"]], "until": ["0s"]})
    assert found["CachesDeleted"] == [last["ID"]]
    assert last["ID"] not in {each["ID"] for each in records(built_engine, "regular")}


def test_both_commands_show_the_cache_line_by_line(built_engine: NativeEngine, docker_cli: str) -> None:
    theirs = built_engine.docker("system", "df", "-v").stdout.decode()
    ours = wherry(built_engine, "system", "df", "-v")
    mount, (*steps,) = records(built_engine, "exec.cachemount")[0], records(built_engine, "regular")
    for shown in (theirs, ours):
        usage = shown.partition("Build cache usage: ")[2].splitlines()
        assert usage, shown
        rows = {line.split()[0]: line.split() for line in usage if len(line.split()) > 4}
        for each in (mount, *steps):
            row = next(
                row for name, row in rows.items() if each["ID"].removeprefix("sha256:").startswith(name)
            )
            assert row[1] == each["Type"]
            assert row[-1] == str(each["Shared"]).lower()
    deleted = wherry(built_engine, "builder", "prune", "-f", "--filter", "type=exec.cachemount")
    assert mount["ID"] in deleted
    assert "Total" in deleted
    assert records(built_engine, "exec.cachemount") == []


def wherry(engine: NativeEngine, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from wherry.cli.main import main; main()", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "WHERRY_HOST": f"unix://{engine.socket}"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_prune_keeps_what_it_is_told_to(built_engine: NativeEngine) -> None:
    assert prune(built_engine, **{"reserved-space": "100000000"})["CachesDeleted"] == []
    assert prune(built_engine, **{"max-used-space": "100000000"})["CachesDeleted"] == []
    assert prune(built_engine, **{"min-free-space": "1"})["CachesDeleted"] == []
    both = {"min-free-space": str(1 << 62), "reserved-space": "100000000"}
    assert prune(built_engine, **both)["CachesDeleted"] == []
    assert prune(built_engine, **{"keep-storage": "1"})["SpaceReclaimed"] >= 1_048_576
    # Named images are whole after all that.
    again = built_engine.docker("run", "--rm", "--network=none", "kept:1", "cat", "/n")
    assert again.stdout == b"named\n"
    text = built(
        built_engine, {"Dockerfile": "FROM busybox:test\nRUN head -c 3000000 /dev/urandom > /big\n"}
    ).text
    assert "Using cache" in text


def test_a_filter_that_is_not_known_is_named(engine: NativeEngine) -> None:
    answer = engine.call("POST", "/build/prune", filters=json.dumps({"colour": ["red"]}))
    assert (answer.status, "invalid filter 'colour'" in answer.message) == (400, True)
    answer = engine.call("POST", "/build/prune", **{"max-used-space": "much"})
    assert (answer.status, "max-used-space" in answer.message) == (400, True)


@pytest.mark.parametrize(
    ("space", "kept"),
    [
        ({}, 0),
        ({"reserved_bytes": 30}, 30),
        ({"most_bytes": 40}, 40),
        ({"most_bytes": 40, "reserved_bytes": 60}, 60),
        # 20 are free, and 100 are used.
        ({"free_bytes": 10}, 100),
        ({"free_bytes": 50}, 70),
        ({"free_bytes": 50, "most_bytes": 60}, 60),
        ({"free_bytes": 50, "most_bytes": 80}, 70),
        ({"free_bytes": 500}, 0),
        ({"free_bytes": 500, "reserved_bytes": 5}, 5),
    ],
)
def test_sizes_of_a_prune_say_together_how_much_is_kept(space: dict[str, int], kept: int) -> None:
    assert usage.Space(**space).keep_bytes(100, 20) == kept


def test_the_cache_is_kept_to_its_size(fresh_engine: NativeEngine) -> None:
    fresh_engine.stop()
    fresh_engine.options = ("--builder-keep-storage", "2MB")
    fresh_engine.start()
    step = "FROM busybox:test\nRUN --mount=type=cache,target=/c,id={0} head -c {1} /dev/urandom > /c/f\n"
    # The first build is looked at, and is below the limit; the next one after the restart is above it.
    built(fresh_engine, {"Dockerfile": step.format("a", 1_500_000)})
    assert len(records(fresh_engine, "exec.cachemount")) == 1
    fresh_engine.restart()
    built(fresh_engine, {"Dockerfile": step.format("b", 1_600_000)})
    fresh_engine.stop()  # waits for what a build leaves to be done
    fresh_engine.start()
    (left,) = records(fresh_engine, "exec.cachemount")
    assert "cache b" in left["Description"]


def test_contexts_are_listed_and_pruned(fresh_engine: NativeEngine) -> None:
    from test_builder_contexts import announced

    data = os.urandom(200_000)
    made = announced(fresh_engine, {"f": data})
    fresh_engine.call("PUT", f"/build/contexts/{made['Token']}", data)
    (record,) = records(fresh_engine, "source.local")
    assert record["Size"] >= 200_000
    assert prune(fresh_engine)["CachesDeleted"] == []  # a build is about to use it
    fresh_engine.restart()
    assert prune(fresh_engine)["CachesDeleted"] == ["contexts"]
    assert announced(fresh_engine, {"f": data})["Missing"]
