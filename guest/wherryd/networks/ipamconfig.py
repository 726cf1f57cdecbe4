"""IPAM.Config of POST /networks/create: one block of addresses per family, checked. Pure.

Source: Engine API v1.51, IPAMConfig. Problems are collected, each with its value, to be told together.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherryd.errors import InvalidParameter
from wherryd.networks.ipam import Address, Interface, Subnet

#: A network smaller than this has no room for a gateway and a container.
_LONGEST_PREFIX = {4: 30, 6: 126}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """subnet, gateway, ip_range: None where the request leaves the choice to the engine."""

    subnet: Subnet | None = None
    gateway: Address | None = None
    ip_range: Subnet | None = None
    auxiliary: Mapping[str, Address] = field(default_factory=dict)


def blocks(given: Sequence[Mapping[str, Any]], problems: list[str]) -> dict[int, Block]:
    """IP version -> its block, for the blocks that say something. Raises InvalidParameter for two of one
    family."""
    found: dict[int, Block] = {}
    for each in given:
        if not any(each.values()):
            continue
        block = _block(each, problems)
        version = _version(each)
        if version in found:
            raise InvalidParameter("bridge driver doesn't support multiple subnets")
        found[version] = block
    return found


def _version(block: Mapping[str, Any]) -> int:
    """Of a block that may be wrong: by the look of its first text."""
    texts = (block.get(key) for key in ("Subnet", "Gateway", "IPRange"))
    return 6 if ":" in str(next(filter(None, texts), "")) else 4


def _block(block: Mapping[str, Any], problems: list[str]) -> Block:
    subnet = _subnet(block, problems)
    auxiliary = block.get("AuxiliaryAddresses") or {}
    if not isinstance(auxiliary, dict) or not all(isinstance(text, str) for text in auxiliary.values()):
        raise InvalidParameter("AuxiliaryAddresses: wants an object of strings")
    return Block(
        subnet=subnet,
        ip_range=_ip_range(block, subnet, problems),
        gateway=_address(block.get("Gateway"), "gateway", subnet, problems),
        auxiliary={
            key: address
            for key, text in auxiliary.items()
            if (address := _address(text, "auxiliary address", subnet, problems)) is not None
        },
    )


def _interface(text: Any) -> Interface:
    """Raises ValueError."""
    return ipaddress.ip_interface(str(text))


def _subnet(block: Mapping[str, Any], problems: list[str]) -> Subnet | None:
    text = block.get("Subnet")
    if not text:
        problems.append("invalid subnet : invalid CIDR block notation")
        return None
    try:
        interface = _interface(text)
    except ValueError:
        problems.append(f"invalid subnet {text}: invalid CIDR block notation")
        return None
    network = interface.network
    longest = _LONGEST_PREFIX[network.version]
    if interface.ip != network.network_address:
        problems.append(f"invalid subnet {text}: it should be {network}")
    if "/" not in str(text) or network.prefixlen > longest or network.prefixlen == 0:
        problems.append(f"invalid subnet {text}: want a prefix from /1 to /{longest}")
    if network.is_link_local or network.is_multicast or network.is_loopback:
        problems.append(f"invalid subnet {text}: it is a link-local, loopback or multicast network")
    return network


def _ip_range(block: Mapping[str, Any], subnet: Subnet | None, problems: list[str]) -> Subnet | None:
    text = block.get("IPRange")
    if not text:
        return None
    try:
        interface = _interface(text)
    except ValueError:
        problems.append(f"invalid ip-range {text}: invalid CIDR block notation")
        return None
    if interface.ip != interface.network.network_address:
        problems.append(f"invalid ip-range {text}: it should be {interface.network}")
    if subnet is not None and not _inside(interface.network, subnet):
        problems.append(f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range")
    return interface.network


def _inside(part: Subnet, subnet: Subnet) -> bool:
    return (
        part.version == subnet.version and part.network_address in subnet and part.broadcast_address in subnet
    )


def _address(text: Any, what: str, subnet: Subnet | None, problems: list[str]) -> Address | None:
    if not text:
        return None
    try:
        address = ipaddress.ip_address(str(text))
    except ValueError:
        problems.append(f"invalid {what} {text}: invalid address")
        return None
    if subnet is None:
        return address
    if address not in subnet:
        problems.append(f"invalid {what} {text}: parent subnet {subnet} doesn't contain this address")
    elif address == subnet.network_address or (subnet.version == 4 and address == subnet.broadcast_address):
        problems.append(f"invalid {what} {text}: it is the network's own or its broadcast address")
    return address
