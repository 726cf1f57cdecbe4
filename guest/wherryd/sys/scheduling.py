"""How a process is scheduled, and as what: sched_setattr, ioprio_set, set_mempolicy, personality(2)."""

import ctypes
import os
import struct
from collections.abc import Sequence
from typing import Final

from wherryd.sys.libc import libc, register, syscall

# Source: asm/unistd_64.h, asm-generic/unistd.h.
_ARM: Final = os.uname().machine == "aarch64"
_NR_SCHED_SETATTR: Final = 274 if _ARM else 314
_NR_IOPRIO_SET: Final = 30 if _ARM else 251
_NR_SET_MEMPOLICY: Final = 237 if _ARM else 238
# uapi/linux/ioprio.h
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_CLASS_SHIFT: Final = 13
_UNCHANGED: Final = 0xFFFFFFFF

_personality = libc.personality
_personality.argtypes = (ctypes.c_ulong,)
_personality.restype = ctypes.c_int


def sched_setattr(
    *, policy: int, flags: int, nice: int, priority: int, runtime_ns: int, deadline_ns: int, period_ns: int
) -> None:
    """sched_setattr(2) for the calling thread. Raises KernelFault: EPERM without CAP_SYS_NICE, EINVAL."""
    attributes = struct.pack(
        "=IIQiIQQQII", 56, policy, flags, nice, priority, runtime_ns, deadline_ns, period_ns, 0, 0
    )
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    syscall(_NR_SCHED_SETATTR, "sched_setattr", f"policy {policy}", register(0), buffer, register(0))


def ioprio_set(kind: int, level: int) -> None:
    """ioprio_set(2) for the calling thread. kind: IOPRIO_CLASS_*. Raises KernelFault: EPERM for class RT."""
    value = kind << _IOPRIO_CLASS_SHIFT | level
    subject = f"class {kind}, level {level}"
    syscall(
        _NR_IOPRIO_SET, "ioprio_set", subject, register(_IOPRIO_WHO_PROCESS), register(0), register(value)
    )


def set_mempolicy(mode: int, nodes: Sequence[int]) -> None:
    """set_mempolicy(2) for the calling thread and what it forks. mode: MPOL_* with MPOL_F_*. Raises
    KernelFault: EINVAL for nodes that are not there or may not be used, ENOSYS without NUMA."""
    bits = sum(1 << node for node in nodes)
    size = max(bits.bit_length() // 64 + 1, 1) * 8
    mask = ctypes.create_string_buffer(bits.to_bytes(size, "little"), size)
    # The kernel takes the number of bits to be one less than what it is given.
    most = register(size * 8 + 1 if nodes else 0)
    subject = f"mode {mode:#x}, nodes {','.join(map(str, nodes)) or 'none'}"
    syscall(_NR_SET_MEMPOLICY, "set_mempolicy", subject, register(mode), mask if nodes else None, most)


def personality(persona: int | None = None) -> int:
    """personality(2): the one before; None changes nothing."""
    return int(_personality(_UNCHANGED if persona is None else persona))
