"""Which ports should be forwarded, from the engine's list of containers. Pure.

Source: Engine API, ``GET /containers/json``, field "Ports"; ``GET /containers/{id}/json``, field
"HostConfig.PortBindings", which alone tells whether the user named the address 0.0.0.0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

LOOPBACK, LOOPBACK6 = "127.0.0.1", "::1"
#: What "localhost" may mean: macOS and Windows try ::1 first.
LOOPBACKS = (LOOPBACK, LOOPBACK6)
_EVERY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
#: Addresses that mean "every address of the guest" or its loopback: dialled on its loopback.
_ANY4, _ANY6 = frozenset({"", "0.0.0.0", LOOPBACK, "localhost"}), frozenset({"::", LOOPBACK6})  # noqa: S104
_PROTOCOLS = frozenset({"tcp", "udp"})

#: (port, "tcp" or "udp") of the host.
Key: TypeAlias = tuple[int, str]
#: Container id -> (container's port as in "80/tcp", host port or "") -> the address that its user named.
Asked: TypeAlias = Mapping[str, Mapping[tuple[str, str], str]]


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Forward:
    """addresses:port on the host -> guest_host:port in the guest. container_id: whose port it is.

    addresses: the loopback's, or those that the user asked for by name: one of the loopback's, or every one
    (0.0.0.0, ::).
    """

    port: int
    protocol: str
    container_id: str
    guest_host: str = LOOPBACK
    addresses: tuple[str, ...] = LOOPBACKS

    @property
    def key(self) -> Key:
        return self.port, self.protocol


def wanted(containers: Iterable[Mapping[str, Any]], asked: Asked) -> dict[Key, Forward]:
    """host port and protocol -> forward, for each TCP and UDP port that a running container publishes.

    Docker lists a port once per address family; one forward serves both. Where two containers publish one
    number on two addresses of the guest, the first has the host's port.
    """
    listed: dict[Key, tuple[str, Any, list[str]]] = {}
    for container in containers:
        container_id = str(container["Id"])
        for port in container.get("Ports") or ():
            public, protocol = port.get("PublicPort"), str(port.get("Type"))
            if public and protocol in _PROTOCOLS:
                group = listed.setdefault(
                    (int(public), protocol), (container_id, port.get("PrivatePort"), [])
                )
                if group[0] == container_id:
                    group[2].append(str(port.get("IP") or ""))
    forwards = {}
    for (number, protocol), (container_id, private, addresses) in listed.items():
        named, inner = asked.get(container_id, {}), f"{private}/{protocol}"
        every = named.get((inner, str(number))) or named.get((inner, ""))
        forwards[number, protocol] = Forward(
            port=number,
            protocol=protocol,
            container_id=container_id,
            guest_host=_guest_host(addresses),
            addresses=(every,) if every else _loopbacks(addresses),
        )
    return forwards


def _guest_host(listed: Sequence[str]) -> str:
    """Where the guest's sshd reaches the port."""
    if not _ANY4.isdisjoint(listed):
        return LOOPBACK
    return LOOPBACK6 if not _ANY6.isdisjoint(listed) else listed[0]


def _loopbacks(listed: Sequence[str]) -> tuple[str, ...]:
    """Both, unless the user named one of them."""
    named = tuple(address for address in LOOPBACKS if address in listed)
    return named if len(named) == len(listed) else LOOPBACKS


def publishes_everywhere(container: Mapping[str, Any]) -> bool:
    """Whether a port's address may have been asked for: one without an address looks the same here."""
    return any(
        port.get("PublicPort") and str(port.get("IP") or "") in _EVERY
        for port in container.get("Ports") or ()
    )


def asked_of(container: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """One value of `Asked`, from ``GET /containers/{id}/json``. A host port that is a range or left to the
    engine counts for all of the container's port."""
    found: dict[tuple[str, str], str] = {}
    bindings = (container.get("HostConfig") or {}).get("PortBindings") or {}
    for inner, each_binding in bindings.items():
        for binding in each_binding or ():
            address, port = str(binding.get("HostIp") or ""), str(binding.get("HostPort") or "")
            if address in _EVERY:
                found[inner, port if port.isdecimal() and port != "0" else ""] = address
    return found
