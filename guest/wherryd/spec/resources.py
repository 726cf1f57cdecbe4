"""linux.resources of config.json -> `oci.Resources`. Source: runtime-spec config-linux.md, "Control groups".

0 means "leave it" for limits of memory and weights, as it does in runc: callers such as dockerd send it.
"""

from dataclasses import replace
from typing import Final

from wherryd.spec import defaults, oci
from wherryd.spec.fields import Fields, Refusals

#: The kernel has taken them back, in Linux 5.16 and 6.11.
_OBSOLETE_MEMORY: Final = ("kernel", "kernelTCP")
_U32: Final = 2**32 - 1
_U64: Final = 2**64 - 1


def parse(fields: Fields, refused: Refusals) -> oci.Resources:
    """Problems and refusals are gathered; the result counts only when there are none."""
    memory = fields.child("memory")
    refused.look(memory, _OBSOLETE_MEMORY)
    if memory.flag("useHierarchy") is False and memory.raw("useHierarchy") is not None:
        # Since Linux 5.11 there is nothing else but a hierarchy.
        refused.places.append("linux.resources.memory.useHierarchy (false)")
    return oci.Resources(
        devices=tuple(_device_rule(rule) for rule in fields.children("devices")),
        memory=_memory(memory),
        cpu=_cpu(fields.child("cpu")),
        pids_limit=fields.child("pids").number("limit"),
        block_io=_block_io(fields.child("blockIO")),
        hugepage_limits=tuple(_hugepage_limit(entry) for entry in fields.children("hugepageLimits")),
        network=_network(fields.child("network")),
        rdma=_rdma(fields.child("rdma")),
        unified=_unified(fields),
    )


def _memory(fields: Fields) -> oci.MemoryLimits:
    return oci.MemoryLimits(
        limit=fields.number("limit", low=-1) or None,
        reservation=fields.number("reservation", low=-1) or None,
        swap=fields.number("swap", low=-1) or None,
        swappiness=fields.number("swappiness", low=0, high=100),
        disable_oom_killer=fields.flag("disableOOMKiller"),
        check_before_update=fields.flag("checkBeforeUpdate"),
    )


def _cpu(fields: Fields) -> oci.CpuLimits:
    return oci.CpuLimits(
        shares=fields.number("shares", low=0, high=262144),
        quota=fields.number("quota", low=-1),
        period=fields.number("period", low=0, high=1_000_000),
        burst=fields.number("burst", low=0),
        realtime_runtime=fields.number("realtimeRuntime", low=-1),
        realtime_period=fields.number("realtimePeriod", low=0),
        cpus=fields.text("cpus"),
        mems=fields.text("mems"),
        idle=fields.number("idle", low=0, high=1),
    )


def _block_io(fields: Fields) -> oci.BlockIoLimits:
    return oci.BlockIoLimits(
        weight=fields.number("weight", low=0, high=1000),
        leaf_weight=fields.number("leafWeight", low=0, high=1000),
        weights=tuple(_device_weight(entry) for entry in fields.children("weightDevice")),
        read_bps=_rates(fields, "throttleReadBpsDevice"),
        write_bps=_rates(fields, "throttleWriteBpsDevice"),
        read_iops=_rates(fields, "throttleReadIOPSDevice"),
        write_iops=_rates(fields, "throttleWriteIOPSDevice"),
    )


def _device_weight(fields: Fields) -> oci.BlockWeight:
    return oci.BlockWeight(
        major=fields.number("major", low=0, required=True) or 0,
        minor=fields.number("minor", low=0, required=True) or 0,
        weight=fields.number("weight", low=0, high=1000),
        leaf_weight=fields.number("leafWeight", low=0, high=1000),
    )


def _rates(fields: Fields, name: str) -> tuple[oci.BlockRate, ...]:
    return tuple(
        oci.BlockRate(
            major=entry.number("major", low=0, required=True) or 0,
            minor=entry.number("minor", low=0, required=True) or 0,
            rate=entry.number("rate", low=0, required=True) or 0,
        )
        for entry in fields.children(name)
    )


def _hugepage_limit(fields: Fields) -> oci.HugepageLimit:
    size = fields.text("pageSize")
    if not size.endswith(("KB", "MB", "GB")) or not size[:-2].isdecimal():
        fields.problem("pageSize", f"must be a number and KB, MB or GB, is {size!r}")
    return oci.HugepageLimit(
        page_size=size, limit=fields.number("limit", low=0, high=_U64, required=True) or 0
    )


def _network(fields: Fields) -> oci.NetworkLimits:
    return oci.NetworkLimits(
        class_id=fields.number("classID", low=0, high=_U32),
        priorities=tuple(
            (entry.text("name"), entry.number("priority", low=0, high=_U32, required=True) or 0)
            for entry in fields.children("priorities")
        ),
    )


def _rdma(fields: Fields) -> tuple[oci.RdmaLimit, ...]:
    return tuple(
        oci.RdmaLimit(
            device=device,
            handles=fields.child(device).number("hcaHandles", low=0, high=_U32),
            objects=fields.child(device).number("hcaObjects", low=0, high=_U32),
        )
        for device in fields.document
    )


def _unified(fields: Fields) -> dict[str, str]:
    """Keys are file names of the container's own group, and must not lead out of it."""
    found = fields.pairs("unified")
    for name in found:
        if "/" in name or name.startswith(".") or "." not in name:
            fields.problem("unified", f"{name!r} is no control file such as memory.high")
    return found


def _device_rule(fields: Fields) -> oci.DeviceRule:
    kind, access = fields.text("type") or "a", fields.text("access") or "rwm"
    if kind not in ("a", "b", "c"):
        fields.problem("type", f"must be a, b or c, is {kind!r}")
    if set(access) - set("rwm"):
        fields.problem("access", f"must be of the letters r, w and m, is {access!r}")
    major, minor = fields.number("major", low=-1), fields.number("minor", low=-1)
    return oci.DeviceRule(
        allow=fields.flag("allow"),
        kind=kind,
        major=None if major == -1 else major,
        minor=None if minor == -1 else minor,
        access=access,
    )


#: What every container may do with devices: make nodes of any, use the default ones.
_DEFAULT_RULES: Final = tuple(
    _device_rule(Fields(rule, "", [])) for rule in defaults.DEVICE_RULES if rule["allow"]
)
_DENY_ALL: Final = oci.DeviceRule(allow=False)


def with_default_devices(found: oci.Resources) -> oci.Resources:
    """The rules of the config and what every container may do; without any of its own, nothing else.

    Source: runtime-spec config-linux.md, "Default Devices"; runc does the same.
    """
    given = found.devices or (_DENY_ALL,)
    return replace(found, devices=(*given, *(rule for rule in _DEFAULT_RULES if rule not in given)))
