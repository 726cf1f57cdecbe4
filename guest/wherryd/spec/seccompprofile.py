"""Docker's form of a seccomp profile -> linux.seccomp of the runtime spec.

Docker's has conditions (`includes`, `excludes` by capability, architecture, kernel) and a map of
architectures; the spec's has neither. Source: docs.docker.com/engine/security/seccomp, moby profiles.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from wherryd.errors import InvalidParameter
from wherryd.spec import seccomp
from wherryd.spec.fields import Fields

#: A profile beyond this is refused: Docker's own has 17 kB.
MAX_PROFILE_BYTES: Final = 1024 * 1024

#: uname -m -> the spec's name, and Go's, which `arches` use.
_MACHINES: Final = {
    "x86_64": ("SCMP_ARCH_X86_64", "amd64"),
    "aarch64": ("SCMP_ARCH_AARCH64", "arm64"),
    "armv7l": ("SCMP_ARCH_ARM", "arm"),
    "i686": ("SCMP_ARCH_X86", "x86"),
    "ppc64le": ("SCMP_ARCH_PPC64LE", "ppc64le"),
    "riscv64": ("SCMP_ARCH_RISCV64", "riscv64"),
    "s390x": ("SCMP_ARCH_S390X", "s390x"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What conditions ask about. machine: uname -m. kernel: (6, 12). capabilities: the container's."""

    machine: str
    kernel: tuple[int, int]
    capabilities: Collection[str]


def read(text: str) -> Mapping[str, Any]:
    """A profile as a client sends it. Raises InvalidParameter."""
    if len(text) > MAX_PROFILE_BYTES:
        raise InvalidParameter(f"seccomp profile: is larger than {MAX_PROFILE_BYTES} bytes")
    try:
        profile = json.loads(text)
    except ValueError as error:
        raise InvalidParameter(
            f"seccomp profile: not JSON: {error} (hint: the API takes the profile itself, not a path)"
        ) from error
    if not isinstance(profile, Mapping):
        raise InvalidParameter("seccomp profile: wants one JSON object")
    return profile


def resolve(profile: Mapping[str, Any], subject: Subject) -> dict[str, Any]:
    """Raises InvalidParameter with everything that is wrong with the profile."""
    problems: list[str] = []
    fields = Fields(profile, "seccomp profile", problems)
    if "architectures" in fields and "archMap" in fields:
        fields.problem("architectures", "cannot be given together with archMap")
    document: dict[str, Any] = {
        "defaultAction": fields.text("defaultAction"),
        "syscalls": [_rule(each) for each in fields.children("syscalls") if _applies(each, subject)],
    }
    for name in ("defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"):
        if fields.raw(name) is not None:
            document[name] = fields.raw(name)
    architectures = list(fields.texts("architectures")) or _mapped(fields, subject)
    if architectures:
        document["architectures"] = architectures
    if not problems:
        seccomp.parse(Fields(document, "seccomp profile", problems))
    if problems:
        raise InvalidParameter("invalid seccomp profile:\n" + "\n".join(f"  {line}" for line in problems))
    return document


def _mapped(fields: Fields, subject: Subject) -> list[str]:
    native = _MACHINES.get(subject.machine, ("", ""))[0]
    for entry in fields.children("archMap"):
        if entry.text("architecture") == native:
            return [native, *entry.texts("subArchitectures")]
    return []


def _rule(fields: Fields) -> dict[str, Any]:
    """`name` is the old form of `names`."""
    names = list(fields.texts("names"))
    if "name" in fields:
        if names:
            fields.problem("name", "cannot be given together with names")
        names.append(fields.text("name"))
    rule: dict[str, Any] = {"names": names, "action": fields.text("action")}
    if fields.raw("errnoRet") is not None:
        rule["errnoRet"] = fields.raw("errnoRet")
    if "args" in fields:
        rule["args"] = fields.raw("args")
    return rule


def _applies(fields: Fields, subject: Subject) -> bool:
    includes, excludes = fields.child("includes"), fields.child("excludes")
    machine = _MACHINES.get(subject.machine, ("", ""))[1]
    arches, kernel = includes.texts("arches"), _version(includes)
    if arches and machine not in arches:
        return False
    if kernel is not None and subject.kernel < kernel:
        return False
    # All of them are wanted by includes, any one is enough for excludes.
    if not all(name in subject.capabilities for name in includes.texts("caps")):
        return False
    refused = _version(excludes)
    return not (
        machine in excludes.texts("arches")
        or (refused is not None and subject.kernel >= refused)
        or any(name in subject.capabilities for name in excludes.texts("caps"))
    )


def _version(fields: Fields) -> tuple[int, int] | None:
    text = fields.text("minKernel")
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,5})\.(\d{1,5})", text)
    if match is None:
        fields.problem("minKernel", f"must be like 4.8, is {text!r}")
        return None
    return int(match[1]), int(match[2])


def kernel_version(release: str) -> tuple[int, int]:
    """uname -r -> (6, 12); (0, 0) when it is none."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)
