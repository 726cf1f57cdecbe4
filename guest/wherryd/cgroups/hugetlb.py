"""Huge pages, by their size. Kernel: admin-guide/cgroup-v1/hugetlb.rst, cgroup-v2.rst "HugeTLB"."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wherryd import later
from wherryd.cgroups.files import Write, limit, number, table

if TYPE_CHECKING:
    from wherryd.cgroups import stats
    from wherryd.spec.oci import HugepageLimit
else:
    stats = later.module("wherryd.cgroups.stats")

CONTROLLER = "hugetlb"
_UNITS = {"KB": 10, "MB": 20, "GB": 30}


def _kernel_name(size: str) -> str:
    """The kernel's name of a size: 2048KB and 2MB are the same, and its files are called 2MB."""
    bytes_ = int(size[:-2]) << _UNITS[size[-2:]]
    for unit, shift in reversed(_UNITS.items()):
        if bytes_ >= 1 << shift and not bytes_ % (1 << shift):
            return f"{bytes_ >> shift}{unit}"
    return size


def writes_v1(limits: Sequence[HugepageLimit]) -> list[Write]:
    return [
        Write(CONTROLLER, f"hugetlb.{_kernel_name(each.page_size)}.limit_in_bytes", _v1(each.limit))
        for each in limits
    ]


def _v1(value: int) -> str:
    """Above the largest signed number there is no limit, which v1 calls -1."""
    return "-1" if value >= 2**63 else str(value)


def writes_v2(limits: Sequence[HugepageLimit]) -> list[Write]:
    """The limit in use and the one of reservations, as a program may only reserve what it may use."""
    return [
        Write(CONTROLLER, f"hugetlb.{_kernel_name(each.page_size)}.{file}", _v2(each.limit))
        for each in limits
        for file in ("max", "rsvd.max")
    ]


def _v2(value: int) -> str:
    return "max" if value >= 2**63 else str(value)


def read_v1(directory: Path) -> dict[str, stats.HugetlbStats]:
    return {
        size: stats.HugetlbStats(
            usage_bytes=number(directory / f"hugetlb.{size}.usage_in_bytes"),
            max_usage_bytes=number(directory / f"hugetlb.{size}.max_usage_in_bytes"),
            limit_bytes=limit(directory / f"hugetlb.{size}.limit_in_bytes"),
            failcnt=number(directory / f"hugetlb.{size}.failcnt"),
        )
        for size in _sizes(directory, ".usage_in_bytes")
    }


def read_v2(directory: Path) -> dict[str, stats.HugetlbStats]:
    return {
        size: stats.HugetlbStats(
            usage_bytes=number(directory / f"hugetlb.{size}.current"),
            limit_bytes=limit(directory / f"hugetlb.{size}.max"),
            failcnt=table(directory / f"hugetlb.{size}.events").get("max", 0),
        )
        for size in _sizes(directory, ".current")
    }


def _sizes(directory: Path, ending: str) -> list[str]:
    found = [
        each.name.removeprefix("hugetlb.").removesuffix(ending)
        for each in directory.glob(f"hugetlb.*{ending}")
    ]
    return sorted(size for size in found if "." not in size)
