"""Becoming the container's process: user, groups, capabilities, limits, working directory, program.

The last steps of the child, the same for init and exec. Runs inside the root: nothing is imported,
looked up by NSS or decoded lazily any more.
"""

import errno
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wherryd.errors import InvalidParameter, KernelFault, RuntimeFault
from wherryd.runtime import lookup
from wherryd.spec import users
from wherryd.spec.oci import CapabilitySets, Process, Rlimit
from wherryd.sys import capabilities, paths, process

_RLIM_INFINITY: Final = 2**64 - 1
_RLIMITS: Final = {
    f"RLIMIT_{name}": getattr(resource, f"RLIMIT_{name}")
    for name in (
        "AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC", "RSS",
        "RTPRIO", "RTTIME", "SIGPENDING", "STACK",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What execve is called with."""

    path: str
    args: tuple[str, ...]
    env: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def resolve_user(root: int, wanted: Process) -> Identity:
    """Numbers as they are, or names from the root's own passwd and group; HOME from there in any case.

    Raises InvalidParameter in the reference daemon's words for an unknown name.
    """
    user = wanted.user
    passwd = paths.read_small_file(root, "/etc/passwd", limit_bytes=users.MAX_FILE_BYTES) or b""
    if user.username is None:
        home = users.resolve(str(user.uid), passwd, b"").home
        return Identity(uid=user.uid, gid=user.gid, groups=user.additional_gids, home=home)
    group = paths.read_small_file(root, "/etc/group", limit_bytes=users.MAX_FILE_BYTES) or b""
    found = users.resolve(user.username, passwd, group)
    groups = tuple(dict.fromkeys((*found.additional_gids, *user.additional_gids)))
    return Identity(uid=found.uid, gid=found.gid, groups=groups, home=found.home)


def environment(wanted: Process, home: str) -> dict[str, str]:
    """Later entries win; HOME is added when the config has none."""
    env = dict(entry.split("=", 1) for entry in wanted.env)
    if not env.get("HOME"):
        env["HOME"] = home
    return env


def set_oom_score(value: int | None) -> None:
    """On our own side of the root, through our own /proc. Raises RuntimeFault.

    None: the engine's own score, unless that protects it from the kernel: a container never inherits
    such a protection.
    """
    if value is None:
        if int(Path("/proc/self/oom_score_adj").read_text()) >= 0:
            return
        value = 0
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)
    except OSError as error:
        hint = " (lowering it needs CAP_SYS_RESOURCE)" if error.errno in (errno.EACCES, errno.EPERM) else ""
        raise RuntimeFault(f"cannot set process.oomScoreAdj to {value}: {error.strerror}{hint}") from error


def set_rlimits(limits: tuple[Rlimit, ...]) -> None:
    """Raises RuntimeFault for one that is refused, InvalidParameter for a name Linux does not have."""
    for limit in limits:
        number = _RLIMITS.get(limit.kind)
        if number is None and limit.kind != "RLIMIT_LOCKS":
            raise InvalidParameter(f"process.rlimits: unknown limit {limit.kind!r}, see getrlimit(2)")
        if number is None:
            continue  # RLIMIT_LOCKS: without effect since Linux 2.4.25
        try:
            resource.setrlimit(number, (_rlim(limit.soft), _rlim(limit.hard)))
        except (OSError, ValueError) as error:
            soft, hard = resource.getrlimit(number)
            raise RuntimeFault(
                f"error setting rlimit {limit.kind} to {limit.soft}:{limit.hard}: {error}; the engine itself "
                f"has {soft}:{hard} and may only lower it: ask for less, or give the engine CAP_SYS_RESOURCE"
            ) from error


def raise_rlimits(limits: tuple[Rlimit, ...]) -> None:
    """Those that go above the engine's own hard limit: a user namespace may not. Raises RuntimeFault."""
    higher = []
    for limit in limits:
        number = _RLIMITS.get(limit.kind)
        hard = resource.RLIM_INFINITY if number is None else resource.getrlimit(number)[1]
        if hard != resource.RLIM_INFINITY and not 0 <= _rlim(limit.hard) <= hard:
            higher.append(limit)
    set_rlimits(tuple(higher))


def _rlim(value: int) -> int:
    return resource.RLIM_INFINITY if value >= min(_RLIM_INFINITY, 2**63 - 1) else value


def make_cwd(root: int, cwd: str) -> None:
    """Makes the working directory where it is missing, as Docker does for WORKDIR, always inside the root."""
    try:
        os.close(paths.mkdir_in_root(root, cwd))
    except KernelFault as error:
        # A read-only root without it: the chdir will tell, in the words users know.
        if error.errno not in (errno.EROFS, errno.ENOTDIR):
            raise


def enter_cwd(root: int, cwd: str, *, identity: Identity) -> None:
    """chdir inside the root. Raises RuntimeFault in runc's words."""
    try:
        with paths.opened(root, cwd, paths.O_PATH | os.O_DIRECTORY) as fd:
            os.fchdir(fd)
    except (KernelFault, OSError) as error:
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise RuntimeFault(
            f'chdir to cwd ("{cwd}") set in config.json failed: {reason} (user {identity.uid})', 126
        ) from error


def check_cwd() -> None:
    """A directory that is not below the root cannot be named: getcwd says so (CVE-2024-21626)."""
    try:
        where = os.getcwd()  # noqa: PTH109
    except OSError as error:
        raise RuntimeFault(f"the working directory is not inside the root: {error.strerror}") from error
    if not where.startswith("/"):
        raise RuntimeFault("the working directory is not inside the root: check `cwd`")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalCapabilities:
    """What `become` has left to be set: the sets without what was kept for a step in between."""

    effective: int
    permitted: int
    inheritable: int

    def take(self) -> None:
        capabilities.capset(effective=self.effective, permitted=self.permitted, inheritable=self.inheritable)


def become(
    identity: Identity, sets: CapabilitySets, *, no_new_privileges: bool, umask: int | None, keep: int = 0
) -> FinalCapabilities:
    """Gives up what the process must not have. The order is forced by what each step needs.

    keep: bits that stay in force until the caller takes the final sets.
    """
    bounding, permitted = capabilities.mask(sets.bounding), capabilities.mask(sets.permitted)
    effective, inheritable = capabilities.mask(sets.effective), capabilities.mask(sets.inheritable)
    _check_held(bounding | permitted | effective | inheritable | keep)
    # 1. The bounding set, while CAP_SETPCAP is still there.
    capabilities.drop_bounding_set(bounding)
    # 2. Ids; permitted capabilities are kept across setuid for step 3.
    process.prctl(process.PR_SET_KEEPCAPS, 1)
    _set_groups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    process.prctl(process.PR_SET_KEEPCAPS, 0)
    # 3. The other sets. Ambient last: each of its members must be permitted and inheritable.
    capabilities.capset(effective=effective | keep, permitted=permitted | keep, inheritable=inheritable)
    capabilities.set_ambient(capabilities.mask(sets.ambient))
    if no_new_privileges:
        process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
    os.umask(0o022 if umask is None else umask)
    return FinalCapabilities(effective=effective, permitted=permitted, inheritable=inheritable)


def _set_groups(groups: tuple[int, ...]) -> None:
    """A user namespace that was joined may deny the call. Source: user_namespaces(7), /proc/pid/setgroups."""
    if list(groups) == os.getgroups():
        return
    try:
        os.setgroups(list(groups))
    except PermissionError as error:
        raise RuntimeFault(
            f"cannot set the additional groups {', '.join(map(str, groups))}: the user namespace denies it: "
            "leave process.user.additionalGids out"
        ) from error


def _check_held(wanted: int) -> None:
    _, permitted, _ = capabilities.capget()
    missing = wanted & ~permitted
    if missing:
        raise RuntimeFault(
            f"cannot give {', '.join(capabilities.names(missing))}: the engine does not have it itself; "
            "drop it from the request, or run the engine with it"
        )


def find_program(wanted: Process, env: dict[str, str]) -> Program:
    """Raises RuntimeFault with exit code 126 or 127."""
    flat = [f"{name}={value}" for name, value in env.items()]
    return Program(path=lookup.find_executable(wanted.args[0], flat), args=wanted.args, env=env)


def execute(program: Program) -> None:
    """execve(2); returns only by raising RuntimeFault with exit code 126 or 127."""
    try:
        os.execve(program.path, program.args, program.env)  # noqa: S606
    except OSError as error:
        raise lookup.exec_fault(program.path, error.errno, looked_up=True) from error
