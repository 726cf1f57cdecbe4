"""The manager for this machine."""

from wherryd.cgroups.manager import CgroupManager, Layout, layout
from wherryd.cgroups.v1 import CgroupV1
from wherryd.cgroups.v2 import CgroupV2


def manager_for(path: str, machine: Layout | None = None) -> CgroupManager:
    """path: absolute within the hierarchy, see `manager.normalise`. Raises Unavailable."""
    chosen = machine or layout()
    return CgroupV1(chosen, path) if chosen.version == 1 else CgroupV2(chosen, path)
