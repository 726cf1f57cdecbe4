"""Whether a container can join a network as it wishes, as far as one can tell. Wording as dockerd's."""

import ipaddress

from wherryd.errors import Forbidden, InvalidParameter
from wherryd.networks.catalog import Network, NetworkCatalog
from wherryd.networks.fabric import Fabric
from wherryd.networks.links import pack_mac
from wherryd.networks.sandbox import EndpointWish


def check(catalog: NetworkCatalog, fabric: Fabric, wish: EndpointWish) -> Network:
    """The network. Raises NotFound, Forbidden, InvalidParameter."""
    network = catalog.find(wish.network)
    if network.config_only:
        raise Forbidden("cannot create endpoint on configuration-only network")
    problems = []
    if wish.mac is not None:
        _check_mac(wish.mac)
        if network.driver == "ipvlan":
            problems.append("ipvlan interfaces do not support custom mac address assignment")
    if wish.aliases and not network.user_defined:
        problems.append("network-scoped aliases are only supported for user-defined networks")
    if wish.ip:
        problems += _address_problems(fabric, network, wish.ip, 4)
    if wish.ip6:
        problems += _address_problems(fabric, network, wish.ip6, 6)
    if problems:
        raise InvalidParameter(
            f"invalid config for network {network.name}: invalid endpoint settings:\n" + "\n".join(problems)
        )
    return network


def _address_problems(fabric: Fabric, network: Network, text: str, version: int) -> list[str]:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        return [f"invalid IPv{version} address: {text}"]
    if not network.user_defined:
        return ["user specified IP address is supported on user-defined networks only"]
    segment = fabric.named(network.name)
    pool = segment.addresses if version == 4 else segment.addresses6
    if pool is None or not (segment.user_subnet if version == 4 else segment.user_subnet6):
        return [
            "user specified IP address is supported only when connecting to networks with user "
            "configured subnets"
        ]
    if address not in pool.subnet.network:
        return [f"no configured subnet or ip-range contain the IP address {address}"]
    return []


def _check_mac(mac: str) -> None:
    try:
        raw = pack_mac(mac)
    except ValueError as error:
        raise InvalidParameter(f"invalid MAC address: {mac} (hint: 02:42:ac:11:00:02)") from error
    if raw[0] & 1:
        raise InvalidParameter(f"invalid MAC address: {mac} is a group address (hint: 02:42:ac:11:00:02)")
