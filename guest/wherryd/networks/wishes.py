"""Whether a container can join a network as it wishes, as far as one can tell. Wording as dockerd's."""

import ipaddress

from wherryd.errors import InvalidParameter
from wherryd.networks.catalog import Network, NetworkCatalog
from wherryd.networks.fabric import Fabric
from wherryd.networks.links import pack_mac
from wherryd.networks.sandbox import EndpointWish


def check(catalog: NetworkCatalog, fabric: Fabric, wish: EndpointWish) -> Network:
    """The network. Raises NotFound, InvalidParameter."""
    network = catalog.find(wish.network)
    problems = []
    if wish.mac is not None:
        _check_mac(wish.mac)
    if wish.aliases and not network.user_defined:
        problems.append("network-scoped aliases are only supported for user-defined networks")
    if wish.ip:
        problems += _address_problems(fabric, network, wish.ip)
    if problems:
        raise InvalidParameter(
            f"invalid config for network {network.name}: invalid endpoint settings:\n" + "\n".join(problems)
        )
    return network


def _address_problems(fabric: Fabric, network: Network, text: str) -> list[str]:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return [f"invalid IPv4 address: {text}"]
    if not network.user_defined:
        return ["user specified IP address is supported on user-defined networks only"]
    segment = fabric.named(network.name)
    if not segment.user_subnet:
        return [
            "user specified IP address is supported only when connecting to networks with user "
            "configured subnets"
        ]
    if address not in segment.bridge.subnet.network:
        return [f"no configured subnet or ip-range contain the IP address {address}"]
    return []


def _check_mac(mac: str) -> None:
    try:
        raw = pack_mac(mac)
    except ValueError as error:
        raise InvalidParameter(f"invalid MAC address: {mac} (hint: 02:42:ac:11:00:02)") from error
    if raw[0] & 1:
        raise InvalidParameter(f"invalid MAC address: {mac} is a group address (hint: 02:42:ac:11:00:02)")
