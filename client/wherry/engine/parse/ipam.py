"""`network create`'s subnets, ranges, gateways and auxiliary addresses -> the API's IPAM.Config."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from wherry.errors import UsageProblem

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def blocks(
    *, subnets: Sequence[str], ranges: Sequence[str], gateways: Sequence[str], auxiliary: Mapping[str, str]
) -> list[dict[str, Any]]:
    """One block per subnet, with what lies inside of it. Raises UsageProblem in Docker's words."""
    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise UsageProblem("every ip-range or gateway must have a corresponding subnet")
    known = [(_network(subnet, "subnet"), subnet) for subnet in subnets]
    for number, (network, _) in enumerate(known):
        for other, _ in known[:number]:
            if network.version == other.version and network.overlaps(other):
                raise UsageProblem("multiple overlapping subnet configuration is not supported")
    made: dict[str, dict[str, Any]] = {subnet: {"Subnet": subnet} for _, subnet in known}
    for text in ranges:
        block = made[_around(known, _network(text, "ip-range").network_address, f"range {text}")]
        _once(block, "IPRange", text, "ranges")
    for text in gateways:
        block = made[_around(known, _address(text, "gateway"), f"gateway {text}")]
        _once(block, "Gateway", text, "gateways")
    for name, text in auxiliary.items():
        block = made[_around(known, _address(text, "aux-address"), f"aux-address {text}")]
        block.setdefault("AuxiliaryAddresses", {})[name] = text
    return list(made.values())


def _once(block: dict[str, Any], key: str, text: str, what: str) -> None:
    if key in block:
        raise UsageProblem(
            f"cannot configure multiple {what} ({text}, {block[key]}) on the same subnet ({block['Subnet']})"
        )
    block[key] = text


def _around(
    known: Sequence[tuple[_Network, str]],
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    what: str,
) -> str:
    """The subnet with this address inside."""
    for network, subnet in known:
        if network.version == address.version and address in network:
            return subnet
    raise UsageProblem(f"no matching subnet for {what}")


def _network(text: str, what: str) -> _Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as exc:
        raise UsageProblem(f"invalid {what} {text}: write it as 10.5.0.0/16") from exc


def _address(text: str, what: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as exc:
        raise UsageProblem(f"invalid {what} {text}: not an IP address") from exc
