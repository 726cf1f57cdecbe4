"""Seccomp filters: compiled once for each distinct filter, installed by the child right before exec.

    <exec root>/seccomp/<compiler>-<sha256>     0700 folder; a compiled filter, by the document it is of

libseccomp takes tens of milliseconds for Docker's default; reading the result takes a tenth of one. The
kernel checks every program it is given, so a broken file fails the start and does nothing worse.
"""

import contextlib
import errno
import json
import os
import socket
import stat
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wherryd.errors import KernelFault, RuntimeFault
from wherryd.runtime.identity import FinalCapabilities
from wherryd.spec import defaults, seccomp, seccompdefault, seccompprofile
from wherryd.spec.fields import Fields
from wherryd.spec.seccomp import Argument, Rule, Seccomp
from wherryd.sys import capabilities
from wherryd.sys import seccomp as sys_seccomp

#: Part of every name in the cache; changed with the way filters are compiled.
_COMPILER: Final = "1"
#: Digest -> compiled filter, of those that were loaded before the fork.
_loaded: dict[str, bytes] = {}
_MAX_BYTES: Final = sys_seccomp.INSTRUCTION_BYTES * sys_seccomp.MAX_INSTRUCTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an agent that is notified is told about the container."""

    container_id: str
    bundle: str
    version: str
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A filter ready to be installed. code: struct sock_filter, one after the other."""

    code: bytes
    flags: int
    listener_path: str
    listener_metadata: str
    subject: Subject


def load(wanted: Seccomp, subject: Subject, *, cache: Path) -> Program:
    """From the cache, or compiled and put there. Raises RuntimeFault, KernelFault."""
    code = _loaded.get(wanted.digest) or _code(wanted, cache)
    flags = 0
    for flag in wanted.flags:
        flags |= sys_seccomp.FILTER_FLAGS[flag]
    if wanted.notifies:
        flags |= sys_seccomp.FILTER_FLAG_NEW_LISTENER
        if flags & sys_seccomp.FILTER_FLAGS["SECCOMP_FILTER_FLAG_TSYNC"]:
            # Otherwise the one return value could not be told to be a descriptor. Linux 5.7.
            flags |= sys_seccomp.FILTER_FLAG_TSYNC_ESRCH
    return Program(
        code=code,
        flags=flags,
        listener_path=wanted.listener_path,
        listener_metadata=wanted.listener_metadata,
        subject=subject,
    )


def warm(available: Sequence[str]) -> None:
    """In the zygote: the filter that nearly every container will have is there before the first one asks.

    available: capabilities the engine can give. Raises RuntimeFault, KernelFault.
    """
    machine = os.uname()
    names = [name for name in capabilities.NAMES if name in defaults.CAPABILITIES and name in available]
    subject = seccompprofile.Subject(
        machine=machine.machine,
        kernel=seccompprofile.kernel_version(machine.release),
        capabilities=names,
    )
    document = seccompprofile.resolve(seccompdefault.PROFILE, subject)
    wanted = seccomp.parse(Fields(document, "seccomp", []))
    _loaded[wanted.digest] = compile_filter(wanted)


def _code(wanted: Seccomp, cache: Path) -> bytes:
    path = cache / f"{_COMPILER}-{wanted.digest}"
    code = _read(path)
    if code is None:
        code = compile_filter(wanted)
        _write(path, code)
    return code


def _read(path: Path) -> bytes | None:
    """None when it is not there, or not beyond doubt our own."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb", buffering=0) as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return None
        code = file.read(_MAX_BYTES)
    return code if code and len(code) % sys_seccomp.INSTRUCTION_BYTES == 0 else None


def _write(path: Path, code: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(code)
    temporary.replace(path)


def compile_filter(wanted: Seccomp) -> bytes:
    """Raises RuntimeFault or KernelFault with what libseccomp does not take."""
    with sys_seccomp.Filter(_action(wanted.default_action, wanted.default_errno)) as building:
        building.set_architectures([name.removeprefix("SCMP_ARCH_").lower() for name in wanted.architectures])
        for rule in wanted.rules:
            _add(building, rule)
        code = _unknown_is_enosys(wanted, building) + building.program()
    if len(code) > _MAX_BYTES:
        raise RuntimeFault(
            f"the seccomp filter has {len(code) // sys_seccomp.INSTRUCTION_BYTES} instructions, the kernel "
            f"takes {sys_seccomp.MAX_INSTRUCTIONS}: use fewer rules with arguments"
        )
    return code


#: Machines whose new system calls have one row of numbers, the same for their compatible architectures.
_ONE_ROW: Final = ("x86_64", "aarch64")
_X32_BIT: Final = 0x40000000
# linux/filter.h: BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JGT|BPF_K, BPF_JMP|BPF_JSET|BPF_K, BPF_RET|BPF_K
_LOAD, _IF_ABOVE, _IF_BIT, _RETURN = 0x20, 0x25, 0x45, 0x06


def _unknown_is_enosys(wanted: Seccomp, building: sys_seccomp.Filter) -> bytes:
    """Instructions to go first: a call newer than any the filter knows does not exist, as in runc.

    Its author cannot have meant to refuse it, and programs fall back on ENOSYS only, not on EPERM.
    """
    last = max((building.number(name) for rule in wanted.rules for name in rule.names), default=-1)
    if wanted.default_action != "SCMP_ACT_ERRNO" or last < 0 or os.uname().machine not in _ONE_ROW:
        return b""
    enosys = _action("SCMP_ACT_ERRNO", errno.ENOSYS)
    rows = (
        (_LOAD, 0, 0, 0),  # the number, first member of struct seccomp_data
        (_IF_BIT, 2, 0, _X32_BIT),
        (_IF_ABOVE, 0, 1, last),
        (_RETURN, 0, 0, enosys),
    )
    return b"".join(struct.pack("=HBBI", *row) for row in rows)


def _add(building: sys_seccomp.Filter, rule: Rule) -> None:
    action = _action(rule.action, rule.errno)
    alternatives = len({each.index for each in rule.arguments}) != len(rule.arguments)
    for name in rule.names:
        if alternatives:
            # libseccomp takes one comparison an argument: several of one are rules of their own, so that
            # any of them is enough, as runc has it.
            for each in rule.arguments:
                building.add(action, name, [_comparison(each)])
        else:
            building.add(action, name, [_comparison(each) for each in rule.arguments])


def _comparison(argument: Argument) -> sys_seccomp.Comparison:
    return sys_seccomp.Comparison(
        argument.index, sys_seccomp.OPERATORS[argument.operator], argument.value, argument.value_two
    )


def _action(name: str, number: int | None) -> int:
    """ERRNO and TRACE carry a number, EPERM when none is given. Source: config-linux.md, `errnoRet`."""
    value = sys_seccomp.ACTIONS[name]
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return value | (errno.EPERM if number is None else number)
    return value


class Guard:
    """The child's part: the filter with all it needs, gathered before the container's root is entered."""

    def __init__(self, program: Program | None, *, status: str) -> None:
        """On the engine's side of the root: the agent's socket is reached by its path there."""
        self._program = program
        self._status = status
        self._prepared = sys_seccomp.prepare(program.code) if program else None
        self._agent: socket.socket | None = None
        self._own_proc = -1
        self._pid = 0
        self._keeps = False
        if program is not None and program.listener_path:
            self._agent = _connect(program.listener_path)
            self._own_proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def note_pid(self) -> None:
        """Our number as the engine sees it: its /proc tells also from inside the PID namespace."""
        if self._own_proc >= 0:
            self._pid = int(os.readlink("self", dir_fd=self._own_proc))  # noqa: PTH115
            os.close(self._own_proc)
            self._own_proc = -1

    def needed_capabilities(self, *, no_new_privileges: bool) -> int:
        """Bits to keep until `install`: seccomp(2) wants one of the two."""
        self._keeps = self._program is not None and not no_new_privileges
        return capabilities.mask(("CAP_SYS_ADMIN",)) if self._keeps else 0

    def install(self, final: FinalCapabilities) -> None:
        """The filter, and what was kept for it given up. From here on every call is the filter's to judge."""
        if self._program is None:
            return
        document = _process_state(self._program, self._pid, self._status)
        try:
            listener = sys_seccomp.install(self._prepared, self._program.flags)
        except KernelFault as error:
            raise RuntimeFault(
                f"cannot install the seccomp filter: {error}: check linux.seccomp, or run unconfined"
            ) from error
        if self._agent is not None:
            # Both descriptors are close-on-exec: nothing else has to be called.
            socket.send_fds(self._agent, [document], [listener])
        if self._keeps:
            final.take()


def _process_state(program: Program, pid: int, status: str) -> bytes:
    """The container process state, sent with the listener. Source: config-linux.md, same name."""
    subject = program.subject
    document: dict[str, Any] = {
        "ociVersion": subject.version,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": program.listener_metadata,
        "state": {
            "ociVersion": subject.version,
            "id": subject.container_id,
            "status": status,
            "pid": pid,
            "bundle": subject.bundle,
            "annotations": dict(subject.annotations),
        },
    }
    return json.dumps(document).encode()


def _connect(path: str) -> socket.socket:
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        agent.connect(path)
    except OSError as error:
        with contextlib.closing(agent):
            raise RuntimeFault(
                f"linux.seccomp.listenerPath {path}: {error.strerror}: start the agent that listens there"
            ) from error
    return agent
