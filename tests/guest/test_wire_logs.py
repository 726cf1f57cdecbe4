"""Wire details, 6: logs: which, from where, in what form, and following them across rotation and restarts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from native_engine import NativeEngine
from wire_rig import chunk, chunks, connected, frames, header, payload

from wherryd import clock

pytestmark = pytest.mark.root


def logs(engine: NativeEngine, container: str, **query: str) -> bytes:
    answer = engine.call("GET", f"/containers/{container}/logs", **{"stdout": "1", "stderr": "1", **query})
    assert answer.status == 200, answer.text
    return payload(answer.body)


def ended(engine: NativeEngine, script: str, **fields: Any) -> str:
    container = engine.run("sh", "-c", script, **fields)
    engine.wait(container)
    return container


def test_logs_without_stdout_and_stderr_are_a_bad_request(engine: NativeEngine) -> None:
    container = ended(engine, "echo a")
    for query in ({}, {"stdout": "0", "stderr": "0"}, {"follow": "1"}):
        assert engine.call("GET", f"/containers/{container}/logs", **query).status == 400


def test_each_stream_of_a_log_is_given_when_it_is_asked_for(engine: NativeEngine) -> None:
    container = ended(engine, "echo a; echo b >&2; echo c")
    path = f"/containers/{container}/logs"
    assert frames(engine.call("GET", path, stdout="1").body) == [(1, b"a\n"), (1, b"c\n")]
    assert frames(engine.call("GET", path, stderr="1").body) == [(2, b"b\n")]
    both = engine.call("GET", path, stdout="1", stderr="1")
    assert sorted(frames(both.body)) == [(1, b"a\n"), (1, b"c\n"), (2, b"b\n")]
    assert both.headers["Content-Type"] == "application/vnd.docker.multiplexed-stream"
    assert engine.call("GET", f"/v1.41{path}", stdout="1").headers["Content-Type"].endswith("raw-stream")


def test_tail_is_all_or_a_number_and_everything_else_is_all(engine: NativeEngine) -> None:
    container = ended(engine, "seq 1 5")
    for tail, wanted in (
        ("all", b"1\n2\n3\n4\n5\n"),
        ("2", b"4\n5\n"),
        ("0", b""),
        ("99", b"1\n2\n3\n4\n5\n"),
        ("junk", b"1\n2\n3\n4\n5\n"),
        ("-1", b"1\n2\n3\n4\n5\n"),
        ("", b"1\n2\n3\n4\n5\n"),
    ):
        assert logs(engine, container, tail=tail) == wanted, tail


def test_since_and_until_of_logs_are_seconds_with_a_fraction(engine: NativeEngine) -> None:
    container = ended(engine, "for i in 1 2 3; do echo $i; sleep 0.05; done")
    lines = logs(engine, container, timestamps="1").decode().splitlines()
    stamps = [text.split()[0] for text in lines]
    nanoseconds = [clock.to_nanoseconds(text) for text in stamps]
    moments = [f"{each // 10**9}.{each % 10**9:09d}" for each in nanoseconds]
    assert logs(engine, container, since=moments[1]) == b"2\n3\n"
    assert logs(engine, container, until=moments[1]) == b"1\n2\n"
    assert logs(engine, container, since=moments[1], until=moments[1]) == b"2\n"
    assert logs(engine, container, since=stamps[2]) == b"3\n"
    assert logs(engine, container, until=str(nanoseconds[0] // 10**9 - 5)) == b""


def test_timestamps_have_nine_digits_always(engine: NativeEngine) -> None:
    container = ended(engine, "seq 1 50")
    lines = logs(engine, container, timestamps="1").splitlines()
    assert len(lines) == 50
    assert all(re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z \d+", each) for each in lines)


def test_details_are_sorted_escaped_pairs_before_the_line_and_behind_the_time(engine: NativeEngine) -> None:
    log = {"Type": "json-file", "Config": {"labels": "b,a", "env": "E"}}
    container = ended(
        engine,
        "echo x",
        Labels={"b": "2 3&", "a": "1", "other": "no"},
        Env=["E=v=w"],
        HostConfig={"LogConfig": log},
    )
    assert logs(engine, container, details="1") == b"E=v%3Dw,a=1,b=2+3%26 x\n"
    both = logs(engine, container, details="1", timestamps="1")
    assert re.fullmatch(rb"\S{30} E=v%3Dw,a=1,b=2\+3%26 x\n", both)
    plain = ended(engine, "echo y")
    assert logs(engine, plain, details="1") == b" y\n"


def test_the_head_of_logs_is_sent_before_there_is_a_line(engine: NativeEngine) -> None:
    container = engine.run("sh", "-c", "read x; echo got $x", OpenStdin=True)
    with connected(engine, f"GET /containers/{container}/logs?follow=1&stdout=1") as following:
        assert header(following).startswith("HTTP/1.1 200")
        request = f"POST /containers/{container}/attach?stream=1&stdin=1\nUpgrade: tcp\nConnection: Upgrade"
        with connected(engine, request, b"it\n") as typing:
            header(typing)
            assert frames(chunk(following)) == [(1, b"got it\n")]


def test_following_ends_when_the_container_does_and_has_its_last_line(engine: NativeEngine) -> None:
    container = engine.run("sh", "-c", "echo first; sleep 0.3; seq 1 20000; printf last")
    with connected(engine, f"GET /containers/{container}/logs?follow=1&stdout=1") as following:
        header(following)
        found = payload(chunks(following))
    assert found == b"first\n" + b"".join(b"%d\n" % number for number in range(1, 20_001)) + b"last"
    assert engine.inspect(container)["State"]["Status"] == "exited"


def test_a_line_over_16_kib_is_kept_in_parts_and_read_as_one(engine: NativeEngine) -> None:
    script = "head -c 40000 /dev/zero | tr '\\0' y; echo; echo next"
    container = ended(engine, script)
    wanted = b"y" * 40_000 + b"\nnext\n"
    records = [
        json.loads(each) for each in Path(engine.inspect(container)["LogPath"]).read_text().splitlines()
    ]
    assert [len(each["log"]) for each in records] == [16_384, 16_384, 40_000 - 2 * 16_384 + 1, 5]
    assert not records[0]["log"].endswith("\n")
    assert logs(engine, container) == wanted
    # One line has one time.
    stamped = logs(engine, container, timestamps="1")
    assert re.fullmatch(rb"\S{30} y{40000}\n\S{30} next\n", stamped)
    with connected(engine, f"GET /containers/{container}/logs?follow=1&stdout=1&stderr=1") as following:
        header(following)
        assert payload(chunks(following)) == wanted


def test_a_record_of_json_file_is_log_stream_time_and_attrs_when_there_are_some(engine: NativeEngine) -> None:
    plain = ended(engine, "echo out; echo err >&2")
    log = {"Type": "json-file", "Config": {"labels": "a"}}
    told = ended(engine, "echo out", Labels={"a": "1"}, HostConfig={"LogConfig": log})
    for container, keys in ((plain, {"log", "stream", "time"}), (told, {"log", "stream", "time", "attrs"})):
        text = Path(engine.inspect(container)["LogPath"]).read_text()
        records = [json.loads(each) for each in text.splitlines()]
        assert all(set(each) == keys for each in records)
        assert ("out\n", "stdout") in [(each["log"], each["stream"]) for each in records]
    assert records[0]["attrs"] == {"a": "1"}


def test_logs_of_an_ended_container_stay_and_of_none_are_not_found(engine: NativeEngine) -> None:
    container = ended(engine, "echo gone")
    assert logs(engine, container) == b"gone\n"
    assert logs(engine, container, follow="1") == b"gone\n"
    created = engine.create("true")
    assert logs(engine, created) == b""
    missing = engine.call("GET", "/containers/nobody/logs", stdout="1")
    assert (missing.status, missing.message) == (404, "No such container: nobody")
