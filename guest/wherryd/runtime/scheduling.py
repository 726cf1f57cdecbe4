"""process.scheduler, ioPriority and execCPUAffinity, linux.personality and memoryPolicy, put into force.

Called while the process still has the engine's power: a real-time class needs CAP_SYS_NICE or CAP_SYS_ADMIN.
"""

import errno
import os
from collections.abc import Sequence
from typing import Final

from wherryd.errors import KernelFault, RuntimeFault
from wherryd.spec.oci import MemoryPolicy, Process
from wherryd.sys import scheduling

#: uapi/linux/sched.h: SCHED_FLAG_RESET_ON_FORK.
_RESET_ON_FORK: Final = 0x01
#: sched(7), "Real-time group scheduling".
_REALTIME_HINT: Final = (
    ": it needs CAP_SYS_NICE, and with cgroup v1 time of its group's: see linux.resources.cpu.realtimeRuntime"
)


def apply(wanted: Process, *, forks: bool) -> None:
    """forks: whether the process that gets to be the program is a child of the caller.

    Raises RuntimeFault that names the field.
    """
    if wanted.scheduler is not None:
        each = wanted.scheduler
        if forks and each.flags & _RESET_ON_FORK:
            raise RuntimeFault(
                "process.scheduler: SCHED_FLAG_RESET_ON_FORK cannot be had together with a user namespace: "
                "leave the flag out"
            )
        try:
            scheduling.sched_setattr(
                policy=each.policy,
                flags=each.flags,
                nice=each.nice,
                priority=each.priority,
                runtime_ns=each.runtime_ns,
                deadline_ns=each.deadline_ns,
                period_ns=each.period_ns,
            )
        except KernelFault as error:
            hint = _REALTIME_HINT if each.priority and error.errno == errno.EPERM else ""
            raise RuntimeFault(f"cannot set process.scheduler: {error}{hint}") from error
    if wanted.io_priority is not None:
        try:
            scheduling.ioprio_set(wanted.io_priority.kind, wanted.io_priority.level)
        except KernelFault as error:
            raise RuntimeFault(f"cannot set process.ioPriority: {error}") from error


def set_personality(persona: int | None) -> None:
    if persona is not None:
        scheduling.personality(persona)


def set_memory_policy(policy: MemoryPolicy | None) -> None:
    """Once the process is in its cgroup, whose cpuset bounds the nodes. Raises RuntimeFault."""
    if policy is None:
        return
    try:
        scheduling.set_mempolicy(policy.mode, policy.nodes)
    except KernelFault as error:
        raise RuntimeFault(f"cannot set linux.memoryPolicy: {error}") from error


def set_affinity(cpus: Sequence[int]) -> None:
    """No CPUs: left as it is. Raises RuntimeFault."""
    if not cpus:
        return
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        raise RuntimeFault(
            f"cannot set process.execCPUAffinity to {','.join(map(str, cpus))}: {error.strerror}"
        ) from error
