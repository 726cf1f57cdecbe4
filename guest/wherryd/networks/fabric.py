"""Every bridge network at work: its bridge in the kernel, its addresses, its subnet. All calls block."""

import contextlib
import ipaddress
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from wherryd.errors import EngineError, Forbidden, NotFound, SystemFault
from wherryd.networks import links, pools
from wherryd.networks.bridge import Bridge
from wherryd.networks.catalog import BridgeFacts, Network, NetworkCatalog
from wherryd.networks.ipam import AddressPool
from wherryd.networks.netlink import Netlink
from wherryd.networks.request import NetworkRequest
from wherryd.networks.rules import Policy
from wherryd.networks.settings import BridgeOptions, NetworkSettings

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Segment:
    """One bridge network. user_subnet: its user chose the subnet. options: of the driver."""

    network: Network
    bridge: Bridge
    addresses: AddressPool
    options: BridgeOptions
    user_subnet: bool = False

    @property
    def internal(self) -> bool:
        return self.bridge.policy.internal


class Fabric:
    """Segments by name. The predefined one is there from the beginning, at work after `open`."""

    def __init__(self, catalog: NetworkCatalog, device: str, subnet: ipaddress.IPv4Interface) -> None:
        self._catalog = catalog
        self._default = Segment(
            catalog.named("bridge"), Bridge(device, subnet), AddressPool(subnet), BridgeOptions()
        )
        self._segments = {"bridge": self._default}
        for network in catalog.all():
            if network.settings is not None:
                self._segments[network.name] = _segment(network, network.settings)

    @property
    def facts(self) -> BridgeFacts:
        bridge = self._default.bridge
        return BridgeFacts(bridge.name, bridge.subnet, bridge.mtu)

    def __iter__(self) -> Iterator[Segment]:
        return iter(tuple(self._segments.values()))

    def named(self, name: str) -> Segment:
        """Raises NotFound: a network that is no bridge, or none."""
        found = self._segments.get(name)
        if found is None:
            raise NotFound(f"network {name} not found")
        return found

    def is_internal(self, name: str) -> bool:
        return self.named(name).internal

    def open(self) -> None:
        """All devices and addresses. Raises SystemFault for the predefined network.

        A user's network that cannot be (its subnet is a new VPN's by now) must not keep the engine from
        starting: it is logged, and tried again when a container wants it.
        """
        self._default.bridge.open()
        for segment in self:
            try:
                segment.bridge.open()
            except EngineError as exc:
                _log.error("network %s cannot be used: %s", segment.network.name, exc)

    def close(self) -> None:
        """Gives up descriptors and what is known of addresses; the kernel keeps everything."""
        for segment in self:
            segment.bridge.close()
            segment.addresses = _pool(segment.bridge.subnet, segment.network.settings)

    def uninstall(self) -> None:
        """Removes every bridge and its rules from the kernel."""
        for segment in self:
            segment.bridge.open()
            segment.bridge.uninstall()

    def plan(self, request: NetworkRequest) -> NetworkSettings:
        """The request with what the engine has to choose. Raises Forbidden for what is taken, SystemFault."""
        with Netlink() as nl:
            addresses = [address for _, address in links.all_addresses(nl)]
            if request.bridge.device and links.find(nl, request.bridge.device) is not None:
                raise Forbidden(
                    f'bridge name "{request.bridge.device}" is taken: this host has a device of that name '
                    "(hint: choose another com.docker.network.bridge.name)"
                )
            own = [segment.bridge.subnet.network for segment in self]
            if request.subnet is None:
                routed = links.routed_networks(nl)
                subnet = pools.free_subnet([*own, *routed, *(address.network for address in addresses)])
            else:
                subnet = request.subnet
                _refuse_overlap(subnet, own, addresses)
        gateway = request.gateway or _first_free(subnet, set(request.auxiliary.values()))
        return NetworkSettings(
            interface=f"{gateway}/{subnet.prefixlen}",
            user_subnet=request.subnet is not None,
            ip_range=str(request.ip_range) if request.ip_range else "",
            auxiliary={name: str(address) for name, address in request.auxiliary.items()},
            bridge=request.bridge,
            internal=request.internal,
            attachable=request.attachable,
            labels=request.labels,
            options=request.options,
            ipam_options=request.ipam_options,
        )

    def add(self, network: Network, settings: NetworkSettings) -> Segment:
        """Makes the bridge and its rules. Raises EngineError with nothing left in the kernel."""
        segment = _segment(network, settings)
        with contextlib.ExitStack() as undo:
            undo.callback(segment.bridge.close)
            segment.bridge.open()
            undo.callback(segment.bridge.uninstall)
            segment.bridge.replace_rules([])
            undo.pop_all()
        self._segments[network.name] = segment
        return segment

    def remove(self, network: Network) -> None:
        """Takes bridge and rules away. Idempotent."""
        segment = self.named(network.name)
        segment.bridge.open()
        segment.bridge.uninstall()
        segment.bridge.close()
        del self._segments[network.name]


def _segment(network: Network, settings: NetworkSettings) -> Segment:
    options = settings.bridge
    policy = Policy(internal=settings.internal, icc=options.icc, masquerade=options.masquerade)
    return Segment(
        network=network,
        bridge=Bridge(network.device, settings.subnet, mtu=options.mtu, policy=policy),
        addresses=_pool(settings.subnet, settings),
        options=options,
        user_subnet=settings.user_subnet,
    )


def _pool(subnet: ipaddress.IPv4Interface, settings: NetworkSettings | None) -> AddressPool:
    if settings is None:
        return AddressPool(subnet)
    part = ipaddress.IPv4Network(settings.ip_range) if settings.ip_range else None
    return AddressPool(subnet, part, map(ipaddress.IPv4Address, settings.auxiliary.values()))


def _refuse_overlap(
    subnet: ipaddress.IPv4Network,
    own: list[ipaddress.IPv4Network],
    addresses: list[ipaddress.IPv4Interface],
) -> None:
    """What the user asked for may lie inside a route of the host, but not where a device is."""
    for network in own:
        if subnet.overlaps(network):
            raise Forbidden(
                f"invalid pool request: Pool overlaps with other one on this address space: {network}"
            )
    for address in addresses:
        if subnet.overlaps(address.network):
            raise Forbidden(
                f"invalid pool request: Pool overlaps with other one on this address space: a device of "
                f"this host has {address} (hint: choose another --subnet)"
            )


def _first_free(subnet: ipaddress.IPv4Network, taken: set[ipaddress.IPv4Address]) -> ipaddress.IPv4Address:
    for address in subnet.hosts():
        if address not in taken:
            return address
    raise SystemFault(f"no address of {subnet} is left for the gateway (hint: fewer --aux-address)")
