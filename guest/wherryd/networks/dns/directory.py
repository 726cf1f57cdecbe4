"""Names and addresses of the networks of one container."""

import ipaddress
from collections.abc import Callable, Collection, Iterator

from wherryd.networks.endpoint import Endpoint
from wherryd.networks.fabric import Fabric
from wherryd.networks.ipam import Address
from wherryd.networks.members import Members, dns_names
from wherryd.networks.naming import NameDefaults

_MAX_KNOWN = 4096


class NameDirectory:
    """Reads what is true now: a rename or a connect counts from the next question on."""

    def __init__(self, members: Members, fabric: Fabric, container_name: Callable[[str], str]) -> None:
        self._members = members
        self._fabric = fabric
        self._container_name = container_name
        #: Endpoint id -> (endpoint, the container's name, all its names in lower case): made once, not per
        #: question and member of a network.
        self._known: dict[str, tuple[Endpoint, str, frozenset[str]]] = {}

    def addresses(self, container_id: str, name: str) -> list[Address] | None:
        """Every address of that name on the networks that the container shares; None for an unknown name.

        name: without the dot at its end, in any case. `web` and `web.mynet` are both known.
        """
        wanted = name.lower()
        found: dict[Address, None] = {}
        for network in self._networks(container_id):
            suffix = f".{network.lower()}"
            names = {wanted, wanted.removesuffix(suffix)}
            linked = self._linked(container_id, network, names)
            for endpoint in self._members.on(network):
                known = self._lower_names(endpoint)
                if not names.isdisjoint(known) or (linked and linked & {*known, endpoint.container_id}):
                    for address in _addresses(endpoint):
                        found[ipaddress.ip_address(address)] = None
        return list(found) or None

    def _linked(self, container_id: str, network: str, names: Collection[str]) -> set[str]:
        """Names or ids of the containers that this one calls so (docker run --link)."""
        own = self._members.at(container_id, network)
        pairs = (link.split(":") for link in (own.links if own else ()))
        return {target.lower() for target, alias in pairs if alias.lower() in names}

    def name_of(self, container_id: str, address: Address) -> str | None:
        """`web.mynet` for an address of a container on a shared network."""
        for network in self._networks(container_id):
            for endpoint in self._members.on(network):
                if str(address) in _addresses(endpoint):
                    return f"{self._names(endpoint)[0]}.{network}"
        return None

    def is_own(self, container_id: str, address: Address) -> bool:
        """Whether the address is of one of the container's networks: nobody else knows its name."""
        return any(
            address in subnet
            for network in self._networks(container_id)
            for subnet in self._fabric.named(network).bridge.subnets
        )

    def reaches_out(self, container_id: str) -> bool:
        """Whether any of its networks leads outside; if none does, nothing may be asked there either."""
        return any(
            not self._fabric.is_internal(endpoint.network) for endpoint in self._members.of(container_id)
        )

    def host_addresses(self, container_id: str, names: NameDefaults) -> list[Address]:
        """Of the user's machine, as /etc/hosts has them: what the engine was told, else the way out."""
        gateway = self._members.gateway(container_id)
        if gateway is None:
            return []
        bridge = self._fabric.named(gateway.network).bridge
        six = bridge.subnet6 if gateway.address6 else None
        own = [each for each in bridge.gateways if not each.is_unspecified and (six or each.version == 4)]
        told = [ipaddress.ip_address(address) for address in names.host_gateway]
        return [address for address in told if six or address.version == 4] or own

    def servers(self, container_id: str) -> tuple[str, ...]:
        """The user's own servers for this container, perhaps none."""
        record = self._members.sandboxes.get(container_id)
        return record.dns if record is not None else ()

    def _networks(self, container_id: str) -> Iterator[str]:
        for endpoint in self._members.of(container_id):
            if self._fabric.named(endpoint.network).network.user_defined:
                yield endpoint.network

    def _names(self, endpoint: Endpoint) -> tuple[str, ...]:
        record = self._members.sandboxes[endpoint.container_id]
        return dns_names(endpoint, record, self._container_name(endpoint.container_id))

    def _lower_names(self, endpoint: Endpoint) -> frozenset[str]:
        name = self._container_name(endpoint.container_id)
        kept = self._known.get(endpoint.endpoint_id)
        if kept is not None and kept[0] is endpoint and kept[1] == name:
            return kept[2]
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()  # most are of endpoints that are gone
        found = frozenset(each.lower() for each in self._names(endpoint))
        self._known[endpoint.endpoint_id] = (endpoint, name, found)
        return found


def _addresses(endpoint: Endpoint) -> list[str]:
    return [address for address in (endpoint.address, endpoint.address6) if address]
