"""Limits that depend on the machine: block I/O, device rules, swappiness, real-time scheduling."""

from typing import Any

import pytest

from wherryd.cgroups import manager
from wherryd.containers import limits, request
from wherryd.errors import InvalidParameter
from wherryd.spec import build


def parse(host: dict[str, Any]) -> request.CreateRequest:
    return request.parse({"HostConfig": host})


@pytest.fixture
def second_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "layout", lambda: manager.Layout(2, {}))
    limits.has_file.cache_clear()


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
        ({"BlkioWeightDevice": [{"Path": "/dev/x", "Weight": 2000}]}, "BlkioWeightDevice: /dev/x"),
        ({"BlkioDeviceReadBps": [{"Path": "/dev/x", "Rate": -1}]}, "BlkioDeviceReadBps: /dev/x: Rate"),
        ({"BlkioDeviceWriteIOps": [{"Path": "/dev/x", "Rate": "fast"}]}, "BlkioDeviceWriteIOps"),
        ({"MemorySwappiness": 101}, "valid memory swappiness range is 0-100"),
        ({"CpuRealtimePeriod": 1000, "CpuRealtimeRuntime": 2000}, "cannot be higher"),
        ({"CpuRealtimePeriod": -1}, "must not be negative"),
        ({"DeviceCgroupRules": ["c 7:128"]}, "invalid device cgroup rule format: 'c 7:128'"),
    ],
)
def test_values_out_of_range_are_refused_by_name(host: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        parse(host)


@pytest.mark.usefixtures("second_version")
@pytest.mark.parametrize(
    ("field", "value", "left"),
    [("MemorySwappiness", 10, None), ("OomKillDisable", True, None), ("BlkioWeight", 100, 0)],
)
def test_what_this_kernel_lacks_is_discarded_with_a_warning(field: str, value: Any, left: Any) -> None:
    found = parse({field: value, "Memory": 64 << 20})
    assert found.host_config[field] == left
    assert any("iscarded" in warning for warning in found.warnings)


@pytest.mark.usefixtures("second_version")
def test_real_time_scheduling_needs_a_kernel_that_has_it() -> None:
    with pytest.raises(InvalidParameter, match="real-time"):
        parse({"CpuRealtimeRuntime": 1000})


def test_a_device_that_is_none_is_refused_by_its_path() -> None:
    host = parse({"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1}]}).host_config
    with pytest.raises(InvalidParameter, match="BlkioDeviceReadBps: /dev/null is not a block device"):
        limits.block_io(host)


def test_device_rules_follow_those_that_every_container_has() -> None:
    host = parse({"DeviceCgroupRules": ["c 7:* rw", "a *:* m"]}).host_config
    rules = build.resources(host, device_rules=limits.device_rules(host))["devices"]
    assert rules[-2:] == [
        {"allow": True, "type": "c", "access": "rw", "major": 7},
        {"allow": True, "type": "a", "access": "m"},
    ]
    assert rules[0] == {"allow": False, "access": "rwm"}
