"""linux.seccomp of config.json as frozen data. Source: runtime-spec config-linux.md, "Seccomp".

Most containers have the same filter of some 400 names: one that was parsed is known again by its digest.
"""

import marshal
from dataclasses import dataclass
from typing import Final

from wherryd.spec.fields import Fields

# hashlib brings OpenSSL along, which is 2 MB of a zygote that has no other use for it.
try:
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

ACTIONS: Final = (
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
)
NOTIFY: Final = "SCMP_ACT_NOTIFY"

OPERATORS: Final = (
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
)

#: "SCMP_ARCH_" and libseccomp's own name in capitals.
ARCHITECTURES: Final = tuple(
    f"SCMP_ARCH_{name}"
    for name in (
        "X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64",
        "MIPSEL64N32", "PPC", "PPC64", "PPC64LE", "S390", "S390X", "PARISC", "PARISC64", "RISCV64",
        "LOONGARCH64", "M68K", "SH", "SHEB",
    )
)  # fmt: skip

FLAGS: Final = (
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
)

#: How the agent gets its descriptor once the filter is on: notifying it of that would wait for ever.
_HAND_OVER: Final = "sendmsg"

#: seccomp(2): the data of an action has 16 bits; the kernel takes no errno above this one.
MAX_ERRNO: Final = 4095
_U64: Final = 2**64 - 1

_MAX_PARSED: Final = 64
_parsed: dict[str, "Seccomp"] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    index: int  # 0 to 5
    value: int
    value_two: int = 0
    operator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """All arguments must hold; several of one index are alternatives. errno: None = EPERM."""

    names: tuple[str, ...]
    action: str
    errno: int | None = None
    arguments: tuple[Argument, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seccomp:
    """architectures: empty = the machine's own. listener_*: for SCMP_ACT_NOTIFY.

    digest: SHA-256 of the document it was parsed from, in hexadecimal; the order of its fields counts."""

    digest: str
    default_action: str
    default_errno: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    listener_path: str = ""
    listener_metadata: str = ""
    rules: tuple[Rule, ...] = ()

    @property
    def notifies(self) -> bool:
        return NOTIFY in (self.default_action, *(rule.action for rule in self.rules))


def parse(fields: Fields) -> Seccomp:
    """Problems are gathered in `fields`."""
    # Of the forms that can be hashed the quickest one to make; its version 2 says the same of equal values.
    digest = blake2b(marshal.dumps(dict(fields.document), 2), digest_size=32).hexdigest()
    known = _parsed.get(digest)
    if known is not None:
        return known
    before = len(fields.problems)
    seccomp = Seccomp(
        digest=digest,
        default_action=_action(fields, "defaultAction"),
        default_errno=fields.number("defaultErrnoRet", low=0, high=MAX_ERRNO),
        architectures=_words(fields, "architectures", ARCHITECTURES),
        flags=_words(fields, "flags", FLAGS),
        listener_path=fields.text("listenerPath"),
        listener_metadata=fields.text("listenerMetadata"),
        rules=tuple(_rule(entry) for entry in fields.children("syscalls")),
    )
    _check_listener(fields, seccomp)
    if len(fields.problems) == before and len(_parsed) < _MAX_PARSED:
        _parsed[digest] = seccomp
    return seccomp


def _check_listener(fields: Fields, seccomp: Seccomp) -> None:
    if seccomp.default_action == NOTIFY:
        fields.problem("defaultAction", f"{NOTIFY} cannot be the default: the runtime's own calls would wait")
    for number, rule in enumerate(seccomp.rules):
        if rule.action == NOTIFY and _HAND_OVER in rule.names:
            fields.problem(
                f"syscalls[{number}].names",
                f"{NOTIFY} is not possible for {_HAND_OVER}: the runtime hands the listener over with it",
            )
    if seccomp.notifies and not seccomp.listener_path:
        fields.problem("listenerPath", f"is needed with {NOTIFY}")
    if seccomp.listener_path and not seccomp.notifies:
        fields.problem("listenerPath", f"is only used with {NOTIFY}")


def _rule(fields: Fields) -> Rule:
    names = fields.texts("names")
    if not names:
        fields.problem("names", "must name at least one system call")
    return Rule(
        names=names,
        action=_action(fields, "action"),
        errno=fields.number("errnoRet", low=0, high=MAX_ERRNO),
        arguments=tuple(_argument(entry) for entry in fields.children("args")),
    )


def _argument(fields: Fields) -> Argument:
    operator = fields.text("op")
    if operator not in OPERATORS:
        fields.problem("op", f"must be one of {', '.join(OPERATORS)}, is {operator!r}")
    return Argument(
        index=fields.number("index", low=0, high=5, required=True) or 0,
        value=fields.number("value", low=0, high=_U64, required=True) or 0,
        value_two=fields.number("valueTwo", low=0, high=_U64) or 0,
        operator=operator,
    )


def _action(fields: Fields, name: str) -> str:
    action = fields.text(name)
    if action not in ACTIONS:
        fields.problem(name, f"must be one of {', '.join(ACTIONS)}, is {action!r}")
    return action


def _words(fields: Fields, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    words = fields.texts(name)
    for word in words:
        if word not in known:
            fields.problem(name, f"{word!r} is not one of {', '.join(known)}")
    return words
