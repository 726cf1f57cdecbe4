"""Which networks there are, and how the Engine API describes one. Source: Engine API v1.51, Network."""

import ipaddress
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherryd.errors import InvalidParameter, NotFound
from wherryd.metadata.database import Database

# name -> driver, in the order in which `docker network ls` shows them.
PREDEFINED = {"bridge": "bridge", "host": "host", "none": "null"}


@dataclass(frozen=True, slots=True)
class Network:
    """One row of table `networks`. created_at: RFC 3339, UTC, nanoseconds."""

    id: str
    name: str
    driver: str
    created_at: str


@dataclass(frozen=True, slots=True)
class BridgeFacts:
    """What the API tells about the bridge network beyond its row. mtu: bytes."""

    device: str
    subnet: ipaddress.IPv4Interface
    mtu: int


class NetworkCatalog:
    """Table `networks`. Ids are chosen once and stay, also over restarts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._make_predefined()

    def _make_predefined(self) -> None:
        with self._database.transaction() as cursor:
            for name, driver in PREDEFINED.items():
                cursor.execute(
                    "INSERT OR IGNORE INTO networks (id, name, driver, created_at) VALUES (?, ?, ?, ?)",
                    (secrets.token_hex(32), name, driver, _now()),
                )

    def all(self) -> list[Network]:
        """Ordered by name."""
        rows = self._database.query("SELECT id, name, driver, created_at FROM networks ORDER BY name")
        return [Network(**dict(row)) for row in rows]

    def named(self, name: str) -> Network:
        """Raises NotFound."""
        for network in self.all():
            if network.name == name:
                return network
        raise NotFound(f"network {name} not found")

    def find(self, name_or_id: str) -> Network:
        """By id, name or unambiguous beginning of an id, in this order.

        Raises NotFound, and InvalidParameter when the beginning is ambiguous.
        """
        networks = self.all()
        exact = [n for n in networks if n.id == name_or_id] or [n for n in networks if n.name == name_or_id]
        found = exact or [n for n in networks if name_or_id and n.id.startswith(name_or_id)]
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidParameter(
                f"network {name_or_id} is ambiguous ({len(found)} matches found based on ID prefix)"
            )
        raise NotFound(f"network {name_or_id} not found")


def document(
    network: Network, bridge: BridgeFacts, containers: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """Docker's Network object. containers: container id -> NetworkContainer."""
    is_bridge = network.driver == "bridge"
    config: list[dict[str, str]] = []
    options: dict[str, str] = {}
    if is_bridge:
        config = [{"Subnet": str(bridge.subnet.network), "Gateway": str(bridge.subnet.ip)}]
        options = {
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",  # noqa: S104 - as Docker says it
            "com.docker.network.bridge.name": bridge.device,
            "com.docker.network.driver.mtu": str(bridge.mtu),
        }
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": network.created_at,
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": is_bridge,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": config},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": dict(containers),
        "Options": options,
        "Labels": {},
    }


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"
