"""Resources as control files: numbers, order, and what a version does not have."""

import struct
from pathlib import Path

import pytest

from wherryd.cgroups import blkio, cpu, devices, memory, pids
from wherryd.cgroups.files import Write
from wherryd.cgroups.manager import normalise, parse_layout
from wherryd.cgroups.stats import CgroupStats, CpuStats
from wherryd.errors import InvalidParameter
from wherryd.spec import defaults
from wherryd.spec.oci import BlockIoLimits, BlockRate, CpuLimits, DeviceRule, MemoryLimits
from wherryd.spec.parse import parse_resources

_MIB = 1024 * 1024


def _pairs(writes: list[Write]) -> list[tuple[str, str]]:
    return [(write.file, write.value) for write in writes]


def test_v2_swap_is_what_is_above_memory() -> None:
    limits = MemoryLimits(limit=128 * _MIB, swap=256 * _MIB)
    assert _pairs(memory.writes_v2(limits)) == [
        ("memory.swap.max", str(128 * _MIB)),
        ("memory.max", str(128 * _MIB)),
    ]
    assert ("memory.swap.max", "max") in _pairs(memory.writes_v2(MemoryLimits(limit=_MIB, swap=-1)))


@pytest.mark.parametrize("limits", [MemoryLimits(swap=_MIB), MemoryLimits(limit=2 * _MIB, swap=_MIB)])
def test_v2_swap_without_or_below_memory_is_refused(limits: MemoryLimits) -> None:
    with pytest.raises(InvalidParameter, match="swap"):
        memory.writes_v2(limits)


def test_v2_refuses_what_it_does_not_have() -> None:
    for limits in (MemoryLimits(swappiness=10), MemoryLimits(disable_oom_killer=True)):
        with pytest.raises(InvalidParameter):
            memory.writes_v2(limits)


def test_v1_raises_swap_first_and_lowers_it_last() -> None:
    limits = MemoryLimits(limit=100, swap=200)
    order = [write.file for write in memory.writes_v1(limits, swap_limit_now=150)]
    assert order == ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"]
    for now in (None, 300):
        order = [write.file for write in memory.writes_v1(limits, swap_limit_now=now)]
        assert order == ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000), (0, 1)])
def test_shares_become_weight(shares: int, weight: int) -> None:
    assert cpu.weight(shares) == weight


def test_half_a_cpu() -> None:
    limits = CpuLimits(quota=50000, period=100000)
    assert _pairs(cpu.writes_v2(limits)) == [("cpu.max", "50000 100000")]
    assert _pairs(cpu.writes_v1(limits)) == [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")]
    assert _pairs(cpu.writes_v2(CpuLimits(quota=-1))) == [("cpu.max", "max 100000")]


def test_no_pids_limit_is_max() -> None:
    assert _pairs(pids.writes(-1)) == [("pids.max", "max")]
    assert _pairs(pids.writes(7)) == [("pids.max", "7")]
    assert pids.writes(None) == []


def test_block_rates_in_both_versions() -> None:
    limits = BlockIoLimits(read_bps=(BlockRate(major=8, minor=0, rate=1000),))
    assert _pairs(blkio.writes_v1(limits)) == [("blkio.throttle.read_bps_device", "8:0 1000")]
    assert _pairs(blkio.writes_v2(limits)) == [("io.max", "8:0 rbps=1000")]


def test_block_statistics_are_read_in_both_formats(tmp_path: Path) -> None:
    (tmp_path / "io.stat").write_text("8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n")
    found = blkio.read_v2(tmp_path)
    assert [(each.op, each.value) for each in found.service_bytes] == [
        ("read", 10),
        ("write", 20),
        ("discard", 0),
    ]
    (tmp_path / "blkio.throttle.io_service_bytes_recursive").write_text("8:0 Read 5\n8:0 Write 6\nTotal 11\n")
    assert [(each.op, each.value) for each in blkio.read_v1(tmp_path).service_bytes] == [
        ("read", 5),
        ("write", 6),
    ]


def test_stats_survive_json() -> None:
    import json
    from dataclasses import asdict

    stats = CgroupStats(version=1, cpu=CpuStats(total_ns=5, percpu_ns=(2, 3)))
    assert CgroupStats.from_dict(json.loads(json.dumps(asdict(stats)))) == stats


@pytest.mark.parametrize(
    ("given", "path"),
    [("", "/wherry/c1"), ("x/y", "/wherry/x/y"), ("/a/b", "/a/b")],
)
def test_cgroup_paths(given: str, path: str) -> None:
    assert normalise(given, "c1") == path


@pytest.mark.parametrize("given", ["/", "../x", "/a/../..", "system.slice:wherry:c1"])
def test_cgroup_paths_that_are_refused(given: str) -> None:
    with pytest.raises(InvalidParameter):
        normalise(given, "c1")


def test_the_layout_is_read_from_mountinfo() -> None:
    v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
    assert parse_layout(v2).version == 2
    v1 = (
        "31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    )
    layout = parse_layout(v1)
    assert layout.version == 1
    assert layout.mounts["cpu"] == layout.mounts["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")


def test_v1_device_rules_as_text() -> None:
    rules = [
        DeviceRule(allow=False),
        DeviceRule(allow=True, kind="c", major=1, minor=3, access="rw"),
        DeviceRule(allow=True, kind="c", major=136),
    ]
    assert _pairs(devices.writes_v1(rules)) == [
        ("devices.deny", "a"),
        ("devices.allow", "c 1:3 rw"),
        ("devices.allow", "c 136:* rwm"),
    ]


def _decide(rules: list[DeviceRule], kind: str, access: str, major: int, minor: int) -> bool:
    """A BPF machine of the eight instructions that `compile_rules` uses."""
    bits = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
    context = {0: bits << 16 | {"b": 1, "c": 2}[kind], 4: major, 8: minor}
    code = [struct.unpack("=BBhi", chunk) for chunk in _chunks(devices.compile_rules(rules))]
    registers = dict.fromkeys(range(6), 0)
    at = 0
    while True:
        opcode, names, offset, immediate = code[at]
        dst, src = names & 15, names >> 4
        at += 1
        if opcode == 0x61:
            registers[dst] = context[offset]
        elif opcode == 0x54:
            registers[dst] &= immediate
        elif opcode == 0x74:
            registers[dst] >>= immediate
        elif opcode == 0xBC:
            registers[dst] = registers[src]
        elif opcode == 0xB7:
            registers[dst] = immediate
        elif opcode == 0x95:
            return bool(registers[0])
        elif (
            (opcode == 0x55 and registers[dst] != immediate)
            or (opcode == 0x15 and registers[dst] == immediate)
            or (opcode == 0x5D and registers[dst] != registers[src])
        ):
            at += offset


def _chunks(code: bytes) -> list[bytes]:
    return [code[at : at + 8] for at in range(0, len(code), 8)]


@pytest.mark.parametrize(
    ("kind", "access", "major", "minor", "allowed"),
    [
        ("c", "rw", 1, 3, True),
        ("c", "rwm", 5, 2, True),
        ("c", "rw", 136, 7, True),
        ("c", "r", 1, 11, False),
        ("c", "m", 1, 11, True),
        ("b", "m", 8, 0, True),
        ("b", "r", 8, 0, False),
        ("b", "rm", 8, 0, False),
    ],
)
def test_the_default_rules_compiled_for_v2(
    kind: str, access: str, major: int, minor: int, allowed: bool
) -> None:
    rules = list(parse_resources({"devices": list(defaults.DEVICE_RULES)}).devices)
    assert _decide(rules, kind, access, major, minor) is allowed


def test_the_last_rule_that_fits_decides() -> None:
    rules = [DeviceRule(allow=True), DeviceRule(allow=False, kind="b", access="w")]
    assert _decide(rules, "b", "r", 8, 0)
    assert not _decide(rules, "b", "rw", 8, 0)
    assert _decide(rules, "c", "rwm", 1, 1)


def test_without_a_rule_everything_is_denied() -> None:
    assert not _decide([], "c", "r", 1, 3)


def test_read_and_write_allowed_apart_are_allowed_together() -> None:
    rules = [DeviceRule(allow=True, kind="c", major=1, minor=3, access=letter) for letter in "rw"]
    assert _decide(rules, "c", "rw", 1, 3)
