"""Addresses of one subnet: which are taken, which comes next. Pure, in memory; endpoints are the record."""

import ipaddress

from wherryd.errors import SystemFault


class AddressPool:
    """Hands addresses out in sequence and takes a freed one again only after a whole round.

    So a neighbour that still remembers a container's MAC or connection does not meet another one at the
    same address at once. The network, broadcast and gateway addresses are never handed out.
    """

    def __init__(self, subnet: ipaddress.IPv4Interface) -> None:
        self.subnet = subnet
        self._first = int(subnet.network.network_address) + 1
        self._last = int(subnet.network.broadcast_address) - 1
        self._taken = {int(subnet.ip)}
        self._cursor = self._first - 1

    def reserve(self, address: ipaddress.IPv4Address) -> None:
        """Marks an address as taken, as after a restart. The next one handed out comes after it."""
        self._taken.add(int(address))
        self._cursor = max(self._cursor, int(address))

    def allocate(self) -> ipaddress.IPv4Address:
        """The next free address. Raises SystemFault when there is none."""
        size = self._last - self._first + 1
        for step in range(1, size + 1):
            candidate = self._first + (self._cursor - self._first + step) % size
            if candidate not in self._taken:
                self._taken.add(candidate)
                self._cursor = candidate
                return ipaddress.IPv4Address(candidate)
        raise SystemFault(
            f"no available IPv4 addresses on this network's address pools: {self.subnet.network} "
            "(hint: remove containers, or start wherryd with a larger --bip)"
        )

    def release(self, address: ipaddress.IPv4Address) -> None:
        """Gives an address back; one that was not taken is ignored, the gateway stays taken."""
        if address != self.subnet.ip:
            self._taken.discard(int(address))


def mac_of(address: ipaddress.IPv4Address) -> str:
    """The MAC that goes with an address: 172.17.0.2 -> 02:42:ac:11:00:02.

    From the address, so that whoever gets it next has the same one and no stale neighbour entry hurts.
    The first byte says "locally administered, unicast".
    """
    return (b"\x02\x42" + address.packed).hex(":")
