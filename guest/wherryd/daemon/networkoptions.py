"""dockerd's options of networks, read and checked: values of the command line or the file -> one object."""

import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from wherryd.errors import InvalidParameter
from wherryd.networks import pools
from wherryd.networks.fabric import DefaultBridge
from wherryd.networks.ipam import Subnet

_Parsed = TypeVar("_Parsed")

#: Option -> default; the defaults are dockerd's, but for the bridge's name.
DEFAULTS: Mapping[str, object] = {
    "bridge": "wherry0",
    "bip": "172.17.0.1/16",
    "bip6": "",
    "fixed-cidr": "",
    "fixed-cidr-v6": "",
    "ipv6": False,
    "mtu": 0,
    "icc": True,
    "ip-masq": True,
    "ip": "",
    "dns": (),
    "dns-opt": (),
    "dns-search": (),
    "default-address-pool": (),
    "host-gateway-ip": (),
}

#: What dockerd's file calls the options that may repeat.
PLURALS = {
    "dns-opts": "dns-opt",
    "default-address-pools": "default-address-pool",
    "host-gateway-ips": "host-gateway-ip",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """bridge: of the predefined network. pools: for networks without a --subnet. dns, dns_search,
    dns_options: for containers that have none of their own. host_gateway: what the address "host-gateway" and
    the name host.docker.internal stand for, of IPv4, IPv6 or both; none means the container's own gateway."""

    bridge: DefaultBridge
    pools: tuple[pools.Pool, ...]
    dns: tuple[str, ...]
    dns_search: tuple[str, ...]
    dns_options: tuple[str, ...]
    host_gateway: tuple[str, ...]


def read(values: Mapping[str, object]) -> NetworkOptions:
    """Raises InvalidParameter, which names the option."""
    dns, gateways = _texts(values, "dns"), _texts(values, "host-gateway-ip")
    for option, addresses in (("dns", dns), ("host-gateway-ip", gateways)):
        for address in addresses:
            _parsed(option, address, ipaddress.ip_address, "192.0.2.53")
    return NetworkOptions(
        bridge=_bridge(values),
        pools=tuple(_pool(each) for each in _list(values["default-address-pool"])),
        dns=dns,
        dns_search=_texts(values, "dns-search"),
        dns_options=_texts(values, "dns-opt"),
        host_gateway=gateways,
    )


def _bridge(values: Mapping[str, object]) -> DefaultBridge:
    bip = _parsed("bip", str(values["bip"]), ipaddress.IPv4Interface, "172.17.0.1/16")
    fixed = str(values["fixed-cidr"])
    ip_range = _parsed("fixed-cidr", fixed, ipaddress.IPv4Network, "172.17.128.0/17") if fixed else None
    if ip_range is not None and not ip_range.subnet_of(bip.network):
        raise InvalidParameter(f"--fixed-cidr {ip_range}: want a part of the bridge's {bip.network} (--bip)")
    host_ip = str(values["ip"])
    if host_ip:
        _parsed("ip", host_ip, ipaddress.ip_address, "127.0.0.1")
    mtu = values["mtu"]
    if not isinstance(mtu, int) or not (mtu == 0 or 68 <= mtu <= 65535):
        raise InvalidParameter(f"--mtu {mtu}: want bytes from 68 to 65535, or 0 for the default route's")
    return DefaultBridge(
        device=str(values["bridge"]),
        subnet=bip,
        subnet6=_subnet6(values),
        ip_range=ip_range,
        mtu=mtu,
        icc=bool(values["icc"]),
        masquerade=bool(values["ip-masq"]),
        # Every address is what "none" means, also in IPv6.
        host_ip="" if host_ip in ("0.0.0.0", "::") else host_ip,  # noqa: S104 - compared, not bound
    )


def _subnet6(values: Mapping[str, object]) -> ipaddress.IPv6Interface | None:
    """--bip6 is the bridge's address, --fixed-cidr-v6 its network; --ipv6 alone takes a private one."""
    if not values["ipv6"]:
        return None
    bip6, fixed = str(values["bip6"]), str(values["fixed-cidr-v6"])
    if bip6:
        return _parsed("bip6", bip6, ipaddress.IPv6Interface, "fd00:1::1/64")
    network: Subnet
    if fixed:
        network = _parsed("fixed-cidr-v6", fixed, ipaddress.IPv6Network, "fd00:1::/64")
    else:
        own = pools.unique_local(_identity(str(values["bridge"])))
        network = pools.free_subnet((), [own], version=6)
    return ipaddress.IPv6Interface(f"{network.network_address + 1}/{network.prefixlen}")


def _identity(bridge: str) -> str:
    """The same for this machine and bridge after every restart (machine-id(5))."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        machine = socket.gethostname()
    return f"{machine} {bridge}"


def _pool(value: object) -> pools.Pool:
    """ "base=10.200.0.0/16,size=24", or in the file {"base": ..., "size": ...}."""
    if isinstance(value, dict):
        value = ",".join(f"{key}={each}" for key, each in value.items())
    return pools.parse(str(value))


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else (value,)


def _texts(values: Mapping[str, object], option: str) -> tuple[str, ...]:
    return tuple(map(str, _list(values[option])))


def _parsed(option: str, text: str, read: Callable[[str], _Parsed], example: str) -> _Parsed:
    try:
        return read(text)
    except ValueError as exc:
        raise InvalidParameter(f"--{option}: {exc} (hint: --{option} {example})") from exc
