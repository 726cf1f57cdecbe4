"""seccomp(2), and libseccomp as the compiler of its filters.

libseccomp is loaded when the first filter is compiled, never by a process that only installs one. It is
called by ctypes: its Python binding is another module in each distribution, its C interface is the same.
"""

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from wherryd.errors import KernelFault, RuntimeFault
from wherryd.sys.libc import NR_SECCOMP, register, syscall

# linux/seccomp.h
SECCOMP_SET_MODE_FILTER: Final = 1
FILTER_FLAGS: Final = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}
FILTER_FLAG_NEW_LISTENER: Final = 1 << 3
FILTER_FLAG_TSYNC_ESRCH: Final = 1 << 4

#: struct sock_filter of linux/filter.h; a program has at most BPF_MAXINSNS of them.
INSTRUCTION_BYTES: Final = 8
MAX_INSTRUCTIONS: Final = 4096

# seccomp.h of libseccomp: actions (the low 16 bits of some are a number), comparisons, attributes.
ACTIONS: Final = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
OPERATORS: Final = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_CTL_OPTIMIZE, _BINARY_TREE = 8, 2
_ERROR = -1  # __NR_SCMP_ERROR


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One argument of the call. For SCMP_CMP_MASKED_EQ: value is the mask, second what must be left."""

    argument: int
    operator: int
    value: int
    second: int = 0


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise RuntimeFault(
            f"seccomp filters need libseccomp: {error}: install the package libseccomp2"
        ) from error
    context = ctypes.c_void_p
    library.seccomp_init.argtypes, library.seccomp_init.restype = (ctypes.c_uint32,), context
    library.seccomp_release.argtypes, library.seccomp_release.restype = (context,), None
    library.seccomp_arch_native.argtypes, library.seccomp_arch_native.restype = (), ctypes.c_uint32
    library.seccomp_arch_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_add.argtypes = library.seccomp_arch_remove.argtypes = (context, ctypes.c_uint32)
    library.seccomp_attr_set.argtypes = (context, ctypes.c_int, ctypes.c_uint32)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_rule_add_array.argtypes = (
        context,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    )
    library.seccomp_export_bpf.argtypes = (context, ctypes.c_int)
    return library


def _check(result: int, call: str, subject: str) -> None:
    """libseccomp returns the negative errno."""
    if result < 0:
        raise KernelFault(call, subject, -result)


class Filter:
    """A filter being put together. Released at the end of its with statement."""

    def __init__(self, default_action: int) -> None:
        self._library = _library()
        self._default = default_action
        self._context = self._library.seccomp_init(default_action)
        if not self._context:
            raise RuntimeFault(f"libseccomp does not take the default action {default_action:#x}")
        _check(
            self._library.seccomp_attr_set(self._context, _CTL_OPTIMIZE, _BINARY_TREE),
            "seccomp_attr_set",
            "optimize",
        )

    def __enter__(self) -> "Filter":
        return self

    def __exit__(self, *_: object) -> None:
        self._library.seccomp_release(self._context)

    def set_architectures(self, names: Sequence[str]) -> None:
        """libseccomp's names ("x86_64"). A call of any other architecture kills its thread."""
        native = int(self._library.seccomp_arch_native())
        tokens = {name: int(self._library.seccomp_arch_resolve_name(name.encode())) for name in names}
        for name, token in tokens.items():
            if token == 0:
                raise RuntimeFault(f"libseccomp does not know the architecture {name}: leave it out")
            if token != native:
                _check(self._library.seccomp_arch_add(self._context, token), "seccomp_arch_add", name)
        if tokens and native not in tokens.values():
            _check(self._library.seccomp_arch_remove(self._context, native), "seccomp_arch_remove", "native")

    def number(self, name: str) -> int:
        """On this machine; negative when it has none of that name."""
        return int(self._library.seccomp_syscall_resolve_name(name.encode()))

    def add(self, action: int, name: str, comparisons: Sequence[Comparison] = ()) -> None:
        """A rule. A call this libseccomp does not know cannot be made by its number either: passed over.

        So is a rule that says what the default says.
        """
        number = self.number(name)
        if number == _ERROR or action == self._default:
            return
        array = (_Comparison * len(comparisons))(
            *(_Comparison(each.argument, each.operator, each.value, each.second) for each in comparisons)
        )
        _check(
            self._library.seccomp_rule_add_array(self._context, action, number, len(comparisons), array),
            "seccomp_rule_add",
            name,
        )

    def program(self) -> bytes:
        """The compiled filter, for `install`."""
        fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        with os.fdopen(fd, "rb", buffering=0) as file:
            _check(self._library.seccomp_export_bpf(self._context, fd), "seccomp_export_bpf", "")
            file.seek(0)
            return file.read()


def prepare(program: bytes) -> Any:
    """What `install` takes: done before, so that nothing is left to do but the call."""
    code = ctypes.create_string_buffer(program, len(program))
    prepared = _Program(len(program) // INSTRUCTION_BYTES, ctypes.addressof(code))
    prepared.keep = code
    return prepared


def install(prepared: Any, flags: int) -> int:
    """seccomp(2), for good; the listener's descriptor with FILTER_FLAG_NEW_LISTENER, close-on-exec.

    Needs no_new_privs or CAP_SYS_ADMIN. Raises KernelFault: EACCES without, EINVAL.
    """
    operation = register(SECCOMP_SET_MODE_FILTER)
    return syscall(NR_SECCOMP, "seccomp", "filter", operation, register(flags), ctypes.byref(prepared))
