"""process.scheduler, ioPriority and execCPUAffinity, linux.personality and memoryPolicy, of config.json.

Source: runtime-spec config.md, "Linux Process"; config-linux.md, "Personality" and "Memory policy".
"""

from typing import Final

from wherryd.spec import oci
from wherryd.spec.fields import Fields

#: Name -> number. Source: uapi/linux/sched.h.
POLICIES: Final = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS: Final = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
#: Source: uapi/linux/ioprio.h.
IO_CLASSES: Final = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
#: Source: uapi/linux/personality.h.
DOMAINS: Final = {"LINUX": 0x0000, "LINUX32": 0x0008}
#: Source: uapi/linux/mempolicy.h.
MEMORY_MODES: Final = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS: Final = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}
_WITHOUT_NODES: Final = ("MPOL_DEFAULT", "MPOL_LOCAL")
#: More than any kernel can have: ranges are expanded.
_MAX_CPUS: Final = 8192
#: The kernel's own limit, MAX_NUMNODES.
_MAX_NODES: Final = 1024
_U64: Final = 2**64 - 1


def scheduler(fields: Fields) -> oci.Scheduler:
    policy = fields.text("policy")
    if policy not in POLICIES:
        fields.problem("policy", f"must be one of {', '.join(POLICIES)}, is {policy!r}")
    flags = fields.texts("flags")
    if set(flags) - set(FLAGS):
        fields.problem("flags", f"must be of {', '.join(FLAGS)}")
    times = [fields.number(name, low=0, high=_U64) or 0 for name in ("runtime", "deadline", "period")]
    priority = fields.number("priority", low=0, high=99) or 0
    if any(times) and policy != "SCHED_DEADLINE":
        fields.problem("runtime", "and deadline and period are for SCHED_DEADLINE only")
    if priority and policy not in ("SCHED_FIFO", "SCHED_RR"):
        fields.problem("priority", "is for SCHED_FIFO and SCHED_RR only")
    return oci.Scheduler(
        policy=POLICIES.get(policy, 0),
        nice=fields.number("nice", low=-20, high=19) or 0,
        priority=priority,
        flags=sum(FLAGS.get(flag, 0) for flag in set(flags)),
        runtime_ns=times[0],
        deadline_ns=times[1],
        period_ns=times[2],
    )


def io_priority(fields: Fields) -> oci.IoPriority:
    kind = fields.text("class")
    if kind not in IO_CLASSES:
        fields.problem("class", f"must be one of {', '.join(IO_CLASSES)}, is {kind!r}")
    return oci.IoPriority(kind=IO_CLASSES.get(kind, 2), level=fields.number("priority", low=0, high=7) or 0)


def cpu_affinity(fields: Fields) -> oci.CpuAffinity:
    return oci.CpuAffinity(
        initial=_numbers(fields, "initial", "CPUs", _MAX_CPUS),
        final=_numbers(fields, "final", "CPUs", _MAX_CPUS),
    )


def memory_policy(fields: Fields) -> oci.MemoryPolicy:
    mode, flags = fields.text("mode"), fields.texts("flags")
    if mode not in MEMORY_MODES:
        fields.problem("mode", f"must be one of {', '.join(MEMORY_MODES)}, is {mode!r}")
    if set(flags) - set(MEMORY_FLAGS):
        fields.problem("flags", f"must be of {', '.join(MEMORY_FLAGS)}")
    nodes = _numbers(fields, "nodes", "NUMA nodes", _MAX_NODES)
    if mode in _WITHOUT_NODES and (nodes or flags):
        fields.problem("nodes", f"and flags are not for {mode}")
    bits = sum(MEMORY_FLAGS.get(flag, 0) for flag in set(flags))
    return oci.MemoryPolicy(mode=MEMORY_MODES.get(mode, 0) | bits, nodes=nodes)


def _numbers(fields: Fields, name: str, what: str, end: int) -> tuple[int, ...]:
    """ "0-3,7" -> (0, 1, 2, 3, 7), all below end. what: as the message calls them."""
    found: set[int] = set()
    for part in filter(None, fields.text(name).replace(" ", "").split(",")):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            fields.problem(name, f"must be a list of {what} such as 0-3,7, is {fields.text(name)!r}")
            return ()
        low, high = int(first), int(last or first)
        if not low <= high < end:
            fields.problem(name, f"{part} is no range of {what}")
            return ()
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def personality(fields: Fields) -> int:
    domain = fields.text("domain")
    if domain not in DOMAINS:
        fields.problem("domain", f"must be one of {', '.join(DOMAINS)}, is {domain!r}")
    if fields.texts("flags"):
        fields.problem("flags", "there are none yet")
    return DOMAINS.get(domain, 0)
