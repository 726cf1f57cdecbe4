"""What stats, events, system df and update make of the engine's numbers."""

from typing import Any

import pytest

from wherry.cli.output import events, stats, usage
from wherry.cli.output.usage_details import show
from wherry.cli.update import body
from wherry.cli.watching import Sample
from wherry.errors import UsageProblem

STATS: dict[str, Any] = {
    "id": "a" * 64, "name": "/db",
    "cpu_stats": {"cpu_usage": {"total_usage": 3_000}, "system_cpu_usage": 20_000, "online_cpus": 2},
    "precpu_stats": {"cpu_usage": {"total_usage": 1_000}, "system_cpu_usage": 10_000},
    "memory_stats": {"usage": 3 << 20, "limit": 8 << 20, "stats": {"inactive_file": 1 << 20}},
    "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 5}, "eth1": {"rx_bytes": 500, "tx_bytes": 5}},
    "blkio_stats": {"io_service_bytes_recursive": [
        {"op": "Read", "value": 4096}, {"op": "write", "value": 7}, {"op": "Total", "value": 4103}]},
    "pids_stats": {"current": 3},
}  # fmt: skip


def test_stats_are_counted_as_docker_counts() -> None:
    row = stats.row(Sample("db", STATS), truncate=True)
    assert row["CPUPerc"] == "40.00%"  # a fifth of two CPUs
    assert (row["MemUsage"], row["MemPerc"]) == ("2MiB / 8MiB", "25.00%")
    assert (row["NetIO"], row["BlockIO"], row["PIDs"]) == ("1.5kB / 10B", "4.1kB / 7B", "3")
    assert (row["ID"], row["Name"], row["Container"]) == ("a" * 12, "db", "db")


def test_cgroup_v1_names_the_cache_otherwise() -> None:
    assert stats.memory({"usage": 10, "stats": {"total_inactive_file": 4, "inactive_file": 1}}) == (6, 0)
    assert stats.memory({"usage": 3, "stats": {"inactive_file": 4}}) == (3, 0)


def test_what_is_not_known_is_dashes() -> None:
    row = stats.row(Sample("db"), truncate=True)
    assert (row["Container"], row["CPUPerc"], row["NetIO"]) == ("db", "--", "-- / --")


def test_a_container_that_does_not_run_uses_nothing() -> None:
    row = stats.row(Sample("db", {"id": "a" * 64, "name": "/db"}), truncate=False)
    assert (row["CPUPerc"], row["MemUsage"], row["PIDs"]) == ("0.00%", "0B / 0B", "0")


EVENT = {
    "status": "die", "id": "abc", "Type": "container", "Action": "die", "scope": "local",
    "Actor": {"ID": "abc", "Attributes": {"name": "db", "exitCode": "3"}},
    "time": 1_764_000_000, "timeNano": 1_764_000_000_123_000_000,
}  # fmt: skip


def test_an_events_line(monkeypatch: pytest.MonkeyPatch) -> None:
    line = events.printer(None)(EVENT)
    assert line.endswith(" container die abc (exitCode=3, name=db)")
    assert ".123000000" in line
    assert events.printer("{{.Action}} {{.Actor.Attributes.name}} {{.TimeNano}}")(EVENT) == (
        "die db 1764000000123000000"
    )


def test_an_event_as_json_leaves_out_what_is_empty() -> None:
    assert events.printer("json")({"Type": "network", "Action": "create"}) == (
        '{"Type":"network","Action":"create","Actor":{"ID":"","Attributes":{}}}'
    )


def test_a_template_for_events_is_tried_before_the_first() -> None:
    with pytest.raises(UsageProblem, match="Error parsing format") as caught:
        events.printer("{{.Nope}}")
    assert caught.value.exit_code == 64


USAGE: dict[str, Any] = {
    "LayersSize": 1000,
    "Images": [
        {"Id": "1", "Containers": 1, "Size": 700, "SharedSize": 100},
        {"Id": "2", "Containers": 0, "Size": 300, "SharedSize": 100},
    ],
    "Containers": [
        {"Id": "c", "State": "running", "SizeRw": 30},
        {"Id": "d", "State": "exited", "SizeRw": 10},
    ],
    "Volumes": [
        {"Name": "v", "UsageData": {"Size": 50, "RefCount": 1}},
        {"Name": "w", "UsageData": {"Size": 150, "RefCount": 0}},
        {"Name": "x", "UsageData": {"Size": -1, "RefCount": 0}},
    ],
    "BuildCache": [
        {"ID": "k", "Size": 5, "InUse": True, "Shared": False, "Type": "regular"},
        {"ID": "l", "Size": 7, "InUse": False, "Shared": True, "Type": "regular"},
    ],
}


def test_disk_usage_is_summed_as_docker_sums() -> None:
    rows = [(row["Type"], row["TotalCount"], row["Active"], row["Size"], row["Reclaimable"])
            for row in usage.summary(USAGE)]  # fmt: skip
    assert rows == [
        ("Images", "2", "1", "1kB", "400B (40%)"),
        ("Containers", "2", "1", "40B", "10B (25%)"),
        ("Local Volumes", "3", "1", "200B", "150B (75%)"),
        ("Build Cache", "2", "1", "5B", "0B"),
    ]
    details = show({**USAGE, "Containers": []}, None)
    assert "Build cache usage: 5B" in details
    assert "k*" in details
    assert show(USAGE, "{{range .BuildCache}}{{.ID}} {{end}}") == "k* l "


def test_update_sends_only_what_was_given() -> None:
    nothing = dict.fromkeys(
        ("blkio_weight", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares", "cpus",
         "cpuset_cpus", "cpuset_mems", "memory", "memory_reservation", "memory_swap", "pids_limit", "restart")
    )  # fmt: skip
    assert body(nothing) == {}
    assert body({**nothing, "cpus": "1.5", "memory": "1g", "memory_swap": "-1", "pids_limit": 0}) == {
        "NanoCpus": 1_500_000_000, "Memory": 1 << 30, "MemorySwap": -1, "PidsLimit": 0,
    }  # fmt: skip
    assert body({**nothing, "restart": "on-failure:2"})["RestartPolicy"]["MaximumRetryCount"] == 2
