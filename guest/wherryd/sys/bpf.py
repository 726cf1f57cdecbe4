"""bpf(2), as far as device rules of cgroup v2 need it: load a program, attach it to a cgroup."""

import ctypes
import os
import struct
from typing import Final

from wherryd.sys.libc import NR_BPF, register, syscall

# linux/bpf.h
_BPF_PROG_LOAD = 5
_BPF_PROG_ATTACH = 8
_BPF_PROG_DETACH = 9
_BPF_PROG_GET_FD_BY_ID = 13
_BPF_PROG_QUERY = 16
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


def prog_query(cgroup_fd: int, attach_type: int) -> list[int]:
    """Numbers of the programs attached to this cgroup itself. Raises KernelFault."""
    room = 64
    found = (ctypes.c_uint32 * room)()
    attributes = struct.pack("=IIIIQII", cgroup_fd, attach_type, 0, 0, ctypes.addressof(found), room, 0)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    syscall(NR_BPF, "bpf", "query", register(_BPF_PROG_QUERY), buffer, register(len(attributes)))
    count = struct.unpack_from("=I", buffer.raw, 24)[0]
    return list(found[:count])


def prog_detach(cgroup_fd: int, program_id: int, attach_type: int) -> None:
    """Takes the program of that number off. Raises KernelFault."""
    program = _bpf(_BPF_PROG_GET_FD_BY_ID, str(program_id), struct.pack("=III", program_id, 0, 0))
    try:
        _bpf(_BPF_PROG_DETACH, "detach", struct.pack("=IIII", cgroup_fd, program, attach_type, 0))
    finally:
        os.close(program)
