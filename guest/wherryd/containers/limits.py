"""Limits that depend on the machine: what its kernel and cgroups cannot do is discarded with a warning.

Block I/O, swappiness, the OOM killer, real-time scheduling. Wording as dockerd's. Source: Engine API 1.51,
Resources; Kernel: admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

import os
import re
import stat
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from wherryd.cgroups.manager import layout
from wherryd.errors import InvalidParameter

#: HostConfig's field -> the OCI name. Rates per second.
RATES: Final[Mapping[str, str]] = {
    "BlkioDeviceReadBps": "throttleReadBpsDevice",
    "BlkioDeviceWriteBps": "throttleWriteBpsDevice",
    "BlkioDeviceReadIOps": "throttleReadIOPSDevice",
    "BlkioDeviceWriteIOps": "throttleWriteIOPSDevice",
}
_RULE: Final = re.compile(r"([acb]) (\d{1,10}|\*):(\d{1,10}|\*) ([rwm]{1,3})")


def problems(host: Mapping[str, Any]) -> list[str]:
    """What is wrong on any machine."""
    found = []
    if host["BlkioWeight"] and not 10 <= host["BlkioWeight"] <= 1000:
        found.append("Range of blkio weight is from 10 to 1000")
    found += [
        f"BlkioWeightDevice: {entry.get('Path')}: range of the weight is from 10 to 1000"
        for entry in host["BlkioWeightDevice"] or ()
        if not isinstance(entry.get("Weight"), int) or not 10 <= entry["Weight"] <= 1000
    ]
    found += [
        f"{key}: {entry.get('Path')}: Rate wants a whole number that is not negative"
        for key in RATES
        for entry in host[key] or ()
        if not isinstance(entry.get("Rate"), int) or entry["Rate"] < 0
    ]
    if host["MemorySwappiness"] is not None and not -1 <= host["MemorySwappiness"] <= 100:
        found.append(f"Invalid value: {host['MemorySwappiness']}, valid memory swappiness range is 0-100")
    if host["CpuRealtimePeriod"] < 0 or host["CpuRealtimeRuntime"] < -1:
        found.append("CpuRealtimePeriod, CpuRealtimeRuntime: must not be negative")
    if host["CpuRealtimeRuntime"] > host["CpuRealtimePeriod"] > 0:
        found.append("cpu real-time runtime cannot be higher than cpu real-time period")
    found += [
        f"invalid device cgroup rule format: '{rule}' (hint: c 7:128 rwm)"
        for rule in host["DeviceCgroupRules"] or ()
        if not _RULE.fullmatch(rule)
    ]
    return found


def adapt(host: dict[str, Any]) -> list[str]:
    """Discards, in place, what this machine cannot do; the warnings. Raises InvalidParameter as dockerd."""
    found = []
    if host["MemorySwappiness"] is not None and layout().version == 2:
        found.append("Your kernel does not support memory swappiness capabilities (cgroup v2). Discarded.")
        host["MemorySwappiness"] = None
    if host["OomKillDisable"] and layout().version == 2:
        found.append("Your kernel does not support OomKillDisable (cgroup v2). OomKillDisable discarded.")
        host["OomKillDisable"] = None
    if host["OomKillDisable"] and not host["Memory"]:
        found.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the "
            "system running out of resources."
        )
    if (host["CpuRealtimePeriod"] or host["CpuRealtimeRuntime"]) and not has_file(
        "cpu", ("cpu.rt_runtime_us",)
    ):
        raise InvalidParameter(
            "Your kernel does not support CPU real-time scheduler "
            "(hint: it needs cgroup v1 and CONFIG_RT_GROUP_SCHED)"
        )
    if host["BlkioWeight"] or host["BlkioWeightDevice"]:
        version = layout().version
        files = ("io.weight", "io.bfq.weight") if version == 2 else ("blkio.bfq.weight", "blkio.weight")
        if not has_file("" if version == 2 else "blkio", files):
            found.append(
                "Your kernel does not support Block I/O weight or the cgroup is not mounted. Discarded."
            )
            host["BlkioWeight"], host["BlkioWeightDevice"] = 0, []
    return found


@cache
def has_file(controller: str, names: tuple[str, ...]) -> bool:
    """Whether groups of a v1 controller, or of v2 for "", have one of these files. The root has fewer files,
    so a group is made to look."""
    mount = layout().mounts.get(controller)
    if mount is None:
        return False
    if any((mount / name).exists() for name in names):
        return True
    try:
        probe = Path(tempfile.mkdtemp(prefix="wherry-probe-", dir=mount))
    except OSError:
        return False
    try:
        return any((probe / name).exists() for name in names)
    finally:
        probe.rmdir()


def block_io(host: Mapping[str, Any]) -> dict[str, Any]:
    """linux.resources.blockIO. Raises InvalidParameter for a path that is no block device."""
    found: dict[str, Any] = {}
    if host["BlkioWeight"]:
        found["weight"] = host["BlkioWeight"]
    if host["BlkioWeightDevice"]:
        found["weightDevice"] = [
            {**_device(entry, "BlkioWeightDevice"), "weight": entry["Weight"]}
            for entry in host["BlkioWeightDevice"]
        ]
    for key, name in RATES.items():
        if host[key]:
            found[name] = [{**_device(entry, key), "rate": entry["Rate"]} for entry in host[key]]
    return found


def _device(entry: Mapping[str, Any], field: str) -> dict[str, int]:
    path = str(entry.get("Path") or "")
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        raise InvalidParameter(f"{field}: no such device: {path}") from None
    if not stat.S_ISBLK(status.st_mode):
        raise InvalidParameter(f"{field}: {path} is not a block device")
    return {"major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev)}


def device_rules(host: Mapping[str, Any]) -> list[dict[str, Any]]:
    """linux.resources.devices of --device-cgroup-rule, checked before."""
    found = []
    for rule in host["DeviceCgroupRules"] or ():
        match = _RULE.fullmatch(rule)
        assert match is not None, "problems() has seen it"  # noqa: S101
        entry: dict[str, Any] = {"allow": True, "type": match[1], "access": match[4]}
        for key, text in (("major", match[2]), ("minor", match[3])):
            if text != "*":
                entry[key] = int(text)
        found.append(entry)
    return found
