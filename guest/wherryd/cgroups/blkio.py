"""Block devices: rates, weight, use. Kernel: cgroup-v1/blkio-controller.rst, cgroup-v2.rst "IO"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wherryd import later
from wherryd.cgroups.files import Write, read
from wherryd.errors import InvalidParameter

if TYPE_CHECKING:
    from wherryd.cgroups import stats
    from wherryd.spec.oci import BlockIoLimits
else:
    stats = later.module("wherryd.cgroups.stats")

CONTROLLER_V1 = "blkio"
CONTROLLER_V2 = "io"

_V2_NAMES = {"rbytes": ("bytes", "read"), "wbytes": ("bytes", "write"), "dbytes": ("bytes", "discard")} | {
    "rios": ("requests", "read"),
    "wios": ("requests", "write"),
    "dios": ("requests", "discard"),
}


def writes_v1(limits: BlockIoLimits, *, bfq: bool = True) -> list[Write]:
    """bfq: whether the weights are those of the BFQ scheduler, or of CFQ in old kernels."""
    prefix = "blkio.bfq." if bfq else "blkio."
    files = (
        ("blkio.throttle.read_bps_device", limits.read_bps),
        ("blkio.throttle.write_bps_device", limits.write_bps),
        ("blkio.throttle.read_iops_device", limits.read_iops),
        ("blkio.throttle.write_iops_device", limits.write_iops),
    )
    writes = [
        Write(CONTROLLER_V1, file, f"{rate.major}:{rate.minor} {rate.rate}")
        for file, rates in files
        for rate in rates
    ]
    if limits.weight:
        writes.append(Write(CONTROLLER_V1, f"{prefix}weight", str(limits.weight)))
    if limits.leaf_weight:
        # CFQ alone has them.
        writes.append(Write(CONTROLLER_V1, "blkio.leaf_weight", str(limits.leaf_weight)))
    for each in limits.weights:
        device = f"{each.major}:{each.minor}"
        if each.weight:
            writes.append(Write(CONTROLLER_V1, f"{prefix}weight_device", f"{device} {each.weight}"))
        if each.leaf_weight:
            value = f"{device} {each.leaf_weight}"
            writes.append(Write(CONTROLLER_V1, "blkio.leaf_weight_device", value))
    return writes


def writes_v2(limits: BlockIoLimits, *, bfq: bool = False) -> list[Write]:
    """bfq: whether weights are given to the BFQ scheduler, in its own range, or to io.cost.

    Raises InvalidParameter for what v2 does not have.
    """
    if limits.leaf_weight or any(each.leaf_weight for each in limits.weights):
        raise InvalidParameter("linux.resources.blockIO.leafWeight: cgroup v2 has none; leave it out")
    file = "io.bfq.weight" if bfq else "io.weight"
    keys = (
        ("rbps", limits.read_bps),
        ("wbps", limits.write_bps),
        ("riops", limits.read_iops),
        ("wiops", limits.write_iops),
    )
    writes = [
        Write(CONTROLLER_V2, "io.max", f"{rate.major}:{rate.minor} {key}={rate.rate or 'max'}")
        for key, rates in keys
        for rate in rates
    ]
    if limits.weight:
        writes.append(Write(CONTROLLER_V2, file, f"default {_weight(limits.weight, bfq)}"))
    for each in limits.weights:
        if each.weight:
            value = f"{each.major}:{each.minor} {_weight(each.weight, bfq)}"
            writes.append(Write(CONTROLLER_V2, file, value))
    return writes


def _weight(weight: int, bfq: bool) -> int:
    """10..1000 on 1..10000, as the kernel's BFQ maps it: 10 -> 1, 1000 -> 10000. BFQ itself ends at 1000."""
    return weight if bfq else 1 + (max(weight, 10) - 10) * 9999 // 990


def read_v1(directory: Path) -> stats.BlkioStats:
    """BFQ's counters where it schedules the disk, else those of throttling."""
    return stats.BlkioStats(
        service_bytes=_table_v1(directory, "io_service_bytes_recursive"),
        serviced=_table_v1(directory, "io_serviced_recursive"),
    )


def _table_v1(directory: Path, name: str) -> tuple[stats.BlkioEntry, ...]:
    for prefix in ("blkio.bfq.", "blkio.throttle."):
        entries = tuple(_entries_v1(read(directory / f"{prefix}{name}")))
        if entries:
            return entries
    return ()


def _entries_v1(text: str) -> Iterator[stats.BlkioEntry]:
    """Lines such as `254:0 Read 4096`; the last one is a grand total without a device."""
    for line in text.splitlines():
        device, _, rest = line.partition(" ")
        op, _, value = rest.partition(" ")
        major, colon, minor = device.partition(":")
        if colon and value.isdigit():
            yield stats.BlkioEntry(major=int(major), minor=int(minor), op=op.lower(), value=int(value))


def read_v2(directory: Path) -> stats.BlkioStats:
    found: dict[str, list[stats.BlkioEntry]] = {"bytes": [], "requests": []}
    for line in read(directory / "io.stat").splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key in _V2_NAMES and value.isdigit():
                kind, op = _V2_NAMES[key]
                found[kind].append(
                    stats.BlkioEntry(major=int(major), minor=int(minor), op=op, value=int(value))
                )
    return stats.BlkioStats(service_bytes=tuple(found["bytes"]), serviced=tuple(found["requests"]))
