"""The subnet of a network whose user names none: the first of Docker's pools that is free. Pure."""

import ipaddress
from collections.abc import Collection, Iterable, Iterator

from wherryd.errors import SystemFault

#: (pool, prefix length of one network). Source: dockerd, default-address-pools.
DEFAULT_POOLS = (
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)


def free_subnet(
    taken: Collection[ipaddress.IPv4Network], pools: Iterable[tuple[str, int]] = DEFAULT_POOLS
) -> ipaddress.IPv4Network:
    """taken: subnets of our networks, and of every address and route of this host: a network that shadowed
    the user's own VPN would be worse than none. Raises SystemFault when all pools are used up."""
    for candidate in _candidates(pools):
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise SystemFault(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the "
        "network (hint: remove unused networks with `network prune`, or give this one a --subnet)"
    )


def _candidates(pools: Iterable[tuple[str, int]]) -> Iterator[ipaddress.IPv4Network]:
    for pool, prefix_length in pools:
        yield from ipaddress.IPv4Network(pool).subnets(new_prefix=prefix_length)
