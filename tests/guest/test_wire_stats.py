"""Wire details, 7: statistics: one object a second, two samples or one, and what clients count with."""

import time
from pathlib import Path
from typing import Any

import pytest
from native_engine import NativeEngine
from wire_rig import connected, header, line

from wherryd import clock
from wherryd.cgroups import manager, memory
from wherryd.cgroups.stats import CgroupStats, CpuStats
from wherryd.containers import request, stats
from wherryd.containers.record import ContainerRecord

pytestmark = pytest.mark.root


def once(engine: NativeEngine, container: str, **query: str) -> Any:
    return engine.call("GET", f"/containers/{container}/stats", stream="0", **query).json


def has_sample(cpu: dict[str, Any]) -> bool:
    return bool(cpu.get("system_cpu_usage"))


def moment(text: str) -> float:
    return clock.to_nanoseconds(text) / 1e9


def test_stats_are_a_stream_of_one_object_a_second_unless_told_otherwise(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    for query in ("", "?stream=1"):
        with connected(engine, f"GET /containers/{container}/stats{query}") as connection:
            header(connection)
            found = [line(connection) for _ in range(2)]
        first, second = (moment(each["read"]) for each in found)
        assert second - first >= 0.9
        assert found[1]["preread"] == found[0]["read"]
        assert found[1]["precpu_stats"] == found[0]["cpu_stats"]


def test_the_first_object_of_the_stream_has_nothing_before_it(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    with connected(engine, f"GET /containers/{container}/stats") as connection:
        header(connection)
        first = line(connection)
    assert not has_sample(first["precpu_stats"])
    assert first["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert has_sample(first["cpu_stats"])


def test_the_stream_ends_with_the_removal_of_its_container(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    with connected(engine, f"GET /containers/{container}/stats") as connection:
        header(connection)
        line(connection)
        engine.remove(container)
        ended = b""
        while not ended.endswith(b"0\r\n\r\n"):
            data = connection.recv(65536)
            assert data
            ended = ended[-8:] + data


def test_one_answer_without_a_stream_has_two_samples(engine: NativeEngine) -> None:
    container = engine.run("sh", "-c", "while :; do :; done")
    found = once(engine, container)
    assert has_sample(found["precpu_stats"])
    before, now = (found[key] for key in ("precpu_stats", "cpu_stats"))
    assert now["system_cpu_usage"] > before["system_cpu_usage"]
    assert now["cpu_usage"]["total_usage"] > before["cpu_usage"]["total_usage"]


def test_one_shot_is_one_sample_at_once(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    begun = time.monotonic()
    found = [once(engine, container, **{"one-shot": "1"}) for _ in range(5)]
    # Two samples are a second apart: five answers with two each would take five.
    assert time.monotonic() - begun < 5
    assert not any(has_sample(each["precpu_stats"]) for each in found)
    assert all(has_sample(each["cpu_stats"]) for each in found)


@pytest.mark.parametrize("query", [{}, {"one-shot": "1"}])
def test_stats_of_a_container_that_does_not_run_are_zeroes_with_its_id_and_name(
    engine: NativeEngine, query: dict[str, str]
) -> None:
    created = engine.create("true", name="idle")
    ended = engine.run("true", name="ended")
    engine.wait(ended)
    for container, name in ((created, "/idle"), (ended, "/ended")):
        found = once(engine, container, **query)
        assert (found["name"], found["id"], found["memory_stats"]) == (name, container, {})
        assert found["cpu_stats"]["cpu_usage"]["total_usage"] == 0
    with connected(engine, f"GET /containers/{created}/stats") as connection:
        header(connection)
        assert line(connection)["id"] == created


def test_stats_have_what_clients_make_a_percentage_of(engine: NativeEngine, docker_cli: str) -> None:
    container = engine.run("sh", "-c", "while :; do :; done")
    found = once(engine, container)
    for cpu in (found["cpu_stats"], found["precpu_stats"]):
        assert cpu["cpu_usage"]["total_usage"] > 0
        assert cpu["system_cpu_usage"] > 0
        assert cpu["online_cpus"] > 0
    told = engine.docker("stats", "--no-stream", "--format", "{{.CPUPerc}}", container)
    assert float(told.stdout.decode().strip().rstrip("%")) > 1, told.stderr


def test_memory_is_told_with_the_part_that_clients_take_off(engine: NativeEngine, docker_cli: str) -> None:
    """Page cache: a file that was written counts in `usage`, and clients show usage minus inactive_file."""
    script = "dd if=/dev/zero of=/f bs=1M count=48 2>/dev/null; echo written; sleep 60"
    container = engine.run("sh", "-c", script)
    while b"written" not in engine.call("GET", f"/containers/{container}/logs", stdout="1").body:
        time.sleep(0.05)
    told_here = once(engine, container, **{"one-shot": "1"})["memory_stats"]
    key = "total_inactive_file" if manager.layout().version == 1 else "inactive_file"
    cache = told_here["stats"][key]
    assert 0 < told_here["usage"] <= told_here["limit"]
    assert cache > 40 << 20
    assert told_here["usage"] - cache < 40 << 20
    told = engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", container).stdout.decode()
    number, unit = told.split("/")[0].strip()[:-3], told.split("/")[0].strip()[-3:]
    assert unit in ("KiB", "MiB"), told
    assert unit == "KiB" or float(number) < 40, told


@pytest.mark.parametrize(
    ("version", "cache", "usage"),
    [(1, "total_inactive_file", "memory.usage_in_bytes"), (2, "inactive_file", "memory.current")],
)
def test_both_versions_of_cgroups_have_the_fields_that_clients_read(
    version: int, cache: str, usage: str, tmp_path: Path
) -> None:
    """From the kernel's files to the document; this machine has only one of both."""
    for name, text in ((usage, f"{9 << 20}"), ("memory.stat", f"anon 1\n{cache} {1 << 20}")):
        (tmp_path / name).write_text(f"{text}\n")
    for name in ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.failcnt", "memory.max"):
        (tmp_path / name).write_text(f"{64 << 20}\n")
    for name in ("memory.memsw.usage_in_bytes", "memory.memsw.limit_in_bytes", "memory.swap.current"):
        (tmp_path / name).write_text("0\n")
    (tmp_path / "memory.swap.max").write_text("max\n")
    read = memory.read_v1 if version == 1 else memory.read_v2
    sample = CgroupStats(version=version, cpu=CpuStats(total_ns=5), memory=read(tmp_path))
    wish = request.merge_image(request.parse({"Cmd": ["true"], "Image": "x"}), {})
    record = ContainerRecord(
        id="ab" * 32,
        name="calm",
        created="",
        image="x",
        image_id="",
        path="true",
        args=(),
        config=wish.config,
        host_config=wish.host_config,
    )
    found = stats.document(record, sample, None, None)
    assert found["memory_stats"]["usage"] - found["memory_stats"]["stats"][cache] == 8 << 20
    assert found["memory_stats"]["limit"] == 64 << 20
    assert ("max_usage" in found["memory_stats"], "failcnt" in found["memory_stats"]) == (version == 1,) * 2
    assert found["cpu_stats"]["cpu_usage"]["total_usage"] == 5
