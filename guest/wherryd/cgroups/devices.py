"""Which devices may be opened or made. v1: lists in files; v2: a BPF program compiled from the same rules.

Kernel: admin-guide/cgroup-v1/devices.rst, admin-guide/cgroup-v2.rst "Device controller",
uapi/linux/bpf.h "bpf_cgroup_dev_ctx". The last rule that fits decides; none fits: denied.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wherryd import later
from wherryd.cgroups.files import Write
from wherryd.sys import bpf

if TYPE_CHECKING:
    from wherryd.spec import oci
else:
    oci = later.module("wherryd.spec.oci")

CONTROLLER = "devices"

_ACCESS_BITS = {"m": 1, "r": 2, "w": 4}
_ALL_ACCESS = 7
_TYPE_NUMBERS = {"b": 1, "c": 2}


def writes_v1(rules: Sequence[oci.DeviceRule]) -> list[Write]:
    """A rule for all devices must be written as plain "a": "a *:* rwm" with numbers is refused."""
    return [
        Write(CONTROLLER, "devices.allow" if rule.allow else "devices.deny", _text(rule)) for rule in rules
    ]


def _text(rule: oci.DeviceRule) -> str:
    if rule.kind == "a" and rule.major is None and rule.minor is None:
        return "a"
    major = "*" if rule.major is None else rule.major
    minor = "*" if rule.minor is None else rule.minor
    return f"{rule.kind} {major}:{minor} {rule.access}"


def attach_v2(directory: Path, rules: Sequence[oci.DeviceRule]) -> None:
    """Instead of rules given before. Raises KernelFault when the kernel was built without cgroup BPF."""
    program = bpf.prog_load(bpf.BPF_PROG_TYPE_CGROUP_DEVICE, compile_rules(rules))
    try:
        cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            before = bpf.prog_query(cgroup, bpf.BPF_CGROUP_DEVICE)
            bpf.prog_attach(cgroup, program, bpf.BPF_CGROUP_DEVICE, bpf.BPF_F_ALLOW_MULTI)
            # All that are attached must allow: without the old ones the new one decides, and never nobody.
            for number in before:
                bpf.prog_detach(cgroup, number, bpf.BPF_CGROUP_DEVICE)
        finally:
            os.close(cgroup)
    finally:
        os.close(program)


# Registers: r0 the answer, r1 the context (later scratch), r2 type, r3 access, r4 major, r5 minor.
_LOAD_WORD = 0x61
_AND_IMM = 0x54
_RSH_IMM = 0x74
_MOV_REG = 0xBC
_MOV_IMM = 0xB7
_JEQ_IMM = 0x15
_JNE_IMM = 0x55
_JNE_REG = 0x5D
_EXIT = 0x95


def compile_rules(rules: Sequence[oci.DeviceRule]) -> bytes:
    """The program's bytes. Rules are tested last to first, as the last one that fits decides."""
    code = [
        _instruction(_LOAD_WORD, 2, 1, 0),
        _instruction(_AND_IMM, 2, imm=0xFFFF),
        _instruction(_LOAD_WORD, 3, 1, 0),
        _instruction(_RSH_IMM, 3, imm=16),
        _instruction(_LOAD_WORD, 4, 1, 4),
        _instruction(_LOAD_WORD, 5, 1, 8),
    ]
    for rule in reversed(_merged(rules)):
        code += _rule(rule)
        if _fits_all(rule):
            break  # the verifier refuses code that nothing can reach
    else:
        code += [_instruction(_MOV_IMM, 0, imm=0), _instruction(_EXIT)]
    return b"".join(code)


def _merged(rules: Sequence[oci.DeviceRule]) -> list[oci.DeviceRule]:
    """Neighbours for one device become one rule: `r` and then `w` allow opening for both, as in v1."""
    merged: list[oci.DeviceRule] = []
    for rule in rules:
        last = merged[-1] if merged else None
        key = (rule.allow, rule.kind, rule.major, rule.minor)
        if last is not None and key == (last.allow, last.kind, last.major, last.minor):
            access = "".join(sorted(set(last.access + rule.access)))
            merged[-1] = oci.DeviceRule(
                allow=rule.allow, kind=rule.kind, major=rule.major, minor=rule.minor, access=access
            )
        else:
            merged.append(rule)
    return merged


def _bits(rule: oci.DeviceRule) -> int:
    return sum(_ACCESS_BITS[letter] for letter in set(rule.access))


def _fits_all(rule: oci.DeviceRule) -> bool:
    return rule.kind == "a" and rule.major is None and rule.minor is None and _bits(rule) == _ALL_ACCESS


def _rule(rule: oci.DeviceRule) -> list[bytes]:
    """Tests that jump past the rule when it does not fit, then its answer."""
    tests: list[tuple[int, int, int, int]] = []  # (opcode, dst, src, imm); the jumps' offsets come last
    if rule.kind != "a":
        tests.append((_JNE_IMM, 2, 0, _TYPE_NUMBERS[rule.kind]))
    bits = _bits(rule)
    if bits != _ALL_ACCESS:
        tests += [(_MOV_REG, 1, 3, 0), (_AND_IMM, 1, 0, bits)]
        # An allow rule must cover all that is asked for; a deny rule fits when it touches any of it.
        tests.append((_JNE_REG, 1, 3, 0) if rule.allow else (_JEQ_IMM, 1, 0, 0))
    if rule.major is not None:
        tests.append((_JNE_IMM, 4, 0, rule.major))
    if rule.minor is not None:
        tests.append((_JNE_IMM, 5, 0, rule.minor))
    jumps = (_JNE_IMM, _JNE_REG, _JEQ_IMM)
    total = len(tests) + 2
    code = [
        _instruction(opcode, dst, src, total - number - 1 if opcode in jumps else 0, imm)
        for number, (opcode, dst, src, imm) in enumerate(tests)
    ]
    return [*code, _instruction(_MOV_IMM, 0, imm=int(rule.allow)), _instruction(_EXIT)]


def _instruction(opcode: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", opcode, src << 4 | dst, offset, imm)
