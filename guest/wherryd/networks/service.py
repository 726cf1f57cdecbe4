"""Networks as the rest of the engine sees them: attach a container, detach it, list, inspect.

Life of a service: `open()`; then, once the caller knows which containers live, `adopt(ids)`; any
number of attach and detach; `close()`, which leaves the network of living containers working.
"""

import ipaddress
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from wherryd.errors import NotSupported
from wherryd.metadata.database import Database
from wherryd.networks.sandbox import PortBinding, Sandbox

Publish = Callable[[str, str, str, Mapping[str, str]], None]


class NetworkService:
    """The door of `networks`. One per bridge; several may live on one host."""

    def __init__(
        self,
        *,
        database: Database,
        exec_root: Path,
        bridge: str,
        subnet: ipaddress.IPv4Interface,
        dns: Sequence[str],
        publish: Publish | None = None,
        container_name: Callable[[str], str] | None = None,
    ) -> None:
        """Remembers only; `open` acts.

        subnet: the bridge's own address with the prefix, as dockerd's --bip ("172.17.0.1/16").
        dns: the daemon's --dns. publish: called with (type, action, actor id, attributes) for the events
        "network connect" and "network disconnect". container_name: id -> name without "/", for inspect.
        """
        self.dns = tuple(dns)

    async def open(self) -> None:
        """Makes the bridge, forwarding and rules; keeps every stored endpoint whose namespace lives."""
        raise NotSupported("networks are being written; try the next commit")

    async def adopt(self, living: Collection[str]) -> None:
        """Drops every endpoint whose container id is not in `living`. Call once after `open`."""
        raise NotSupported("networks are being written; try the next commit")

    async def close(self) -> None:
        """Ends background work; what living containers use stays. May be called twice."""

    async def attach(
        self,
        container_id: str,
        *,
        mode: str,
        hostname: str,
        ports: Mapping[str, Sequence[PortBinding]],
        mac: str | None = None,
    ) -> Sandbox:
        """A network namespace for the container, connected as `mode` says.

        mode: "default", "bridge", "none", "host", "container:<full id>". Raises Conflict when the
        container is attached already, SystemFault in Docker's wording when a host port is taken,
        NotFound for an unknown network, InvalidParameter for a bad port or MAC.
        """
        raise NotSupported("networks are being written; try the next commit")

    async def detach(self, container_id: str) -> None:
        """Takes the network away. Its host ports are free when this returns. Idempotent."""

    def sandbox(self, container_id: str) -> Sandbox | None:
        """What the container has now, or None."""
        return None

    def list(self) -> list[dict[str, Any]]:
        """Docker's Network objects, without Containers (GET /networks)."""
        return []

    def inspect(self, name_or_id: str) -> dict[str, Any]:
        """Docker's Network object with Containers (GET /networks/{id}). Raises NotFound."""
        raise NotSupported("networks are being written; try the next commit")
