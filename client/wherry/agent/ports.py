"""Which ports should be forwarded, from the engine's list of containers. Pure.

Source: Engine API, ``GET /containers/json``, field "Ports".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Addresses that mean "every address of the guest": dialled on its loopback.
_ANY = frozenset({"", "0.0.0.0", "::", "127.0.0.1", "::1", "localhost"})  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True, order=True)
class Forward:
    """127.0.0.1:port on the host -> guest_host:port in the guest, TCP. container_id: whose port it is."""

    port: int
    container_id: str
    guest_host: str = "127.0.0.1"


def wanted(containers: Iterable[Mapping[str, Any]]) -> dict[int, Forward]:
    """host port -> forward, for each TCP port that a running container publishes.

    Docker lists a port once per address family; one forward serves both. UDP is not forwarded.
    """
    forwards: dict[int, Forward] = {}
    for container in containers:
        for port in container.get("Ports") or ():
            public = port.get("PublicPort")
            if not public or port.get("Type") != "tcp":
                continue
            address = str(port.get("IP") or "")
            host = "127.0.0.1" if address in _ANY else address
            forwards.setdefault(int(public), Forward(int(public), str(container["Id"]), host))
    return forwards
