"""Stages that do not need each other run side by side."""

import pytest
from builder_rig import build, built, shell
from native_engine import NativeEngine

pytestmark = pytest.mark.root

#: Leaves a mark, and waits for the other stage's: one after the other, the first would wait in vain.
MEET = (
    "RUN --mount=type=cache,id=meet,target=/m touch /m/{mine}$N; "
    "n=0; until test -e /m/{other}$N; do n=$((n+1)); test $n -lt 200 || exit 9; sleep 0.1; done; "
    "printf 'part'; sleep 0.2; echo ' of {mine}'; touch /{mine}\n"
)


def test_stages_that_need_only_the_base_meet(engine: NativeEngine) -> None:
    one, two = MEET.format(mine="one", other="two"), MEET.format(mine="two", other="one")
    file = f"FROM busybox:test AS base\nFROM base AS one\nARG N\n{one}FROM base AS two\nARG N\n{two}"
    file += "FROM base\nCOPY --from=one /one /\nCOPY --from=two /two /\n"
    found = built(engine, {"Dockerfile": file}, t="met", buildargs='{"N": "1"}')
    assert shell(engine, "met", "ls /one /two") == "/one\n/two\n"
    lines = found.text.splitlines()
    assert "[one] part of one" in lines
    assert "[two] part of two" in lines
    assert "[3] Step 8/10 : FROM base" in lines
    assert lines[-1] == "Successfully tagged met:latest"


def test_stages_in_a_row_read_as_dockers(engine: NativeEngine) -> None:
    file = "FROM busybox:test AS a\nRUN echo hello\nFROM a\nRUN echo again\n"
    lines = built(engine, {"Dockerfile": file}).text.splitlines()
    assert lines[0] == "Step 1/4 : FROM busybox:test AS a"
    assert "again" in lines


def test_a_failing_stage_ends_the_others(engine: NativeEngine) -> None:
    before = {each["Id"] for each in engine.call("GET", "/containers/json", all="1").json}
    file = (
        "FROM busybox:test AS slow\nRUN sleep 1000\nFROM busybox:test AS bad\nRUN sleep 0.5; exit 3\n"
        "FROM busybox:test\nCOPY --from=slow /x /\nCOPY --from=bad /x /\n"
    )
    found = build(engine, {"Dockerfile": file})
    assert found.error["code"] == 3
    assert {each["Id"] for each in engine.call("GET", "/containers/json", all="1").json} == before


def test_two_steps_that_want_the_same_locked_caches_do_not_block_each_other(engine: NativeEngine) -> None:
    first = "--mount=type=cache,id=x,target=/x,sharing=locked"
    second = "--mount=type=cache,id=y,target=/y,sharing=locked"
    stages = "".join(
        f"FROM busybox:test AS s{number}\nRUN {order} sleep 0.05\n"
        for number, order in enumerate([f"{first} {second}", f"{second} {first}"] * 4)
    )
    copies = "".join(f"COPY --from=s{number} /bin/sh /s{number}\n" for number in range(8))
    built(engine, {"Dockerfile": f"{stages}FROM busybox:test\n{copies}"}, nocache="1")
