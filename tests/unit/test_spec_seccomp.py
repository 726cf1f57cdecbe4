"""Seccomp profiles: Docker's form and its conditions, the default one, and what is refused."""

from collections.abc import Collection
from typing import Any

import pytest

from wherryd.errors import InvalidParameter
from wherryd.spec import defaults, seccompdefault, seccompprofile
from wherryd.spec.seccompprofile import Subject


def subject(
    machine: str = "x86_64",
    kernel: tuple[int, int] = (6, 12),
    capabilities: Collection[str] = defaults.CAPABILITIES,
) -> Subject:
    return Subject(machine=machine, kernel=kernel, capabilities=capabilities)


def resolve(profile: dict[str, Any], **asked: Any) -> dict[str, Any]:
    return seccompprofile.resolve(profile, subject(**asked))


def allowed(document: dict[str, Any]) -> set[str]:
    """Names that may be called whatever their arguments are."""
    return {
        name
        for rule in document["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule
        for name in rule["names"]
    }


def default(**asked: Any) -> dict[str, Any]:
    return seccompprofile.resolve(seccompdefault.PROFILE, subject(**asked))


def test_the_default_refuses_with_eperm_and_knows_the_compatible_architectures() -> None:
    document = default()
    assert (document["defaultAction"], document["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    assert document["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert default(machine="aarch64")["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]


def test_the_default_keeps_back_what_no_capability_gives() -> None:
    dangerous = {
        "add_key", "io_uring_setup", "io_uring_enter", "io_uring_register", "kexec_load", "keyctl",
        "pivot_root", "request_key", "swapon", "swapoff", "userfaultfd", "uselib", "ustat", "sysfs",
        "vm86", "nfsservctl",
        "socket", "socketcall", "personality",
    }  # fmt: skip
    everything = default(capabilities=("CAP_SYS_ADMIN", *defaults.CAPABILITIES))
    assert not dangerous & allowed(everything)


@pytest.mark.parametrize(
    ("capability", "names"),
    [
        ("CAP_SYS_ADMIN", {"mount", "umount2", "unshare", "setns", "clone", "clone3", "bpf", "fsopen"}),
        ("CAP_SYS_MODULE", {"init_module", "finit_module", "delete_module"}),
        ("CAP_SYS_BOOT", {"reboot"}),
        ("CAP_SYS_TIME", {"clock_settime", "settimeofday"}),
        ("CAP_SYS_PTRACE", {"kcmp", "process_madvise", "pidfd_getfd"}),
        ("CAP_DAC_READ_SEARCH", {"open_by_handle_at"}),
        ("CAP_SYSLOG", {"syslog"}),
        ("CAP_SYS_NICE", {"mbind", "set_mempolicy"}),
        ("CAP_BPF", {"bpf"}),
        ("CAP_PERFMON", {"perf_event_open"}),
    ],
)
def test_a_capability_opens_its_calls_and_no_others(capability: str, names: set[str]) -> None:
    plain = allowed(default())
    with_it = allowed(default(capabilities=(capability, *defaults.CAPABILITIES)))
    assert not names & plain
    assert names <= with_it


def test_chroot_goes_with_its_capability() -> None:
    assert "chroot" in allowed(default())
    assert "chroot" not in allowed(default(capabilities=()))


def _families(document: dict[str, Any]) -> set[int]:
    found: set[int] = set()
    for rule in document["syscalls"]:
        if rule["names"] == ["socket"]:
            (argument,) = rule["args"]
            below = argument["op"] == "SCMP_CMP_LT"
            found |= set(range(argument["value"])) if below else {argument["value"]}
    return found


def test_sockets_of_alg_and_vsock_are_refused_to_everybody() -> None:
    families = _families(default(capabilities=("CAP_SYS_ADMIN",)))
    assert not {seccompdefault.AF_ALG, seccompdefault.AF_VSOCK} & families
    # unix, inet, inet6, netlink, packet, can, bluetooth
    assert {1, 2, 10, 16, 17, 29, 31} <= families


def test_clone_and_clone3_make_no_namespaces() -> None:
    rules = {name: rule for rule in default()["syscalls"] for name in rule["names"]}
    # CLONE_NEWTIME, 0x80, is a signal's bit for clone(2): only clone3 and unshare can ask for it.
    assert rules["clone"]["args"][0]["value"] == 0x7E020000
    assert rules["clone"]["args"][0]["op"] == "SCMP_CMP_MASKED_EQ"
    assert (rules["clone3"]["action"], rules["clone3"]["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)


def _profile(**conditions: Any) -> dict[str, Any]:
    rule = {"names": ["mkdir"], "action": "SCMP_ACT_ALLOW", **conditions}
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}


@pytest.mark.parametrize(
    ("conditions", "applies"),
    [
        ({}, True),
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}}, False),
        ({"includes": {"arches": ["amd64"]}}, True),
        ({"includes": {"arches": ["arm64"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "6.12"}}, True),
        ({"includes": {"minKernel": "6.13"}}, False),
        ({"excludes": {"minKernel": "6.12"}}, False),
        ({"includes": None, "excludes": {}}, True),
    ],
)
def test_conditions_decide_whether_a_rule_is_there(conditions: dict[str, Any], applies: bool) -> None:
    assert bool(resolve(_profile(**conditions))["syscalls"]) is applies


def test_the_old_form_with_one_name_and_plain_architectures_is_taken() -> None:
    document = resolve(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"name": "mkdir", "action": "SCMP_ACT_ALLOW", "args": None}],
        }
    )
    assert document["architectures"] == ["SCMP_ARCH_X86_64"]
    assert document["syscalls"] == [{"names": ["mkdir"], "action": "SCMP_ACT_ALLOW"}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"defaultAction": "ALLOW"}, "defaultAction"),
        ({"architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]}, "archMap"),
        ({"syscalls": [{"name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW"}]}, "together with names"),
        ({"syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "x"}}]}, "4.8"),
        ({"syscalls": [{"names": ["a"], "action": "SCMP_ACT_ERRNO", "errnoRet": 70000}]}, "errnoRet"),
        ({"syscalls": "all"}, "list"),
    ],
)
def test_a_broken_profile_is_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        resolve(_profile() | change)


@pytest.mark.parametrize("text", ["", "/a/path.json", "[]", "null", "{" + " " * 2_000_000 + "}"])
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="seccomp profile"):
        seccompprofile.read(text)


def test_kernel_releases_are_read() -> None:
    assert seccompprofile.kernel_version("6.12.48+deb13-cloud-amd64") == (6, 12)
    assert seccompprofile.kernel_version("strange") == (0, 0)
