"""bpf(2), as far as device rules of cgroup v2 need it: load a program, attach it to a cgroup."""

import ctypes
import struct
from typing import Final

from wherryd.sys.libc import NR_BPF, register, syscall

# linux/bpf.h
_BPF_PROG_LOAD = 5
_BPF_PROG_ATTACH = 8
BPF_PROG_TYPE_CGROUP_DEVICE: Final = 15
BPF_CGROUP_DEVICE: Final = 6
BPF_F_ALLOW_MULTI: Final = 2

INSTRUCTION_BYTES: Final = 8


def _bpf(command: int, subject: str, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return syscall(NR_BPF, "bpf", subject, register(command), buffer, register(len(attributes)))


def prog_load(program_type: int, instructions: bytes) -> int:
    """A descriptor of the program; the caller closes it. Raises KernelFault: EINVAL when the verifier
    refuses it, EPERM without CAP_BPF, ENOSYS in a kernel without BPF."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_text = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "=IIQQIIQII",
        program_type,
        len(instructions) // INSTRUCTION_BYTES,
        ctypes.addressof(code),
        ctypes.addressof(license_text),
        0,
        0,
        0,
        0,
        0,
    )
    return _bpf(_BPF_PROG_LOAD, "load", attributes)


def prog_attach(cgroup_fd: int, program_fd: int, attach_type: int, flags: int) -> None:
    """The cgroup keeps the program until it is removed. Raises KernelFault."""
    _bpf(_BPF_PROG_ATTACH, "attach", struct.pack("=IIII", cgroup_fd, program_fd, attach_type, flags))
