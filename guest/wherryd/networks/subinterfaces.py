"""A network of subinterfaces: each container has a device of its own on top of one of the host's, its parent
(drivers macvlan and ipvlan). No bridge, no rules, no published ports. All calls block.

The parent is a device that is there, a VLAN that the engine makes when its name says so ("eth0.50": VLAN 50
of eth0), or, where the user names none, a dummy device that leads nowhere. What the engine has made it
removes with the network.

Source: Docker Engine, "Macvlan network driver", "IPvlan network driver"; linux/if_link.h.
"""

import contextlib
import errno
import ipaddress
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from wherryd.errors import Forbidden, KernelFault, NotSupported
from wherryd.networks import links, namespaces, sublinks
from wherryd.networks.endpoint import Endpoint
from wherryd.networks.ipam import Address, Subnet
from wherryd.networks.links import Link
from wherryd.networks.namespaces import Namespace
from wherryd.networks.netlink import Netlink
from wherryd.networks.rules import Policy, PublishedPort
from wherryd.networks.settings import SubinterfaceOptions, vlan_of

_REFUSALS = (errno.EBUSY, errno.EINVAL, errno.ENODEV)


class Subinterfaces:
    """What `Bridge` is for bridge networks. Holds nothing open: `open` looks after the parent only."""

    #: A container is a machine of the parent's network: there is nothing to publish on this host.
    publishes = False

    def __init__(
        self,
        network_id: str,
        options: SubinterfaceOptions,
        subnet: ipaddress.IPv4Interface,
        *,
        directory: Path,
        subnet6: ipaddress.IPv6Interface | None = None,
        mtu: int = 0,
        internal: bool = False,
    ) -> None:
        """directory: where the namespaces' files are. mtu: bytes, 0 for the parent's."""
        self.name = options.parent or f"dm-{network_id[:12]}"
        self.subnet = subnet
        self.subnet6 = subnet6
        self.policy = Policy(internal=internal)
        self.mtu = mtu or links.DEFAULT_MTU
        self._wanted_mtu = mtu
        self._options = options
        self._directory = directory
        self._is_open = False

    # the network

    def open(self) -> None:
        """The parent is there. Idempotent. Raises Forbidden, NotSupported, KernelFault."""
        if not self._is_open:
            with Netlink() as nl:
                self._parent(nl)
            self._is_open = True

    def close(self) -> None:
        self._is_open = False

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def subnets(self) -> list[Subnet]:
        return [self.subnet.network, *([self.subnet6.network] if self.subnet6 else [])]

    @property
    def gateways(self) -> list[Address]:
        """The parent's network's own; with ipvlan on layer 3 unspecified ones: the way out is the device."""
        if self._options.mode in ("l3", "l3s"):
            return [ipaddress.IPv4Address(0), *([ipaddress.IPv6Address(0)] if self.subnet6 else [])]
        return [self.subnet.ip, *([self.subnet6.ip] if self.subnet6 else [])]

    @property
    def own_macs(self) -> bool:
        """Whether each container has a MAC; those of ipvlan all have the parent's."""
        return self._options.driver == "macvlan"

    def try_out(self) -> None:
        """Makes a device as a container would get it and removes it again, so that what the kernel refuses is
        told when the network is made. Raises Forbidden, NotSupported, KernelFault."""
        name = _temporary_name()
        with Netlink() as nl:
            self._make(nl, name, self._parent(nl))
            links.delete(nl, name)

    def uninstall(self) -> None:
        """Removes the parent, if the engine has made it. Idempotent."""
        if self._options.made:
            with Netlink() as nl:
                links.delete(nl, self.name)

    def _parent(self, nl: Netlink) -> Link:
        link = links.find(nl, self.name)
        if link is None:
            self._make_parent(nl)
            link = links.find(nl, self.name)
        if link is None:
            raise Forbidden(
                f"the parent device {self.name} is not there (hint: make it, or name another with "
                "-o parent=DEVICE)"
            )
        if self._options.made and not link.up:
            links.set_up(nl, link)
        self.mtu = self._wanted_mtu or link.mtu
        return link

    def _make_parent(self, nl: Netlink) -> None:
        if not self._options.made:
            return
        if not self._options.parent:
            with _explained("dummy", self.name):
                sublinks.create_dummy(nl, self.name)
            return
        below_name, vlan_id = vlan_of(self.name)
        below = links.find(nl, below_name)
        if below is not None:
            with _explained("vlan", below_name):
                sublinks.create_vlan(nl, self.name, below=below, vlan_id=vlan_id)

    def _make(
        self, nl: Netlink, name: str, parent: Link, *, mac: str = "", netns_fd: int | None = None
    ) -> None:
        options = self._options
        with _explained(options.driver, self.name):
            if options.driver == "macvlan":
                sublinks.create_macvlan(
                    nl, name, parent=parent, mode=options.mode, mtu=self.mtu, mac=mac, netns_fd=netns_fd
                )
            else:
                sublinks.create_ipvlan(
                    nl,
                    name,
                    parent=parent,
                    mode=options.mode,
                    flag=options.flag,
                    mtu=self.mtu,
                    netns_fd=netns_fd,
                )

    # containers

    def plug(self, namespace: Namespace, endpoint: Endpoint, *, gateways: Sequence[Address] = ()) -> None:
        """The endpoint's device in the namespace, with addresses and perhaps the default routes. Raises
        KernelFault and what `open` raises; then nothing is left."""
        name = _temporary_name()
        with Netlink() as nl:
            # Not under its own name: the kernel looks for that among this host's devices, too.
            self._make(nl, name, self._parent(nl), mac=endpoint.mac, netns_fd=namespace.fd)
        try:
            link = links.find(namespace.inside, name)
            if link is not None:
                sublinks.rename(namespace.inside, link, endpoint.device)
            name = endpoint.device
            if endpoint.address6:
                namespaces.allow_ipv6(namespace.path, endpoint.device)
            namespaces.set_sysctls(namespace.path, endpoint.device, endpoint.sysctls)
            links.configure_container(
                namespace.inside,
                addresses=endpoint.interfaces(self.subnet, self.subnet6),
                gateways=gateways,
                device=endpoint.device,
            )
            links.find(namespace.inside, endpoint.device)  # makes the kernel see the carrier now
            if endpoint.address6:
                links.wait_for_addresses(namespace.inside)
        except BaseException as error:
            try:
                links.delete(namespace.inside, name)
            except KernelFault as second:
                error.add_note(f"and removing its device failed: {second}")
            raise

    def unplug(self, endpoint: Endpoint, *, published: bool) -> None:  # noqa: ARG002 - as Bridge
        """Removes the device from the container's namespace, if that is still there. Idempotent."""
        with self._entered(endpoint) as inside:
            if inside is not None:
                links.delete(inside, endpoint.device)

    def replug(self, endpoint: Endpoint) -> bool:
        """After a restart: whether the endpoint's device is there. Nothing can have unplugged it."""
        with self._entered(endpoint) as inside:
            return inside is not None and links.find(inside, endpoint.device) is not None

    @contextlib.contextmanager
    def _entered(self, endpoint: Endpoint) -> Iterator[Netlink | None]:
        if not namespaces.is_namespace(namespaces.path_of(self._directory, endpoint.sandbox_id)):
            yield None
            return
        with contextlib.closing(namespaces.enter(self._directory, endpoint.sandbox_id)) as namespace:
            yield namespace.inside

    # what a bridge has besides

    def stray_veths(self, known: Sequence[str]) -> list[str]:  # noqa: ARG002
        """None: the devices are in the namespaces, and go with them."""
        return []

    def delete_device(self, name: str) -> None:
        """As Bridge; never called, for there are no strays."""

    def replace_rules(self, ports: Sequence[PublishedPort]) -> None:
        """There are none."""

    def publish(self, ports: Sequence[PublishedPort], others: Sequence[PublishedPort]) -> None:
        """Nothing is published."""

    def unpublish(self, ports: Sequence[PublishedPort], others: Sequence[PublishedPort]) -> None:
        """Nothing was published."""


def _temporary_name() -> str:
    return f"wsub{secrets.token_hex(5)}"


@contextlib.contextmanager
def _explained(kind: str, parent: str) -> Iterator[None]:
    """What the kernel says, as a user can use it. Raises NotSupported, Forbidden, KernelFault."""
    try:
        yield
    except KernelFault as fault:
        if fault.errno == errno.EOPNOTSUPP:
            module = "8021q" if kind == "vlan" else kind
            raise NotSupported(
                f"this kernel has no {kind} devices (hint: its module is {module}; or use the bridge driver)"
            ) from fault
        if fault.errno in _REFUSALS:
            raise Forbidden(
                f"a {kind} device on {parent} cannot be made: {fault} (hint: a parent carries devices of one "
                "kind, and none while it is in a bridge)"
            ) from fault
        raise
