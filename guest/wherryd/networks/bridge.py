"""One bridge in the kernel: the device, its address and settings, its ports, its rules. All calls block.

The device belongs to the engine: addresses on it that are not ours are removed.
"""

import contextlib
import errno
import ipaddress
import logging
import re
import secrets
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from wherryd.errors import InvalidParameter, KernelFault, SystemFault
from wherryd.networks import conntrack, forwarding, links, namespaces, rules
from wherryd.networks.endpoint import Endpoint
from wherryd.networks.ipam import Address, Subnet, mac_of
from wherryd.networks.links import Link
from wherryd.networks.namespaces import Namespace
from wherryd.networks.netlink import Netlink
from wherryd.networks.nft import Nft, NftFault
from wherryd.networks.rules import Policy, PublishedPort
from wherryd.networks.sandbox import PortBinding

_log = logging.getLogger(__name__)
# A device's name, as far as it is also safe in a rule set and a path. The kernel's limit is 15 bytes.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_VETH = re.compile(r"veth[0-9a-f]{10}")
_FOREIGN_DROP = re.compile(r"hook forward [^;]*; policy drop")


def check_name(name: str, option: str = "--bridge") -> str:
    """The name, when it can be a bridge's. Raises InvalidParameter, which names the option."""
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            f'{option} "{name}": want up to 15 letters, digits, "_", "." or "-", such as wherry0'
        )
    return name


def new_veth_name() -> str:
    return f"veth{secrets.token_hex(5)}"


def published_ports(endpoint: Endpoint, ports: Iterable[PortBinding]) -> list[PublishedPort]:
    """A container's ports as the rules want them, with this endpoint as their target. What has no address
    of its family there is not for the rules: portproxy.py serves it."""
    found = []
    for port in ports:
        host = ipaddress.ip_address(port.host_ip)
        target = endpoint.address if host.version == 4 else endpoint.address6
        if target:
            container = ipaddress.ip_address(target)
            found.append(PublishedPort(port.protocol, host, port.host_port, container, port.container_port))
    return found


class Bridge:
    """Open it before use; close gives up descriptors and leaves everything in the kernel as it is."""

    #: Ports of its containers can be published on this host.
    publishes = True
    #: Each container has a MAC of its own.
    own_macs = True

    def __init__(
        self,
        name: str,
        subnet: ipaddress.IPv4Interface,
        *,
        subnet6: ipaddress.IPv6Interface | None = None,
        mtu: int = 0,
        policy: Policy = Policy(),  # noqa: B008 - frozen
    ) -> None:
        """mtu: bytes; 0 takes that of the host's default route when the bridge is opened. subnet6: None for a
        bridge without IPv6."""
        self.name = check_name(name)
        self.subnet = subnet
        self.subnet6 = subnet6
        self.policy = policy
        self._wanted_mtu = mtu
        self.mtu = mtu or links.DEFAULT_MTU
        self._lock = threading.Lock()  # guards the netlink socket
        self._netlink: Netlink | None = None
        self._nft: Nft | None = None

    def open(self) -> None:
        """The device with its address, up; forwarding on. Idempotent. Raises SystemFault, KernelFault.

        Forwarding is a switch of the whole host: between its other devices it forwards then as well,
        unless its own rules forbid that.
        """
        if self._netlink is not None:
            return
        with contextlib.ExitStack() as undo:
            nl = undo.enter_context(Netlink())
            nft = Nft()
            undo.callback(nft.close)
            self.mtu = self._wanted_mtu or links.default_route_mtu(nl)
            self._ensure_device(nl)
            links.write_sysctl("net/ipv4/ip_forward", "1")
            if self.subnet6 is not None:
                forwarding.enable_ipv6()
            self._warn_of_foreign_drop(nft)
            undo.pop_all()
        self._netlink, self._nft = nl, nft

    def close(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None
        if self._nft is not None:
            self._nft.close()
            self._nft = None

    def _ensure_device(self, nl: Netlink) -> Link:
        link = links.find(nl, self.name)
        if link is None:
            self._refuse_overlap(nl, 0)
            links.create_bridge(nl, self.name, mac=mac_of(self.subnet.ip), mtu=self.mtu)
            link = links.find(nl, self.name)
        if link is None or link.kind != "bridge":
            raise SystemFault(
                f'the network device "{self.name}" exists and is no bridge '
                "(hint: give wherryd another --bridge)"
            )
        self._ensure_address(nl, link)
        self._set_sysctls()
        self._ensure_address6(nl, link)
        links.set_up(nl, link, mtu=self.mtu if link.mtu != self.mtu else None)
        return link

    def _ensure_address(self, nl: Netlink, link: Link) -> None:
        own = [address for index, address in links.all_addresses(nl) if index == link.index]
        for address in own:
            if address != self.subnet:
                nl.send([links.delete_address_message(link.index, address, self.name)])
        if self.subnet in own:
            return
        self._refuse_overlap(nl, link.index)
        nl.send([links.add_address_message(link.index, self.subnet, self.name)])

    def _ensure_address6(self, nl: Netlink, link: Link) -> None:
        if self.subnet6 is None:
            return
        own = [address for index, address in links.all_addresses6(nl) if index == link.index]
        for address in own:
            if address != self.subnet6:
                nl.send([links.delete_address_message(link.index, address, self.name)])
        if self.subnet6 not in own:
            nl.send([links.add_address_message(link.index, self.subnet6, self.name)])

    def _refuse_overlap(self, nl: Netlink, own_index: int) -> None:
        """Two devices with one subnet: which one a packet takes would be a matter of luck."""
        for index, address in links.all_addresses(nl):
            if index != own_index and address.network.overlaps(self.subnet.network):
                raise SystemFault(
                    f"the subnet {self.subnet.network} of the bridge {self.name} overlaps with {address}, "
                    "which another device of this host has (hint: give it another subnet, the default "
                    "bridge by wherryd's --bip, such as 10.211.0.1/16)"
                )

    def _set_sysctls(self) -> None:
        # Lets a packet from 127.0.0.1 be sent to a container and its answer be taken back: rules.py.
        links.write_sysctl(f"net/ipv4/conf/{self.name}/route_localnet", "1")
        # A container must not make itself this host's IPv6 router (the hole that was CVE-2020-13401).
        off = "1" if self.subnet6 is None else "0"
        # Without accept_dad the link-local address counts from the beginning: the kernel asks for a
        # container's MAC from it when it forwards, and nobody else on the bridge can have it.
        for setting, value in (("accept_ra", "0"), ("accept_dad", "0"), ("disable_ipv6", off)):
            try:
                links.write_sysctl(f"net/ipv6/conf/{self.name}/{setting}", value)
            except KernelFault as fault:
                if fault.errno != errno.ENOENT or self.subnet6 is not None:  # a kernel without IPv6
                    raise

    def _warn_of_foreign_drop(self, nft: Nft) -> None:
        if any(_FOREIGN_DROP.search(nft.run(f"list chains {family}\n")) for family in ("ip", "inet")):
            _log.warning("%s", rules.foreign_drop_hint(self.name))

    def plug(self, namespace: Namespace, endpoint: Endpoint, *, gateways: Sequence[Address] = ()) -> None:
        """The endpoint's device in the namespace, plugged into the bridge, with addresses and perhaps the
        default routes. Raises KernelFault; then nothing is left.
        """
        with self._lock:
            nl = self._opened()
            # Looked up each time (30 us): who deletes the bridge by hand gets it back at the next start.
            link = links.find(nl, self.name) or self._ensure_device(nl)
            links.create_veth(
                nl,
                endpoint.veth,
                bridge_index=link.index,
                netns_fd=namespace.fd,
                mac=endpoint.mac,
                mtu=self.mtu,
                device=endpoint.device,
            )
            try:
                if endpoint.address6:
                    namespaces.allow_ipv6(namespace.path, endpoint.device)
                namespaces.set_sysctls(namespace.path, endpoint.device, endpoint.sysctls)
                links.configure_container(
                    namespace.inside,
                    addresses=endpoint.interfaces(self.subnet, self.subnet6),
                    gateways=gateways,
                    device=endpoint.device,
                )
                self._set_port(nl, endpoint.veth)
                self._settle_carrier(nl, endpoint.veth)
                if endpoint.address6:
                    # The same for the container's end: before, it does not hear who asks for its address.
                    links.find(namespace.inside, endpoint.device)
                    links.wait_for_addresses(namespace.inside)
            except BaseException as error:
                try:
                    links.delete(nl, endpoint.veth)
                except KernelFault as second:
                    error.add_note(f"and removing its device failed: {second}")
                raise

    def _set_port(self, nl: Netlink, veth: str) -> None:
        """What the bridge lets through this port."""
        if self.policy.icc:
            self._allow_hairpin(nl, veth)
            return
        link = links.find(nl, veth)
        if link is not None:
            links.set_isolated(nl, link)

    @staticmethod
    def _allow_hairpin(nl: Netlink, veth: str) -> None:
        """Where bridged packets pass the IP rules, a container's call to its own published port is
        translated inside the bridge and has to leave by the port it came from. Elsewhere it need not."""
        switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
        try:
            passes_rules = switch.read_text().strip() == "1"
        except FileNotFoundError:  # the module br_netfilter is not loaded
            return
        link = links.find(nl, veth) if passes_rules else None
        if link is not None:
            links.set_hairpin(nl, link)

    def _settle_carrier(self, nl: Netlink, veth: str) -> None:
        """Makes the kernel act now on "carrier is on", which it otherwise does some milliseconds later.

        Until then the bridge drops what the container sends, and the first thing a quick program sends
        is a lookup that it repeats only after a second. Asking for a device makes the kernel do that
        work at once (Linux 6.8, rtnl_getlink); older ones only answer. First the port, then the bridge,
        whose carrier depends on it.
        """
        links.find(nl, veth)
        links.find(nl, self.name)

    def replug(self, endpoint: Endpoint) -> bool:
        """After a restart: makes sure that the endpoint's device is in the bridge. False: it is gone."""
        with self._lock:
            nl = self._opened()
            link, bridge = links.find(nl, endpoint.veth), links.find(nl, self.name)
            if link is None or bridge is None:
                return False
            if link.master != bridge.index:
                links.set_master(nl, link, bridge.index)
            return True

    def unplug(self, endpoint: Endpoint, *, published: bool) -> None:
        """Removes the pair of devices and the flows to it. Idempotent. Takes 20 to 70 ms.

        published: whether ports were published to it; else there is nothing translated to forget.
        """
        self.delete_device(endpoint.veth)
        if published:
            for address in filter(None, (endpoint.address, endpoint.address6)):
                conntrack.forget_target(ipaddress.ip_address(address))

    def delete_device(self, name: str) -> None:
        """Removes a device, of a veth pair both. Idempotent. On a socket of its own, as it takes long."""
        with Netlink() as nl:
            links.delete(nl, name)

    def stray_veths(self, known: Sequence[str]) -> list[str]:
        """Devices in this bridge that look like ours and belong to no endpoint."""
        with self._lock:
            nl = self._opened()
            everything = links.all_links(nl)
        index = next((link.index for link in everything if link.name == self.name), -1)
        return [
            link.name
            for link in everything
            if link.master == index and _VETH.fullmatch(link.name) and link.name not in known
        ]

    def replace_rules(self, ports: Sequence[PublishedPort]) -> None:
        """Both tables, in one transaction. Raises NftFault."""
        script = rules.whole_table(self.name, self.subnet.network, ports, self.policy)
        if self.subnet6 is not None:
            script += rules.whole_table(self.name, self.subnet6.network, ports, self.policy)
        self._firewall().run(script)

    def publish(self, ports: Sequence[PublishedPort], others: Sequence[PublishedPort]) -> None:
        """All or none; flows that began before follow the new rules. others: all published before.

        Raises NftFault.
        """
        if ports:
            self._change(rules.add_ports(self.name, ports), [*others, *ports])
            conntrack.forget_ports(ports)

    def unpublish(self, ports: Sequence[PublishedPort], others: Sequence[PublishedPort]) -> None:
        """All or none. others: all that stay published. Raises NftFault."""
        if ports:
            self._change(rules.delete_ports(self.name, ports), others)

    def _change(self, script: str, result: Sequence[PublishedPort]) -> None:
        """A small change, or, when the table is not as we left it, the whole table with the same result.

        Debian's nftables.service flushes the whole rule set when it is reloaded, and so do others.
        """
        try:
            self._firewall().run(script)
        except NftFault as fault:
            _log.warning("the rules of %s were changed by somebody, making them anew: %s", self.name, fault)
            self.replace_rules(result)

    def uninstall(self) -> None:
        """Removes the tables and the device. Idempotent."""
        script = rules.delete_table(self.name)
        if self.subnet6 is not None:
            script += rules.delete_table(self.name, "ip6")
        self._firewall().run(script)
        self.delete_device(self.name)

    @property
    def gateways(self) -> list[Address]:
        """The bridge's own addresses."""
        return [self.subnet.ip, *([self.subnet6.ip] if self.subnet6 else [])]

    @property
    def subnets(self) -> list[Subnet]:
        return [self.subnet.network, *([self.subnet6.network] if self.subnet6 else [])]

    @property
    def is_open(self) -> bool:
        return self._netlink is not None

    def _opened(self) -> Netlink:
        if self._netlink is None:
            raise SystemFault("the network service is not open; this is a bug in wherryd")
        return self._netlink

    def _firewall(self) -> Nft:
        if self._nft is None:
            raise SystemFault("the network service is not open; this is a bug in wherryd")
        return self._nft
