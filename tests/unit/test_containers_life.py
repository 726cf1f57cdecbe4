"""State machine, names, clock, records, events, logs, attach keys: what needs no kernel."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wherryd import clock
from wherryd.containers import listing, logs, names, record, request, restart, signals, state, top
from wherryd.containers.attach import DetachKeys, parse_detach_keys
from wherryd.containers.events import BACKLOG, EventBus
from wherryd.containers.logwatch import LogWatcher
from wherryd.containers.state import Event, Status
from wherryd.containers.store import ContainerStore
from wherryd.errors import Conflict, InvalidParameter, NotFound
from wherryd.metadata.database import Database
from wherrywire.rawstream import StreamId


def a_record(**changes: Any) -> record.ContainerRecord:
    wish = request.merge_image(request.parse({"Cmd": ["true"], "Image": "x"}), {})
    found = record.ContainerRecord(
        id="ab" * 32,
        name="calm_harbor",
        created="2026-01-01T00:00:00.000000000Z",
        image="x",
        image_id="sha256:1",
        path="true",
        args=(),
        config=wish.config,
        host_config=wish.host_config,
        mounts=(record.MountPoint(type="bind", source="/a", destination="/b", options=("create",)),),
    )
    return replace(found, **changes)


def test_every_status_is_in_the_table_and_can_be_left_and_removed() -> None:
    assert set(state.TRANSITIONS) == set(Status)
    for start in Status:
        reached, todo = {start}, [start]
        while todo:
            for following in state.TRANSITIONS[todo.pop()].values():
                if following not in reached:
                    reached.add(following)
                    todo.append(following)
        assert Status.REMOVING in reached, start


def test_the_picture_in_the_docs_is_that_of_the_table() -> None:
    command = [sys.executable, "scripts/lifecycle.py", "--check"]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_what_is_not_in_the_table_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="paused cannot start"):
        state.after(Status.PAUSED, Event.START)


def test_a_record_survives_its_json() -> None:
    original = a_record(status=Status.PAUSED, exit_code=3)
    assert record.from_json(record.to_json(original)) == original


def test_a_record_of_a_newer_engine_is_read() -> None:
    document = json.loads(record.to_json(a_record()))
    document["colour"] = "red"
    document["mounts"][0]["shape"] = "round"
    assert record.from_json(json.dumps(document)) == a_record()


def test_generated_names_are_allowed_and_free() -> None:
    taken: set[str] = set()
    for _ in range(500):
        name = names.generate(taken.__contains__)
        assert names.check(name) == name
        assert name not in taken
        taken.add(name)


@pytest.mark.parametrize("name", ["", "a", "-x", "a b", "a/b", "ä1", "x" * 300])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidParameter, match="Invalid container name"):
        names.check(name)


def test_times_keep_nine_digits() -> None:
    assert clock.from_nanoseconds(1) == "1970-01-01T00:00:00.000000001Z"
    assert clock.to_nanoseconds("1970-01-01T01:00:00.5+01:00") == 500_000_000
    text = "2026-11-24T04:00:00.123456789Z"
    assert clock.from_nanoseconds(clock.to_nanoseconds(text)) == text


def test_moments_are_unix_seconds_or_rfc3339() -> None:
    assert clock.parse_moment("1.5", "since") == 1_500_000_000
    assert clock.parse_moment("0", "since") is None
    with pytest.raises(InvalidParameter, match="since"):
        clock.parse_moment("yesterday", "since")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (150, "2 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (86400 * 3, "3 days"),
        (86400 * 21, "3 weeks"),
        (86400 * 90, "3 months"),
        (86400 * 800, "2 years"),
    ],
)
def test_durations_read_as_dockers(seconds: int, words: str) -> None:
    assert listing.human_duration(seconds) == words


@pytest.mark.parametrize(
    ("text", "number"),
    [("KILL", 9), ("SIGTERM", 15), ("15", 15), ("rtmin+3", 37), ("usr1", 10)],
)
def test_signals_have_names_and_numbers(text: str, number: int) -> None:
    assert signals.number(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "SIGNOT", "-9", "RTMIN+99"])
def test_a_bad_signal_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        signals.number(text)


def _policy(name: str, retries: int = 0, **changes: Any) -> record.ContainerRecord:
    base = a_record(**changes)
    return replace(
        base, host_config={**base.host_config, "RestartPolicy": {"Name": name, "MaximumRetryCount": retries}}
    )


def test_restart_policies() -> None:
    assert not restart.wanted(_policy("no"), 1)
    assert restart.wanted(_policy("always"), 0)
    assert not restart.wanted(_policy("always", stopped_by_user=True), 0)
    assert restart.wanted(_policy("on-failure"), 1)
    assert not restart.wanted(_policy("on-failure"), 0)
    assert not restart.wanted(_policy("on-failure", 2, restart_count=2), 1)
    assert restart.wanted_at_boot(_policy("always", stopped_by_user=True))
    assert not restart.wanted_at_boot(_policy("unless-stopped", stopped_by_user=True))
    delays = [restart.delay_seconds(number) for number in (0, 1, 2, 3, 9, 10, 1000)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 51.2, 60, 60])


def test_detach_keys_are_found_wherever_the_bytes_are_cut() -> None:
    typed = b"ab\x10c\x10\x10\x11after"
    for cut in range(len(typed)):
        keys = DetachKeys(parse_detach_keys(""))
        forwarded = keys.feed(typed[:cut])
        if not keys.detached:
            forwarded += keys.feed(typed[cut:])
        assert keys.detached
        assert forwarded == b"ab\x10c\x10"


def test_detach_keys_may_be_chosen() -> None:
    assert parse_detach_keys("a,ctrl-],ctrl-@") == b"a\x1d\x00"
    for text in ("ctrl-", "ab", "ctrl-1", ",".join("a" * 17)):
        with pytest.raises(InvalidParameter):
            parse_detach_keys(text)


def test_ps_output_is_filtered_by_pid() -> None:
    titles, rows = top.parse("PID COMMAND\n 1 init\n 22 sh -c x y\n", [22])
    assert (titles, rows) == (["PID", "COMMAND"], [["22", "sh -c x y"]])
    with pytest.raises(InvalidParameter, match="PID"):
        top.parse("COMMAND\ninit\n", [1])


async def test_events_reach_listeners_and_stay_for_replay() -> None:
    bus = EventBus()
    subscription = bus.subscribe()
    bus.publish("container", "start", "x", {"name": "n"})
    event = await anext(subscription)
    assert (event.action, event.attributes) == ("start", {"name": "n"})
    assert bus.backlog() == (event,)


async def test_a_listener_that_does_not_read_is_dropped_and_not_waited_for() -> None:
    bus = EventBus()
    slow = bus.subscribe()
    for number in range(BACKLOG * 3):
        bus.publish("container", str(number), "x", {})
    assert slow.overflowed
    assert len([event async for event in slow]) == BACKLOG
    assert len(bus.backlog()) == BACKLOG
    assert bus.listeners == 0


async def test_containers_are_found_by_id_name_and_prefix(tmp_path: Path) -> None:
    database = Database(tmp_path / "db")
    store = ContainerStore(database)
    one = store.add(a_record())
    two = store.add(a_record(id="ac" * 32, name="other"))
    assert store.get("calm_harbor") is store.get("/calm_harbor") is store.get("abab") is one
    assert store.get("ac") is two
    with pytest.raises(Conflict, match="multiple IDs"):
        store.get("a")
    with pytest.raises(NotFound, match="No such container: nobody"):
        store.get("nobody")
    with pytest.raises(Conflict, match='The container name "/other" is already in use by container "acac'):
        store.update(one, name="other")
    store.update(one, name="renamed")
    store.forget(two)
    database.close()
    again = Database(tmp_path / "db")
    reread = ContainerStore(again)
    reread.load()
    assert [container.record for container in reread] == [one.record]
    again.close()


def _line(text: str, second: int, stream: str = "stdout") -> bytes:
    return (
        json.dumps({"log": text, "stream": stream, "time": f"2026-01-01T00:00:{second:02d}.5Z"}).encode()
        + b"\n"
    )


async def _read(path: Path, query: logs.LogQuery, ended: bool = True) -> list[logs.LogEntry]:
    watcher = LogWatcher()
    watcher.open()
    try:
        batches = logs.read(path, query, watcher, lambda: ended, lambda _wake: None)
        return [entry async for entries in batches for entry in entries]
    finally:
        watcher.close()


BOTH = logs.LogQuery(stdout=True, stderr=True)


async def test_logs_are_read_across_rotated_files_and_from_the_tail(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    for number, name in ((2, "x-json.log.2"), (1, "x-json.log.1"), (0, "x-json.log")):
        (tmp_path / name).write_bytes(b"".join(_line(f"{number}{i}\n", i) for i in range(3)))
    (tmp_path / "x-json.log.notes").write_text("not ours")
    everything = [b"20\n", b"21\n", b"22\n", b"10\n", b"11\n", b"12\n", b"00\n", b"01\n", b"02\n"]
    assert [entry.payload for entry in await _read(path, BOTH)] == everything
    for tail in range(11):
        found = await _read(path, replace(BOTH, tail=tail))
        assert [entry.payload for entry in found] == everything[len(everything) - min(tail, 9) :]


async def test_streams_times_and_long_lines(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    path.write_bytes(
        _line("begin ", 1)
        + _line("err\n", 2, "stderr")
        + _line("end\n", 3)
        + b'{"log": "cut'
        + b"\n"
        + _line("last\n", 9)
    )
    found = await _read(path, BOTH)
    assert [(entry.payload, entry.starts_line) for entry in found] == [
        (b"begin ", True), (b"err\n", True), (b"end\n", False), (b"last\n", True),
    ]  # fmt: skip
    assert found[0].time == "2026-01-01T00:00:01.500000000Z"
    assert [entry.stream for entry in await _read(path, replace(BOTH, stdout=False))] == [StreamId.STDERR]
    since = clock.to_nanoseconds(found[2].time)
    assert [entry.payload for entry in await _read(path, replace(BOTH, since=since))] == [b"end\n", b"last\n"]
    assert len(await _read(path, replace(BOTH, until=since))) == 3


async def test_following_sees_what_is_written_until_the_end_across_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    path.write_bytes(_line("0\n", 0))
    ended = False
    wakers: list[Any] = []
    watcher = LogWatcher()
    watcher.open()
    seen: list[bytes] = []

    async def follow() -> None:
        query = replace(BOTH, follow=True)
        async for entries in logs.read(path, query, watcher, lambda: ended, wakers.append):
            seen.extend(entry.payload for entry in entries)

    task = asyncio.create_task(follow())
    for number in range(1, 6):
        async with asyncio.timeout(5):
            while len(seen) < number:
                await asyncio.sleep(0.01)
        if number == 3:
            path.rename(tmp_path / "x-json.log.1")
        with path.open("ab") as file:
            file.write(_line(f"{number}\n", number))
    ended = True
    wakers[-1]()
    await asyncio.wait_for(task, 5)
    assert seen == [b"%d\n" % number for number in range(6)]
    watcher.close()
