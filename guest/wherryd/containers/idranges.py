"""Which ids of the host a container's are, when containers have user namespaces (--userns-remap=auto).

Each has a range of its own, so that root of one is nobody to another one too. It is chosen at the start and
kept in the record: until the container is removed no other gets it. Nothing on disk depends on it.
Source of what turns it off: docs.docker.com/engine/security/userns-remap.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from wherryd.containers.deps import OWN_RUNTIME, STAND_IN_FOR, Deps
from wherryd.containers.record import ContainerRecord, MountPoint
from wherryd.errors import NotFound, Unavailable
from wherryd.spec import capabilities
from wherryd.spec.idrange import SIZE

log = logging.getLogger(__name__)

#: Above the ids that users and services of a host have, and the ranges that /etc/subuid gives out.
FIRST: Final = 0x1000_0000
LAST: Final = 0x7000_0000

#: What the kernel grants to the host's root only: in a user namespace they are names without force.
#: Source: Linux, the callers of capable(), as opposed to ns_capable().
OUTSIDE_ONLY: Final = frozenset(
    f"CAP_{name}"
    for name in (
        "AUDIT_CONTROL", "AUDIT_READ", "BLOCK_SUSPEND", "BPF", "IPC_LOCK", "LINUX_IMMUTABLE", "MAC_ADMIN",
        "MAC_OVERRIDE", "PERFMON", "SYSLOG", "SYS_BOOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_RAWIO",
        "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
    )
)  # fmt: skip

_SHARED = ("NetworkMode", "PidMode", "IpcMode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """Of one start. base: the first id, 0 for the host's own. owner: id of the container whose user namespace
    is joined, or "". words: source of a bind or volume -> "ridmap" or "idmap" (see `idmap.Trial`)."""

    base: int = 0
    owner: str = ""
    words: Mapping[str, str] = field(default_factory=dict)


HOSTS: Final = Ids()


def refusal(host: Mapping[str, Any], runtimes: Collection[str] = (OWN_RUNTIME,)) -> str | None:
    """Why a container has the host's ids, or None when it can have its own.

    runtimes: the configured ones. One of STAND_IN_FOR that is not among them is our own.
    """
    if host["Privileged"]:
        return "it is privileged"
    stands_in = host["Runtime"] in STAND_IN_FOR and host["Runtime"] not in runtimes
    if host["Runtime"] not in ("", OWN_RUNTIME) and not stands_in:
        return f"it is run by {host['Runtime']}, for which ids of its own are not set up"
    if host["UsernsMode"] == "host":
        return "--userns=host was asked for"
    for kind in _SHARED:
        if host[kind] == "host":
            return f"{kind} is host, a namespace that belongs to the host"
    return None


def outside_only(host: Mapping[str, Any]) -> str | None:
    """The first capability asked for that has no force in a user namespace."""
    added = {capabilities.name(each) for each in host["CapAdd"] or ()}
    return min(added & {*OUTSIDE_ONLY, "ALL"}, default=None)


def warnings(deps: Deps, host: Mapping[str, Any], mounts: Sequence[MountPoint]) -> list[str]:
    """What else makes that a container has the host's ids: told at create, as it was not asked for."""
    if deps.id_trial is None or refusal(host, deps.runtimes) is not None:
        return []
    end = "; the container runs with the host's ids, as with --userns=host"
    capability = outside_only(host)
    if capability is not None:
        return [f"{capability.removeprefix('CAP_')} has no force in a user namespace{end}"]
    _, unmapped = _words(deps, mounts)
    return [f"{source} is on a file system without id-mapped mounts{end}" for source in unmapped[:1]]


def decide(deps: Deps, record: ContainerRecord) -> Ids:
    """For a start, where the sources of mounts are there. Raises Unavailable when no range is left."""
    host = record.host_config
    if deps.id_trial is None or refusal(host, deps.runtimes) is not None or outside_only(host) is not None:
        return HOSTS
    words, unmapped = _words(deps, record.mounts)
    if unmapped:
        log.warning("container %s: %s cannot be id-mapped: it has the host's ids", record.id, unmapped[0])
        return HOSTS
    peers = _peers(deps, host)
    bases = {peer.id_base for peer in peers}
    if not bases:
        taken = [each.record for each in deps.store if each.id != record.id]
        return Ids(base=record.id_base or allocate(taken), words=words)
    if len(bases) > 1 or 0 in bases:
        # Processes of two user namespaces, or of the host's: only the host's root belongs to both.
        return HOSTS
    return Ids(base=bases.pop(), owner=peers[0].id, words=words)


def allocate(others: Iterable[ContainerRecord]) -> int:
    """The first id of a range nobody has. Raises Unavailable."""
    taken = {record.id_base for record in others}
    base = next((base for base in range(FIRST, LAST, SIZE) if base not in taken), None)
    if base is None:
        raise Unavailable(
            f"all {len(taken)} ranges of ids are taken by containers: remove some, or run this one with "
            "--userns=host"
        )
    return base


def _peers(deps: Deps, host: Mapping[str, Any]) -> list[ContainerRecord]:
    """The containers whose namespaces it joins. One that is gone is told by who joins it."""
    found = []
    for kind in _SHARED:
        mode, _, reference = str(host[kind]).partition(":")
        if mode == "container":
            try:
                found.append(deps.store.get(reference).record)
            except NotFound:
                continue
    return found


def _words(deps: Deps, mounts: Sequence[MountPoint]) -> tuple[dict[str, str], list[str]]:
    """How each source is mapped, and those that cannot be."""
    assert deps.id_trial is not None, "callers check"  # noqa: S101
    found = {point.source: deps.id_trial.word(point.source) for point in mounts if point.source}
    return found, [source for source, word in found.items() if not word]
