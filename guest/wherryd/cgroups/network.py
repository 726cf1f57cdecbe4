"""Marks and priorities of packets; v1 only. Kernel: admin-guide/cgroup-v1/net_cls.rst, net_prio.rst.

v2 has neither: packets are matched by their cgroup's path or by BPF instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherryd.cgroups.files import Write
from wherryd.errors import InvalidParameter

if TYPE_CHECKING:
    from wherryd.spec.oci import NetworkLimits

CONTROLLER_CLASS = "net_cls"
CONTROLLER_PRIORITY = "net_prio"


def writes_v1(limits: NetworkLimits) -> list[Write]:
    """0 is the kernel's own value of a class and means "leave it"."""
    writes = [
        Write(CONTROLLER_PRIORITY, "net_prio.ifpriomap", f"{name} {priority}")
        for name, priority in limits.priorities
    ]
    if limits.class_id:
        writes.append(Write(CONTROLLER_CLASS, "net_cls.classid", str(limits.class_id)))
    return writes


def check_v2(limits: NetworkLimits) -> None:
    """Raises InvalidParameter for what v2 does not have."""
    if limits.class_id or limits.priorities:
        raise InvalidParameter("linux.resources.network: cgroup v2 has no net_cls and net_prio; leave it out")
