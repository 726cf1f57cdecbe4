"""Which ports should be forwarded, from the engine's list of containers. Pure.

Source: Engine API, ``GET /containers/json``, field "Ports"; ``GET /containers/{id}/json``, field
"HostConfig.PortBindings", which alone tells whether the user named the address 0.0.0.0.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

LOOPBACK = "127.0.0.1"
_EVERY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
#: Addresses that mean "every address of the guest": dialled on its loopback.
_ANY = _EVERY | {"", "127.0.0.1", "::1", "localhost"}
_PROTOCOLS = frozenset({"tcp", "udp"})

#: (port, "tcp" or "udp") of the host.
Key: TypeAlias = tuple[int, str]
#: Container id -> (container's port as in "80/tcp", host port or "") -> the address that its user named.
Asked: TypeAlias = Mapping[str, Mapping[tuple[str, str], str]]


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Forward:
    """address:port on the host -> guest_host:port in the guest. container_id: whose port it is.

    address: 127.0.0.1, or every one (0.0.0.0, ::) where the user asked for that by name.
    """

    port: int
    protocol: str
    container_id: str
    guest_host: str = LOOPBACK
    address: str = LOOPBACK

    @property
    def key(self) -> Key:
        return self.port, self.protocol


def wanted(containers: Iterable[Mapping[str, Any]], asked: Asked) -> dict[Key, Forward]:
    """host port and protocol -> forward, for each TCP and UDP port that a running container publishes.

    Docker lists a port once per address family; one forward serves both.
    """
    forwards: dict[Key, Forward] = {}
    for container in containers:
        container_id = str(container["Id"])
        for port in container.get("Ports") or ():
            public, protocol = port.get("PublicPort"), str(port.get("Type"))
            if not public or protocol not in _PROTOCOLS:
                continue
            address = str(port.get("IP") or "")
            inner = f"{port.get('PrivatePort')}/{protocol}"
            named = asked.get(container_id, {})
            forward = Forward(
                port=int(public),
                protocol=protocol,
                container_id=container_id,
                guest_host=LOOPBACK if address in _ANY else address,
                address=named.get((inner, str(public))) or named.get((inner, "")) or LOOPBACK,
            )
            forwards.setdefault(forward.key, forward)
    return forwards


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
