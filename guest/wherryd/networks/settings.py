"""What a user's network is: the checked and completed create request, as it is kept in table `networks`."""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOptions:
    """The driver options that change something. device: the bridge's name, "" for one made from the id.

    mtu: bytes, 0 for that of the host's default route. icc: whether containers of the network reach each
    other. masquerade: whether they leave with the host's address. host_ip: where ports are published that
    name no address, "" for every address. device_prefix: of the containers' devices ("eth" -> eth0).
    """

    device: str = ""
    mtu: int = 0
    icc: bool = True
    masquerade: bool = True
    host_ip: str = ""
    device_prefix: str = "eth"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses6:
    """A network's IPv6 addresses; the fields are NetworkSettings' of the same names."""

    interface: str
    user_subnet: bool = False
    ip_range: str = ""
    auxiliary: Mapping[str, str] = field(default_factory=dict)

    @property
    def subnet(self) -> ipaddress.IPv6Interface:
        return ipaddress.IPv6Interface(self.interface)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """interface: the bridge's own address (the containers' gateway) with the prefix, "172.18.0.1/16".

    user_subnet: the user chose the subnet, so that fixed addresses may be given out. ip_range: the part
    of the subnet that addresses are taken from, "" for all. auxiliary: name -> address that is never
    given out. ipv6: None for a network without. options, labels, ipam_options: as the request had them, to be
    shown again.
    """

    interface: str
    user_subnet: bool = False
    ip_range: str = ""
    auxiliary: Mapping[str, str] = field(default_factory=dict)
    ipv6: Addresses6 | None = None
    bridge: BridgeOptions = field(default_factory=BridgeOptions)
    internal: bool = False
    attachable: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    ipam_options: Mapping[str, str] | None = None

    @property
    def subnet(self) -> ipaddress.IPv4Interface:
        return ipaddress.IPv4Interface(self.interface)


def to_json(settings: NetworkSettings) -> str:
    return json.dumps(asdict(settings), separators=(",", ":"))


def from_json(text: str) -> NetworkSettings:
    """Fields of another version of the engine are dropped; what is missing gets its default."""
    document = json.loads(text)
    values = _known(document, NetworkSettings)
    values["bridge"] = BridgeOptions(**_known(document.get("bridge", {}), BridgeOptions))
    if document.get("ipv6"):
        values["ipv6"] = Addresses6(**_known(document["ipv6"], Addresses6))
    return NetworkSettings(**values)


def _known(document: Mapping[str, Any], kind: type) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {key: value for key, value in document.items() if key in names}
