"""Resources as control files: numbers, order, and what a version does not have."""

import struct
from pathlib import Path

import pytest

from wherryd.cgroups import blkio, cpu, devices, hugetlb, memory, network, pids, rdma
from wherryd.cgroups.files import Write
from wherryd.cgroups.manager import normalise, parse_layout
from wherryd.cgroups.stats import CgroupStats, CpuStats, HugetlbStats
from wherryd.errors import Conflict, InvalidParameter
from wherryd.spec import defaults
from wherryd.spec.oci import (
    BlockIoLimits,
    BlockRate,
    BlockWeight,
    CpuLimits,
    DeviceRule,
    HugepageLimit,
    MemoryLimits,
    NetworkLimits,
    RdmaLimit,
)
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


def test_block_weights_in_both_versions() -> None:
    limits = BlockIoLimits(weight=500, weights=(BlockWeight(major=8, minor=16, weight=1000),))
    assert _pairs(blkio.writes_v1(limits)) == [
        ("blkio.bfq.weight", "500"),
        ("blkio.bfq.weight_device", "8:16 1000"),
    ]
    assert _pairs(blkio.writes_v2(limits)) == [("io.weight", "default 4950"), ("io.weight", "8:16 10000")]
    assert _pairs(blkio.writes_v2(limits, bfq=True)) == [
        ("io.bfq.weight", "default 500"),
        ("io.bfq.weight", "8:16 1000"),
    ]
    with pytest.raises(InvalidParameter, match="leafWeight"):
        blkio.writes_v2(BlockIoLimits(leaf_weight=10))


def test_huge_pages_in_both_versions(tmp_path: Path) -> None:
    limits = (
        HugepageLimit(page_size="2048KB", limit=4 * _MIB),
        HugepageLimit(page_size="1GB", limit=2**64 - 1),
    )
    assert _pairs(hugetlb.writes_v1(limits)) == [
        ("hugetlb.2MB.limit_in_bytes", str(4 * _MIB)),
        ("hugetlb.1GB.limit_in_bytes", "-1"),
    ]
    assert _pairs(hugetlb.writes_v2(limits))[:2] == [
        ("hugetlb.2MB.max", str(4 * _MIB)),
        ("hugetlb.2MB.rsvd.max", str(4 * _MIB)),
    ]
    for name, text in (("current", "5"), ("max", "max"), ("events", "max 3"), ("rsvd.current", "9")):
        (tmp_path / f"hugetlb.2MB.{name}").write_text(text)
    assert hugetlb.read_v2(tmp_path) == {"2MB": HugetlbStats(usage_bytes=5, failcnt=3)}
    for name, number in (
        ("usage_in_bytes", 5),
        ("max_usage_in_bytes", 7),
        ("limit_in_bytes", 9),
        ("failcnt", 1),
    ):
        (tmp_path / f"hugetlb.1GB.{name}").write_text(f"{number}\n")
    assert hugetlb.read_v1(tmp_path) == {
        "1GB": HugetlbStats(usage_bytes=5, max_usage_bytes=7, limit_bytes=9, failcnt=1)
    }


def test_packets_are_marked_in_v1_only() -> None:
    limits = NetworkLimits(class_id=0x100001, priorities=(("eth0", 500), ("lo", 1)))
    assert _pairs(network.writes_v1(limits)) == [
        ("net_prio.ifpriomap", "eth0 500"),
        ("net_prio.ifpriomap", "lo 1"),
        ("net_cls.classid", str(0x100001)),
    ]
    assert network.writes_v1(NetworkLimits(class_id=0)) == []
    with pytest.raises(InvalidParameter, match="net_cls"):
        network.check_v2(limits)


def test_rdma_leaves_what_is_not_given() -> None:
    limits = (RdmaLimit(device="mlx5_1", handles=3), RdmaLimit(device="mlx4_0", handles=1, objects=2))
    assert _pairs(rdma.writes(limits)) == [
        ("rdma.max", "mlx5_1 hca_handle=3"),
        ("rdma.max", "mlx4_0 hca_handle=1 hca_object=2"),
    ]


def test_a_limit_below_the_usage_is_refused_when_asked() -> None:
    limits = MemoryLimits(limit=_MIB, check_before_update=True)
    memory.check_update(limits, _MIB)
    with pytest.raises(Conflict, match="usage"):
        memory.check_update(limits, _MIB + 1)
    memory.check_update(MemoryLimits(limit=_MIB), 2 * _MIB)


def test_v2_keeps_what_an_update_does_not_give() -> None:
    assert _pairs(cpu.writes_v2(CpuLimits(period=50000), max_now="20000 100000\n")) == [
        ("cpu.max", "20000 50000")
    ]
    assert _pairs(cpu.writes_v2(CpuLimits(quota=3000), max_now="max 50000\n")) == [("cpu.max", "3000 50000")]
    assert _pairs(memory.writes_v2(MemoryLimits(swap=3 * _MIB), limit_now=_MIB)) == [
        ("memory.swap.max", str(2 * _MIB))
    ]


def test_v1_without_a_memory_limit_has_none_of_swap() -> None:
    writes = memory.writes_v1(MemoryLimits(limit=-1), swap_limit_now=100)
    assert _pairs(writes) == [("memory.memsw.limit_in_bytes", "-1"), ("memory.limit_in_bytes", "-1")]
    # Where the kernel does not account for swap there is nothing to lift.
    assert _pairs(memory.writes_v1(MemoryLimits(limit=-1), swap_limit_now=None)) == [
        ("memory.limit_in_bytes", "-1")
    ]


def test_a_group_stops_being_idle_before_it_gets_shares() -> None:
    for plan in (cpu.writes_v1, cpu.writes_v2):
        files = [write.file for write in plan(CpuLimits(shares=100, idle=0))]
        assert files[0] == "cpu.idle"
        assert [write.file for write in plan(CpuLimits(shares=100, idle=1))][-1] == "cpu.idle"


def test_realtime_is_of_v1() -> None:
    limits = CpuLimits(realtime_runtime=5000, realtime_period=10000)
    assert _pairs(cpu.writes_v1(limits)) == [("cpu.rt_period_us", "10000"), ("cpu.rt_runtime_us", "5000")]
    with pytest.raises(InvalidParameter, match="realtime"):
        cpu.writes_v2(limits)


def test_zero_leaves_a_limit_as_it_is() -> None:
    """dockerd and containerd send zeros for what their user did not say."""
    found = parse_resources({"memory": {"limit": 0, "reservation": 0, "kernel": 0}, "blockIO": {"weight": 0}})
    assert memory.writes_v1(found.memory, swap_limit_now=None) == []
    assert memory.writes_v2(found.memory) == []
    assert blkio.writes_v1(found.block_io) == []


def test_stats_survive_json() -> None:
    import json
    from dataclasses import asdict

    stats = CgroupStats(
        version=1,
        cpu=CpuStats(total_ns=5, percpu_ns=(2, 3)),
        hugetlb={"2MB": HugetlbStats(usage_bytes=1)},
    )
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
