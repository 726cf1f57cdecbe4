"""The subnet of a network whose user names none: the first of the engine's pools that is free. Pure."""

import ipaddress
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter, SystemFault
from wherryd.networks.ipam import Subnet


@dataclass(frozen=True, slots=True)
class Pool:
    """base: cut into networks of this prefix length (dockerd --default-address-pool base=...,size=...)."""

    base: Subnet
    size: int


#: Source: dockerd, default-address-pools.
DEFAULT_POOLS = tuple(
    Pool(ipaddress.IPv4Network(base), size)
    for base, size in (
        ("172.17.0.0/16", 16),
        ("172.18.0.0/16", 16),
        ("172.19.0.0/16", 16),
        ("172.20.0.0/14", 16),
        ("172.24.0.0/14", 16),
        ("172.28.0.0/14", 16),
        ("192.168.0.0/16", 20),
    )
)
_SIZE6 = 64


def parse(text: str) -> Pool:
    """ "base=10.200.0.0/16,size=24". Raises InvalidParameter."""
    found = dict(part.partition("=")[::2] for part in text.split(","))
    try:
        base, size = ipaddress.ip_network(found.pop("base", "")), int(found.pop("size", ""))
    except ValueError as error:
        raise InvalidParameter(
            f'--default-address-pool "{text}": {error} (hint: base=10.200.0.0/16,size=24)'
        ) from error
    if found or not base.prefixlen <= size <= base.max_prefixlen - 2:
        raise InvalidParameter(
            f'--default-address-pool "{text}": want base=NETWORK,size=PREFIX-LENGTH with a size from '
            f"{base.prefixlen} to {base.max_prefixlen - 2}"
        )
    return Pool(base, size)


def unique_local(identity: str) -> Pool:
    """The pool for IPv6 networks: a private prefix that is this engine's own, always the same (RFC 4193)."""
    bits = int.from_bytes(digests.raw(identity.encode())[:5], "big")
    return Pool(ipaddress.IPv6Network(((0xFD << 120) | (bits << 80), 48)), _SIZE6)


def free_subnet(
    taken: Collection[Subnet], pools: Iterable[Pool] = DEFAULT_POOLS, *, version: int = 4
) -> Subnet:
    """taken: subnets of our networks, and of every address and route of this host: a network that shadowed
    the user's own VPN would be worse than none. Raises SystemFault when all pools are used up."""
    others = [other for other in taken if other.version == version]
    for candidate in _candidates(pools, version):
        if not any(overlap(candidate, other) for other in others):
            return candidate
    raise SystemFault(
        f"could not find an available, non-overlapping IPv{version} address pool among the defaults to "
        "assign to the network (hint: remove unused networks with `network prune`, or give this one a "
        "--subnet)"
    )


def overlap(one: Subnet, other: Subnet) -> bool:
    return one.network_address in other or other.network_address in one


def _candidates(pools: Iterable[Pool], version: int) -> Iterator[Subnet]:
    for pool in pools:
        if pool.base.version == version:
            yield from pool.base.subnets(new_prefix=pool.size)
