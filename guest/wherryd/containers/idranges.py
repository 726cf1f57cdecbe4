"""Which ids of the host a container's are, when the engine runs with --userns-remap=auto.

Each container has a range of its own, kept in its record, so that root of one is nobody to another one too.
Source of what turns it off: docs.docker.com/engine/security/userns-remap.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from wherryd.containers.record import ContainerRecord
from wherryd.spec import capabilities
from wherryd.spec.oci import IdMapping

#: Ids a container has: 0 to 65535, nobody (65534) included.
SIZE: Final = 65536
#: Above the ids that users and services of a host have, and the ranges that /etc/subuid gives out.
FIRST: Final = 0x1000_0000
_LAST: Final = 0x7000_0000


def refusal(host: Mapping[str, Any]) -> str | None:
    """Why a container has the host's ids, or None when it can have its own."""
    if host["Privileged"]:
        return "it is privileged"
    if host["UsernsMode"] == "host":
        return "--userns=host was asked for"
    for kind in ("PidMode", "NetworkMode", "IpcMode"):
        mode = str(host[kind])
        if mode == "host" or mode.startswith("container:"):
            return f"{kind} is {mode}, whose namespace belongs to somebody else"
    added = {capabilities.name(each) for each in host["CapAdd"] or ()} & {"ALL", "CAP_NET_ADMIN"}
    if added:
        return f"{min(added)} was asked for, and the network namespace is the engine's"
    return None


def allocate(host: Mapping[str, Any], records: Iterable[ContainerRecord]) -> int:
    """The first id of a range nobody has; 0 when the container shall have the host's."""
    if refusal(host) is not None:
        return 0
    taken = {record.id_base for record in records}
    return next(base for base in range(FIRST, _LAST, SIZE) if base not in taken)


def mappings(id_base: int) -> tuple[IdMapping, ...]:
    return (IdMapping(container_id=0, host_id=id_base, size=SIZE),) if id_base else ()
