"""Addresses of one subnet: which are taken, which comes next. Pure, in memory; endpoints are the record."""

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

from wherryd.errors import Forbidden, InvalidParameter, SystemFault

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Interface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Subnet: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressPool:
    """Hands addresses out in sequence and takes a freed one again only after a whole round.

    So a neighbour that still remembers a container's MAC or connection does not meet another one at the
    same address at once. The network, broadcast and gateway addresses are never handed out.
    ip_range: the part to hand out from; what somebody asks for by name may also lie outside of it.
    reserved: further addresses that are never handed out.
    """

    def __init__(
        self,
        subnet: Interface,
        ip_range: Subnet | None = None,
        reserved: Iterable[Address] = (),
    ) -> None:
        self.subnet = subnet
        part = ip_range or subnet.network
        self._first = max(int(part.network_address), int(subnet.network.network_address) + 1)
        # IPv6 has no broadcast address; its last one is left out all the same.
        self._last = min(int(part.broadcast_address), int(subnet.network.broadcast_address) - 1)
        self._never = {int(subnet.ip), *map(int, reserved)}
        self._taken = set(self._never)
        self._cursor = self._first - 1

    def reserve(self, address: Address) -> None:
        """Marks an address as taken, as after a restart. The next one handed out comes after it."""
        self._taken.add(int(address))
        if self._first <= int(address) <= self._last:
            self._cursor = max(self._cursor, int(address))

    def claim(self, address: Address) -> None:
        """Takes exactly this one. Raises InvalidParameter for another subnet's, Forbidden for a taken one."""
        if address not in self.subnet.network:
            raise InvalidParameter(f"no configured subnet or ip-range contain the IP address {address}")
        ends = (self.subnet.network.network_address, self.subnet.network.broadcast_address)
        if int(address) in self._taken or address in ends:
            raise Forbidden(f"Address already in use: {address} (hint: leave out --ip, or choose another)")
        self._taken.add(int(address))

    def allocate(self) -> Address:
        """The next free address. Raises SystemFault when there is none."""
        size = self._last - self._first + 1
        for step in range(1, size + 1):
            candidate = self._first + (self._cursor - self._first + step) % size
            if candidate not in self._taken:
                self._taken.add(candidate)
                self._cursor = candidate
                return type(self.subnet.ip)(candidate)
        raise SystemFault(
            f"no available IPv{self.subnet.version} addresses on this network's address pools: "
            f"{self.subnet.network} "
            "(hint: remove containers, or use a network with a larger subnet)"
        )

    def release(self, address: Address) -> None:
        """Gives an address back; one that was not taken is ignored, the gateway stays taken."""
        if int(address) not in self._never:
            self._taken.discard(int(address))

    def give_back(self, address: Address) -> None:
        """Releases an address that nobody has had: it may be the next one again."""
        self.release(address)
        if self._cursor == int(address):
            self._cursor -= 1


def mac_of(address: ipaddress.IPv4Address) -> str:
    """The MAC that goes with an address: 172.17.0.2 -> 02:42:ac:11:00:02.

    From the address, so that whoever gets it next has the same one and no stale neighbour entry hurts.
    The first byte says "locally administered, unicast".
    """
    return (b"\x02\x42" + address.packed).hex(":")
