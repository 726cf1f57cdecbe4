"""Limits that the kernel enforces, and what a container has used."""

import asyncio

import pytest
import runtime_fixtures
from runtime_rig import Rig, config, pids_of

from wherryd.errors import EngineError

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

rig = runtime_fixtures.rig

_MIB = 1024 * 1024


async def test_too_much_memory_is_killed_and_told(rig: Rig) -> None:
    document = config("sh", "-c", "x=$(yes | head -c 200000000); echo survived")
    document["linux"]["resources"]["memory"] = {"limit": 32 * _MIB, "swap": 32 * _MIB}
    output = await rig.run(document)
    assert output.status.oom_killed
    assert output.status.exit_code != 0 or "survived" not in output.stdout


async def test_the_number_of_processes_is_limited(rig: Rig) -> None:
    document = config("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all")
    document["linux"]["resources"]["pids"] = {"limit": 4}
    output = await rig.run(document)
    assert "fork" in output.stderr
    assert "all" not in output.stdout


async def test_a_quota_throttles(rig: Rig) -> None:
    document = config("sh", "-c", "while true; do :; done")
    document["linux"]["resources"]["cpu"] = {"quota": 10000, "period": 100000, "shares": 512}
    monitor = await rig.create(document)
    await monitor.start()
    await asyncio.sleep(1)
    stats = await monitor.stats()
    assert stats.cpu.throttled_periods > 0
    assert stats.cpu.total_ns < 600_000_000


async def test_stats_and_pids_describe_the_container(rig: Rig) -> None:
    document = config("sh", "-c", "sleep 1000 & sleep 1000 & wait")
    document["linux"]["resources"] |= {"memory": {"limit": 64 * _MIB}, "pids": {"limit": 50}}
    monitor = await rig.create(document)
    await monitor.start()
    await pids_of(monitor, 3)
    stats = await monitor.stats()
    assert stats.pids.current == 3
    assert stats.pids.limit == 50
    assert stats.memory.limit_bytes == 64 * _MIB
    assert 0 < stats.memory.usage_bytes < 64 * _MIB
    assert stats.cpu.total_ns > 0
    assert "inactive_file" in stats.memory.stats


async def test_update_changes_limits_of_a_running_container(rig: Rig) -> None:
    document = config("sleep", "1000")
    document["linux"]["resources"]["memory"] = {"limit": 64 * _MIB, "swap": 64 * _MIB}
    monitor = await rig.create(document)
    await monitor.start()
    await monitor.update({"memory": {"limit": 128 * _MIB, "swap": 256 * _MIB}, "pids": {"limit": 9}})
    stats = await monitor.stats()
    assert (stats.memory.limit_bytes, stats.pids.limit) == (128 * _MIB, 9)
    await monitor.update({"memory": {"limit": 32 * _MIB, "swap": 32 * _MIB}})
    assert (await monitor.stats()).memory.limit_bytes == 32 * _MIB


async def test_a_limit_that_cannot_be_set_is_an_error(rig: Rig) -> None:
    document = config("true")
    document["linux"]["resources"]["cpu"] = {"cpus": "4096"}
    with pytest.raises(EngineError, match=r"cpuset\.cpus"):
        await rig.create(document)


async def test_cpuset_is_applied(rig: Rig) -> None:
    document = config("grep", "Cpus_allowed_list", "/proc/self/status")
    document["linux"]["resources"]["cpu"] = {"cpus": "0"}
    assert (await rig.run(document)).stdout.split()[1] == "0"
