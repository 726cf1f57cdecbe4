"""Every network with devices at work: its bridge or parent in the kernel, its addresses. Calls block."""

import contextlib
import ipaddress
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wherryd.errors import EngineError, Forbidden, NotFound, SystemFault
from wherryd.networks import links, pools
from wherryd.networks.bridge import Bridge
from wherryd.networks.catalog import BridgeFacts, Network, NetworkCatalog
from wherryd.networks.endpoint import Endpoint
from wherryd.networks.ipam import Address, AddressPool, Interface, Subnet
from wherryd.networks.ipamconfig import Block
from wherryd.networks.netlink import Netlink
from wherryd.networks.pools import Pool
from wherryd.networks.request import NetworkRequest
from wherryd.networks.rules import Policy
from wherryd.networks.settings import Addresses6, BridgeOptions, NetworkSettings, SubinterfaceOptions
from wherryd.networks.subinterfaces import Subinterfaces

_log = logging.getLogger(__name__)
#: Those of networks whose containers have a device and addresses.
DEVICE_DRIVERS = frozenset({"bridge", "macvlan", "ipvlan"})


@dataclass(slots=True)
class Segment:
    """One network with devices. bridge: what carries them, also where that is no bridge. addresses6: None
    without IPv6. user_subnet, user_subnet6: its user chose it. options: of the driver."""

    network: Network
    bridge: Bridge | Subinterfaces
    addresses: AddressPool
    addresses6: AddressPool | None
    options: BridgeOptions
    user_subnet: bool = False
    user_subnet6: bool = False

    @property
    def internal(self) -> bool:
        return self.bridge.policy.internal

    def gateways(self, *, ipv4: bool, ipv6: bool) -> list[Address]:
        """Where the families lead for which it is the way out."""
        return [each for each in self.bridge.gateways if (ipv4 if each.version == 4 else ipv6)]

    def reserve(self, endpoint: Endpoint) -> None:
        """Marks its addresses as taken, as after a restart."""
        if endpoint.address:
            self.addresses.reserve(ipaddress.IPv4Address(endpoint.address))
        if endpoint.address6 and self.addresses6 is not None:
            self.addresses6.reserve(ipaddress.IPv6Address(endpoint.address6))

    def release(self, endpoint: Endpoint) -> None:
        """Gives its addresses back."""
        if endpoint.address:
            self.addresses.release(ipaddress.IPv4Address(endpoint.address))
        if endpoint.address6 and self.addresses6 is not None:
            self.addresses6.release(ipaddress.IPv6Address(endpoint.address6))


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultBridge:
    """What the engine's options say of the predefined network: --bridge, --bip, --bip6, --fixed-cidr (the
    part of the subnet that addresses come from), --mtu, --icc, --ip-masq, --ip. Defaults as dockerd's."""

    device: str
    subnet: ipaddress.IPv4Interface
    subnet6: ipaddress.IPv6Interface | None = None
    ip_range: ipaddress.IPv4Network | None = None
    mtu: int = 0
    icc: bool = True
    masquerade: bool = True
    host_ip: str = ""


class Fabric:
    """Segments by name. The predefined one is there from the beginning, at work after `open`."""

    def __init__(
        self, catalog: NetworkCatalog, setup: DefaultBridge, pools: Sequence[Pool] = (), *, directory: Path
    ) -> None:
        """pools: for networks whose user names no subnet; without any of a family, the usual ones. directory:
        where the containers' namespaces are."""
        self._directory = directory
        self._catalog = catalog
        self._setup = setup
        self._pools = tuple(pools)
        self._default = _default_segment(catalog.named("bridge"), setup)
        self._segments = {"bridge": self._default}
        for network in catalog.all():
            if network.settings is not None and not network.config_only:
                self._segments[network.name] = _segment(network, network.settings, directory)

    @property
    def facts(self) -> BridgeFacts:
        bridge = self._default.bridge
        return BridgeFacts(
            device=bridge.name,
            subnet=bridge.subnet,
            mtu=bridge.mtu,
            subnet6=bridge.subnet6,
            ip_range=str(self._setup.ip_range or ""),
            icc=bridge.policy.icc,
            masquerade=bridge.policy.masquerade,
            host_ip=self._default.options.host_ip,
        )

    def __iter__(self) -> Iterator[Segment]:
        return iter(tuple(self._segments.values()))

    def named(self, name: str) -> Segment:
        """Raises NotFound: a network without devices, or none."""
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
            if segment is self._default:
                segment.addresses, segment.addresses6 = _default_pools(self._setup)
            elif segment.network.settings is not None:
                segment.addresses, segment.addresses6 = _pools(segment.network.settings)

    def uninstall(self) -> None:
        """Removes every bridge and its rules from the kernel."""
        for segment in self:
            if segment.bridge.publishes:
                segment.bridge.open()
            segment.bridge.uninstall()

    def plan(self, request: NetworkRequest) -> NetworkSettings:
        """The request with what the engine has to choose. Raises Forbidden for what is taken, SystemFault."""
        with Netlink() as nl:
            if request.bridge.device and links.find(nl, request.bridge.device) is not None:
                raise Forbidden(
                    f'bridge name "{request.bridge.device}" is taken: this host has a device of that name '
                    "(hint: choose another com.docker.network.bridge.name)"
                )
            subinterfaces = request.subinterfaces and self._with_parent(nl, request.subinterfaces)
            shared = request.subinterfaces is not None
            four = self._chosen(nl, request.ipv4, 4, shared=shared)
            six = self._chosen(nl, request.ipv6, 6, shared=shared) if request.ipv6 is not None else None
        return NetworkSettings(
            interface=four.interface,
            user_subnet=four.user_subnet,
            ip_range=four.ip_range,
            auxiliary=four.auxiliary,
            ipv6=six,
            bridge=request.bridge,
            subinterfaces=subinterfaces,
            # Where no parent is named nothing leads out.
            internal=request.internal or bool(subinterfaces and not subinterfaces.parent),
            attachable=request.attachable,
            labels=request.labels,
            options=request.options,
            ipam_options=request.ipam_options,
            config_from=request.config_from,
        )

    def _with_parent(self, nl: Netlink, wish: SubinterfaceOptions) -> SubinterfaceOptions:
        """Who makes the parent. Raises Forbidden when other networks have it in a way that does not fit."""
        for segment in self:
            other = segment.network.settings.subinterfaces if segment.network.settings else None
            if other is None or not wish.parent or other.parent != wish.parent:
                continue
            if other.driver != wish.driver or (other.mode != wish.mode and _exclusive(wish, other)):
                raise Forbidden(
                    f"the {other.driver} network {segment.network.name} is already using parent interface "
                    f"{wish.parent} in mode {other.mode} (hint: use that mode, or another parent)"
                )
            return replace(wish, made=other.made)
        return replace(wish, made=not wish.parent or links.find(nl, wish.parent) is None)

    def _chosen(self, nl: Netlink, block: Block, version: int, *, shared: bool) -> Addresses6:
        """Of either family: subnet and gateway as asked for, or free ones. shared: a subnet that was asked
        for may be that of a device of this host, whose network the containers join."""
        addresses: list[Interface] = []
        routed: list[Subnet] = []
        addresses += [
            each for _, each in (links.all_addresses6(nl) if version == 6 else links.all_addresses(nl))
        ]
        own = [subnet for segment in self for subnet in segment.bridge.subnets if subnet.version == version]
        if block.subnet is None:
            routed += links.routed_networks6(nl) if version == 6 else links.routed_networks(nl)
            taken = [*own, *routed, *(address.network for address in addresses)]
            subnet = pools.free_subnet(taken, self._pools_of(version), version=version)
        else:
            subnet = block.subnet
            _refuse_overlap(subnet, own, [] if shared else addresses)
        gateway = block.gateway or _first_free(subnet, set(block.auxiliary.values()))
        return Addresses6(
            interface=f"{gateway}/{subnet.prefixlen}",
            user_subnet=block.subnet is not None,
            ip_range=str(block.ip_range) if block.ip_range else "",
            auxiliary={name: str(address) for name, address in block.auxiliary.items()},
        )

    def _pools_of(self, version: int) -> Sequence[Pool]:
        given = [pool for pool in self._pools if pool.base.version == version]
        if given:
            return given
        return pools.DEFAULT_POOLS if version == 4 else [pools.unique_local(self._default.network.id)]

    def add(self, network: Network, settings: NetworkSettings) -> Segment:
        """Makes the bridge and its rules. Raises EngineError with nothing left in the kernel."""
        segment = _segment(network, settings, self._directory)
        with contextlib.ExitStack() as undo:
            undo.callback(segment.bridge.close)
            segment.bridge.open()
            undo.callback(self._uninstall, segment)
            if isinstance(segment.bridge, Subinterfaces):
                segment.bridge.try_out()
            segment.bridge.replace_rules([])
            undo.pop_all()
        self._segments[network.name] = segment
        return segment

    def remove(self, network: Network) -> None:
        """Takes bridge and rules away. Idempotent."""
        segment = self.named(network.name)
        if segment.bridge.publishes:
            segment.bridge.open()
        del self._segments[network.name]
        self._uninstall(segment)
        segment.bridge.close()

    def _uninstall(self, segment: Segment) -> None:
        """A parent that the engine made stays as long as another network is on it."""
        if segment.bridge.publishes or all(other.bridge.name != segment.bridge.name for other in self):
            segment.bridge.uninstall()


def _default_segment(network: Network, setup: DefaultBridge) -> Segment:
    policy = Policy(icc=setup.icc, masquerade=setup.masquerade)
    four, six = _default_pools(setup)
    return Segment(
        network=network,
        bridge=Bridge(setup.device, setup.subnet, subnet6=setup.subnet6, mtu=setup.mtu, policy=policy),
        addresses=four,
        addresses6=six,
        options=BridgeOptions(host_ip=setup.host_ip),
    )


def _default_pools(setup: DefaultBridge) -> tuple[AddressPool, AddressPool | None]:
    six = AddressPool(setup.subnet6) if setup.subnet6 else None
    return AddressPool(setup.subnet, setup.ip_range), six


def _segment(network: Network, settings: NetworkSettings, directory: Path) -> Segment:
    four, six = _pools(settings)
    return Segment(
        network=network,
        bridge=_carrier(network, settings, directory),
        addresses=four,
        addresses6=six,
        options=settings.bridge,
        user_subnet=settings.user_subnet,
        user_subnet6=bool(settings.ipv6 and settings.ipv6.user_subnet),
    )


def _carrier(network: Network, settings: NetworkSettings, directory: Path) -> Bridge | Subinterfaces:
    options = settings.bridge
    subnet6 = settings.ipv6.subnet if settings.ipv6 else None
    if settings.subinterfaces is not None:
        return Subinterfaces(
            network.id,
            settings.subinterfaces,
            settings.subnet,
            directory=directory,
            subnet6=subnet6,
            mtu=options.mtu,
            internal=settings.internal,
        )
    policy = Policy(internal=settings.internal, icc=options.icc, masquerade=options.masquerade)
    return Bridge(network.device, settings.subnet, subnet6=subnet6, mtu=options.mtu, policy=policy)


def _exclusive(wish: SubinterfaceOptions, other: SubinterfaceOptions) -> bool:
    """Whether two modes on one parent exclude each other: all of ipvlan, and macvlan's passthru."""
    return wish.driver == "ipvlan" or "passthru" in (wish.mode, other.mode)


def _pools(settings: NetworkSettings) -> tuple[AddressPool, AddressPool | None]:
    six = settings.ipv6
    return (
        _pool(settings.subnet, settings.ip_range, settings.auxiliary),
        _pool(six.subnet, six.ip_range, six.auxiliary) if six else None,
    )


def _pool(subnet: Interface, ip_range: str, auxiliary: Mapping[str, str]) -> AddressPool:
    part = ipaddress.ip_network(ip_range) if ip_range else None
    return AddressPool(subnet, part, map(ipaddress.ip_address, auxiliary.values()))


def _refuse_overlap(subnet: Subnet, own: Sequence[Subnet], addresses: Sequence[Interface]) -> None:
    """What the user asked for may lie inside a route of the host, but not where a device is."""
    for network in own:
        if pools.overlap(subnet, network):
            raise Forbidden(
                f"invalid pool request: Pool overlaps with other one on this address space: {network}"
            )
    for address in addresses:
        if pools.overlap(subnet, address.network):
            raise Forbidden(
                f"invalid pool request: Pool overlaps with other one on this address space: a device of "
                f"this host has {address} (hint: choose another --subnet)"
            )


def _first_free(subnet: Subnet, taken: set[Address]) -> Address:
    # Not .hosts(): for IPv6 that begins with the router's anycast address.
    for number in range(1, min(subnet.num_addresses - 1, len(taken) + 2)):
        address = subnet.network_address + number
        if address not in taken:
            return address
    raise SystemFault(f"no address of {subnet} is left for the gateway (hint: fewer --aux-address)")
