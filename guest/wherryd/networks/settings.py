"""What a user's network is: the checked and completed create request, as it is kept in table `networks`."""

import ipaddress
import json
import re
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


_VLAN = re.compile(r"(.+)\.([0-9]{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubinterfaceOptions:
    """Of the drivers macvlan and ipvlan. parent: the device below, "" for none that leads anywhere. mode: of
    macvlan bridge, private, vepa or passthru, of ipvlan l2, l3 or l3s. flag: of ipvlan, bridge, private or
    vepa. made: the parent is the engine's own, to be made again after a reboot and removed at the end.
    """

    driver: str
    parent: str = ""
    mode: str = ""
    flag: str = "bridge"
    made: bool = False


def vlan_of(name: str) -> tuple[str, int]:
    """ "eth0.50" -> ("eth0", 50): the device below and the VLAN's id, which is 0 for other names."""
    found = _VLAN.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 0)


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
    given out. ipv6: None for a network without. subinterfaces: None for a bridge network. options, labels,
    ipam_options: as the request had them, to be shown again. config: what a configuration network has for
    others (configs.py), and then there is no interface; None for every other. config_from: where a network
    has its own from.
    """

    interface: str
    user_subnet: bool = False
    ip_range: str = ""
    auxiliary: Mapping[str, str] = field(default_factory=dict)
    ipv6: Addresses6 | None = None
    bridge: BridgeOptions = field(default_factory=BridgeOptions)
    subinterfaces: SubinterfaceOptions | None = None
    internal: bool = False
    attachable: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    ipam_options: Mapping[str, str] | None = None
    config: Mapping[str, Any] | None = None
    config_from: str = ""

    @property
    def subnet(self) -> ipaddress.IPv4Interface:
        return ipaddress.IPv4Interface(self.interface)

    @property
    def driver(self) -> str:
        if self.config is not None:
            return "null"
        return self.subinterfaces.driver if self.subinterfaces else "bridge"

    @property
    def routed_by_host(self) -> bool:
        """Whether a container's way out is its device, without a gateway (ipvlan on layer 3)."""
        return bool(self.subinterfaces and self.subinterfaces.mode in ("l3", "l3s"))


def to_json(settings: NetworkSettings) -> str:
    return json.dumps(asdict(settings), separators=(",", ":"))


def from_json(text: str) -> NetworkSettings:
    """Fields of another version of the engine are dropped; what is missing gets its default."""
    document = json.loads(text)
    values = _known(document, NetworkSettings)
    values["bridge"] = BridgeOptions(**_known(document.get("bridge", {}), BridgeOptions))
    if document.get("ipv6"):
        values["ipv6"] = Addresses6(**_known(document["ipv6"], Addresses6))
    if document.get("subinterfaces"):
        values["subinterfaces"] = SubinterfaceOptions(
            **_known(document["subinterfaces"], SubinterfaceOptions)
        )
    return NetworkSettings(**values)


def _known(document: Mapping[str, Any], kind: type) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {key: value for key, value in document.items() if key in names}
