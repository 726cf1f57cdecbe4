"""Which networks there are, and how the Engine API describes one. Source: Engine API v1.51, Network."""

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherryd import clock
from wherryd.errors import Conflict, Forbidden, InvalidParameter, NotFound
from wherryd.metadata.database import Database
from wherryd.networks.settings import Addresses6, NetworkSettings, from_json, to_json

# name -> driver, in the order in which `docker network ls` shows them.
PREDEFINED = {"bridge": "bridge", "host": "host", "none": "null"}
_COLUMNS = "id, name, driver, created_at, record"


@dataclass(frozen=True, slots=True)
class Network:
    """One row of table `networks`. created_at: RFC 3339, UTC, nanoseconds. settings: None if predefined."""

    id: str
    name: str
    driver: str
    created_at: str
    settings: NetworkSettings | None = None

    @property
    def user_defined(self) -> bool:
        return self.settings is not None

    @property
    def config_only(self) -> bool:
        """Whether it only says what others are like, and nobody can join it."""
        return self.settings is not None and self.settings.config is not None

    @property
    def device(self) -> str:
        """The bridge of a user's network: its own name for it, or br- and the beginning of the id."""
        assert self.settings is not None, "asked of a user's network only"  # noqa: S101
        return self.settings.bridge.device or f"br-{self.id[:12]}"


@dataclass(frozen=True, slots=True)
class BridgeFacts:
    """What the API tells about the network "bridge" beyond its row. mtu: bytes. The rest: DefaultBridge."""

    device: str
    subnet: ipaddress.IPv4Interface
    mtu: int
    subnet6: ipaddress.IPv6Interface | None = None
    ip_range: str = ""
    icc: bool = True
    masquerade: bool = True
    host_ip: str = ""


class NetworkCatalog:
    """Table `networks`. Ids are chosen once and stay, also over restarts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._make_predefined()
        self._by_name: dict[str, Network] = {}
        self._load()

    def _make_predefined(self) -> None:
        with self._database.transaction() as cursor:
            for name, driver in PREDEFINED.items():
                cursor.execute(
                    "INSERT OR IGNORE INTO networks (id, name, driver, created_at) VALUES (?, ?, ?, ?)",
                    (secrets.token_hex(32), name, driver, clock.now()),
                )

    def _load(self) -> None:
        for row in self._database.query(f"SELECT {_COLUMNS} FROM networks"):  # noqa: S608 - a constant
            settings = from_json(row["record"]) if row["record"] else None
            self._by_name[row["name"]] = Network(
                row["id"], row["name"], row["driver"], row["created_at"], settings
            )

    def all(self) -> list[Network]:
        """Ordered by name."""
        return sorted(self._by_name.values(), key=lambda network: network.name)

    def add(self, name: str, network_id: str, settings: NetworkSettings) -> Network:
        """A user's network. Raises Conflict, or Forbidden for a predefined name."""
        self.check_free(name)
        network = Network(network_id, name, settings.driver, clock.now(), settings)
        with self._database.transaction() as cursor:
            cursor.execute(
                f"INSERT INTO networks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - a constant
                (network.id, name, network.driver, network.created_at, to_json(settings)),
            )
        self._by_name[name] = network
        return network

    def check_free(self, name: str) -> None:
        """Raises Conflict, or Forbidden for a predefined name, when a network has this name."""
        if name in PREDEFINED:
            raise Forbidden(f"operation is not permitted on predefined {name} network")
        if name in self._by_name:
            raise Conflict(f"network with name {name} already exists")

    def delete(self, network: Network) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM networks WHERE id = ?", (network.id,))
        self._by_name.pop(network.name, None)

    def named(self, name: str) -> Network:
        """Raises NotFound."""
        found = self._by_name.get(name)
        if found is None:
            raise NotFound(f"network {name} not found")
        return found

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
    """Docker's Network object. bridge: of the predefined one. containers: id -> NetworkContainer."""
    settings = network.settings
    config: list[dict[str, Any]] = []
    options: dict[str, str] = {}
    ipv6 = False
    if settings is not None and settings.config is not None:
        return _config_document(network, settings, settings.config)
    if settings is not None:
        config, options = _ipam_configs(settings), dict(settings.options)
        ipv6 = settings.ipv6 is not None
    elif network.driver == "bridge":
        config, options = _default_configs(bridge), _default_options(bridge)
        ipv6 = bridge.subnet6 is not None
    ipam_options = settings.ipam_options if settings else None
    return {
        **_identity(network),
        "EnableIPv4": network.driver in ("bridge", "macvlan", "ipvlan"),
        "EnableIPv6": ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": None if ipam_options is None else dict(ipam_options),
            "Config": config,
        },
        "Internal": bool(settings and settings.internal),
        "Attachable": bool(settings and settings.attachable),
        "Ingress": False,
        "ConfigFrom": {"Network": settings.config_from if settings else ""},
        "ConfigOnly": False,
        "Containers": dict(containers),
        "Options": options,
        "Labels": dict(settings.labels) if settings else {},
    }


def _identity(network: Network) -> dict[str, Any]:
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": network.created_at,
        "Scope": "local",
        "Driver": network.driver,
    }


def _config_document(
    network: Network, settings: NetworkSettings, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Of a configuration network: as it was given."""
    ipam = config.get("IPAM") or {}
    return {
        **_identity(network),
        "EnableIPv4": config.get("EnableIPv4", True),
        "EnableIPv6": bool(config.get("EnableIPv6")),
        "IPAM": {"Driver": "default", "Options": ipam.get("Options"), "Config": ipam.get("Config") or []},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": True,
        "Containers": {},
        "Options": dict(config.get("Options") or {}),
        "Labels": dict(settings.labels),
    }


def _default_options(bridge: BridgeFacts) -> dict[str, str]:
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": str(bridge.icc).lower(),
        "com.docker.network.bridge.enable_ip_masquerade": str(bridge.masquerade).lower(),
        "com.docker.network.bridge.host_binding_ipv4": bridge.host_ip or "0.0.0.0",  # noqa: S104
        "com.docker.network.bridge.name": bridge.device,
        "com.docker.network.driver.mtu": str(bridge.mtu),
    }


def _default_configs(bridge: BridgeFacts) -> list[dict[str, Any]]:
    four = {"Subnet": str(bridge.subnet.network)}
    if bridge.ip_range:
        four["IPRange"] = bridge.ip_range
    found: list[dict[str, Any]] = [four | {"Gateway": str(bridge.subnet.ip)}]
    if bridge.subnet6 is not None:
        found.append({"Subnet": str(bridge.subnet6.network), "Gateway": str(bridge.subnet6.ip)})
    return found


def _ipam_configs(settings: NetworkSettings) -> list[dict[str, Any]]:
    found = [_ipam_config(settings)]
    if settings.ipv6 is not None:
        found.append(_ipam_config(settings.ipv6))
    return found


def _ipam_config(settings: NetworkSettings | Addresses6) -> dict[str, Any]:
    found: dict[str, Any] = {"Subnet": str(settings.subnet.network)}
    if settings.ip_range:
        found["IPRange"] = settings.ip_range
    found["Gateway"] = str(settings.subnet.ip)
    if settings.auxiliary:
        found["AuxiliaryAddresses"] = dict(settings.auxiliary)
    return found
