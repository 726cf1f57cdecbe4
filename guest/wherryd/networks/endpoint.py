"""Sandboxes and endpoints as they are kept, in tables `sandboxes` and `endpoints`.

A sandbox is a container's namespace with what it publishes; an endpoint is its place on one network. Both
are written before the kernel is touched and deleted before the kernel is cleaned, which happens in the
background: after a kill at any moment, what has a record is put right and what has none is removed.
"""

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from wherryd.errors import Conflict
from wherryd.metadata.database import Database
from wherryd.networks.deviceoptions import IFNAME
from wherryd.networks.ipam import Interface
from wherryd.networks.sandbox import EndpointWish, PortBinding


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRecord:
    """mode: as in `Sandbox`. sandbox_id: of the namespace, which for "container:<id>" is the other
    container's. host_namespace: it is the engine's own, not one of ours. wanted: the ports to publish
    as the request has them. ports: the same as resolved, empty while no network can publish them. dns: the
    user's servers (docker run --dns), for the resolver. serves_port_53: it wants that port for itself.
    id_base: of the user namespace that owns the namespace (spec/idrange.py); 0 when the engine's does.
    """

    container_id: str
    sandbox_id: str
    mode: str
    hostname: str
    host_namespace: bool = False
    wanted: tuple[PortBinding, ...] = ()
    ports: tuple[PortBinding, ...] = ()
    dns: tuple[str, ...] = ()
    serves_port_53: bool = False
    id_base: int = 0

    @property
    def owns_namespace(self) -> bool:
        return not self.host_namespace and not self.mode.startswith("container:")


#: RFC 3927; RFC 4291, section 2.5.6.
_LINK_LOCAL_BITS = {4: 16, 6: 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """network: its name, which never changes. device: the container's, "" without one, and then there are no
    addresses either. veth: the host's end, "" where there is none (macvlan, ipvlan). address6: "" on a
    network without IPv6. link_local: further addresses, of 169.254.0.0/16 or fe80::/64. sysctls: as in
    EndpointWish. sandbox_id: as in SandboxRecord."""

    container_id: str
    sandbox_id: str
    network: str
    endpoint_id: str = ""
    address: str = ""
    address6: str = ""
    mac: str = ""
    veth: str = ""
    device: str = "eth0"
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    gw_priority: int = 0
    link_local: tuple[str, ...] = ()
    sysctls: tuple[str, ...] = ()

    @property
    def has_device(self) -> bool:
        return bool(self.address)

    def interfaces(
        self, subnet: ipaddress.IPv4Interface, subnet6: ipaddress.IPv6Interface | None
    ) -> list[Interface]:
        """Its addresses with the prefixes of these subnets."""
        found: list[Interface] = []
        if self.address:
            found.append(ipaddress.IPv4Interface(f"{self.address}/{subnet.network.prefixlen}"))
        if self.address6 and subnet6 is not None:
            found.append(ipaddress.IPv6Interface(f"{self.address6}/{subnet6.network.prefixlen}"))
        found.extend(
            ipaddress.ip_interface(f"{each}/{_LINK_LOCAL_BITS[each.version]}")
            for each in map(ipaddress.ip_address, self.link_local)
            if each.version == 4 or self.address6
        )
        return found


def device_name(wish: EndpointWish, prefix: str, siblings: Sequence[Endpoint]) -> str:
    """The one that was asked for, or eth0, eth1, ...: the first that none of the container's other endpoints
    has. Raises Conflict."""
    taken = {endpoint.device for endpoint in siblings}
    if wish.device in taken:
        raise Conflict(
            f'network {wish.network}: the container has a device "{wish.device}" already '
            f"(hint: choose another {IFNAME})"
        )
    if wish.device:
        return wish.device
    number = 0
    while f"{prefix}{number}" in taken:
        number += 1
    return f"{prefix}{number}"


def _to_json(record: SandboxRecord | Endpoint) -> str:
    return json.dumps(asdict(record), separators=(",", ":"))


def sandbox_from_json(text: str) -> SandboxRecord:
    values = _known(json.loads(text), SandboxRecord)
    for key in ("wanted", "ports"):
        values[key] = tuple(PortBinding(**port) for port in values.get(key, ()))
    values["dns"] = tuple(values.get("dns", ()))
    return SandboxRecord(**values)


def endpoint_from_json(text: str) -> Endpoint:
    values = _known(json.loads(text), Endpoint)
    for key in ("aliases", "links", "link_local", "sysctls"):
        values[key] = tuple(values.get(key, ()))
    return Endpoint(**values)


def _known(document: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Fields of another version of the engine are dropped; what is missing gets its default."""
    names = {field.name for field in fields(kind)}
    return {key: value for key, value in document.items() if key in names}


class EndpointStore:
    """Tables `sandboxes` and `endpoints`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, sandbox: SandboxRecord, *endpoints: Endpoint) -> None:
        """The sandbox and these endpoints of it, in one transaction."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT OR REPLACE INTO sandboxes (container_id, record) VALUES (?, ?)",
                (sandbox.container_id, _to_json(sandbox)),
            )
            for endpoint in endpoints:
                cursor.execute(
                    "INSERT OR REPLACE INTO endpoints (container_id, network, record) VALUES (?, ?, ?)",
                    (endpoint.container_id, endpoint.network, _to_json(endpoint)),
                )

    def delete(self, endpoint: Endpoint) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(
                "DELETE FROM endpoints WHERE container_id = ? AND network = ?",
                (endpoint.container_id, endpoint.network),
            )

    def delete_all(self, container_id: str) -> None:
        """The sandbox and every endpoint of a container."""
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM endpoints WHERE container_id = ?", (container_id,))
            cursor.execute("DELETE FROM sandboxes WHERE container_id = ?", (container_id,))

    def sandboxes(self) -> list[SandboxRecord]:
        rows = self._database.query("SELECT record FROM sandboxes ORDER BY container_id")
        return [sandbox_from_json(row["record"]) for row in rows]

    def endpoints(self) -> list[Endpoint]:
        rows = self._database.query("SELECT record FROM endpoints ORDER BY container_id, network")
        return [endpoint_from_json(row["record"]) for row in rows]
