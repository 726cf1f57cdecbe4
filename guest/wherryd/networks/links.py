"""Devices: the bridge, the veth pair of a container, addresses and routes.

All calls block, for well below 1 ms where nothing else is said.

Numbers from linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h, linux/veth.h, linux/if.h.
"""

import errno
import ipaddress
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wherryd.errors import KernelFault
from wherryd.networks import netlink
from wherryd.networks.ipam import Address, Interface
from wherryd.networks.netlink import Message, Netlink, attribute, link_body, nested, text, u32

IFF_UP = 0x1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 4, 10, 18, 28
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFLA_PROTINFO, IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 12, 4, 33
VETH_INFO_PEER = 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
IFA_F_TENTATIVE = 0x40
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 4, 5, 6
RT_TABLE_MAIN, RTPROT_BOOT, RTN_UNICAST = 254, 3, 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
AF_BRIDGE = 7

# What Linux uses where nobody says: also on hosts without a default route.
DEFAULT_MTU = 1500
_SETTLE_ROUNDS, _SETTLE_SECONDS = 400, 0.0005
FIRST_DEVICE = "eth0"


@dataclass(frozen=True, slots=True)
class Link:
    """A device as the kernel lists it. master: index of its bridge, or 0. kind: "veth", ... or ""."""

    index: int
    name: str
    master: int
    mtu: int
    mac: str
    kind: str
    up: bool


def pack_mac(mac: str) -> bytes:
    """ "02:42:ac:11:00:02" -> six bytes. Raises ValueError."""
    raw = bytes.fromhex(mac.replace(":", "").replace("-", ""))
    if len(raw) != 6:
        raise ValueError(f"{mac!r} does not have six bytes")
    return raw


def _link(body: bytes) -> Link:
    index, flags, attributes = netlink.parse_link(body)
    info = netlink.parse_attributes(attributes.get(IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=attributes[IFLA_IFNAME].rstrip(b"\0").decode(),
        master=_u32(attributes.get(IFLA_MASTER)),
        mtu=_u32(attributes.get(IFLA_MTU)),
        mac=attributes.get(IFLA_ADDRESS, b"").hex(":"),
        kind=info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode(),
        up=bool(flags & IFF_UP),
    )


def _u32(payload: bytes | None) -> int:
    if payload is None:
        return 0
    (value,) = struct.unpack_from("=I", payload)
    return int(value)


def find(nl: Netlink, name: str) -> Link | None:
    """The device of that name, or None."""
    try:
        answer = nl.get(Message(netlink.RTM_GETLINK, 0, link_body() + text(IFLA_IFNAME, name), name))
    except KernelFault as fault:
        if fault.errno == errno.ENODEV:
            return None
        raise
    return _link(answer.body)


def all_links(nl: Netlink) -> list[Link]:
    """Every device of the socket's namespace."""
    return [_link(answer.body) for answer in nl.dump(Message(netlink.RTM_GETLINK, 0, link_body(), "devices"))]


def create_bridge(nl: Netlink, name: str, *, mac: str, mtu: int) -> None:
    """A bridge, down, without address. Raises KernelFault EEXIST.

    The MAC is fixed: a bridge without one takes the lowest of its ports', and would change it (and so
    break every container's neighbour table) as containers come and go.
    """
    body = (
        link_body()
        + text(IFLA_IFNAME, name)
        + attribute(IFLA_ADDRESS, pack_mac(mac))
        + u32(IFLA_MTU, mtu)
        + nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"))
    )
    nl.send([Message(netlink.RTM_NEWLINK, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body, name)])


def set_up(nl: Netlink, link: Link, *, mtu: int | None = None) -> None:
    """Brings a device up, with another MTU when given."""
    body = link_body(index=link.index, flags=IFF_UP, change=IFF_UP)
    if mtu is not None:
        body += u32(IFLA_MTU, mtu)
    nl.send([Message(netlink.RTM_SETLINK, 0, body, link.name)])


def set_master(nl: Netlink, link: Link, bridge_index: int) -> None:
    """Plugs a device into a bridge and brings it up."""
    body = link_body(index=link.index, flags=IFF_UP, change=IFF_UP) + u32(IFLA_MASTER, bridge_index)
    nl.send([Message(netlink.RTM_SETLINK, 0, body, link.name)])


def set_hairpin(nl: Netlink, link: Link) -> None:
    """Lets frames leave a bridge's port through which they came (bridge(8), "hairpin on")."""
    _switch_on(nl, link, IFLA_BRPORT_MODE)


def set_isolated(nl: Netlink, link: Link) -> None:
    """Lets a port talk to the bridge itself only, not to other such ports (bridge(8), "isolated on")."""
    _switch_on(nl, link, IFLA_BRPORT_ISOLATED)


def _switch_on(nl: Netlink, link: Link, setting: int) -> None:
    body = struct.pack("=BxHiII", AF_BRIDGE, 0, link.index, 0, 0) + nested(
        IFLA_PROTINFO, attribute(setting, b"\1")
    )
    nl.send([Message(netlink.RTM_SETLINK, 0, body, link.name)])


def delete(nl: Netlink, name: str) -> bool:
    """Removes a device, of a veth pair both ends. False when there was none. Takes 10 ms and more."""
    try:
        nl.send([Message(netlink.RTM_DELLINK, 0, link_body() + text(IFLA_IFNAME, name), name)])
    except KernelFault as fault:
        if fault.errno == errno.ENODEV:
            return False
        raise
    return True


def all_addresses(nl: Netlink) -> list[tuple[int, ipaddress.IPv4Interface]]:
    """(device index, IPv4 address) of the socket's namespace, in the kernel's order."""
    return [
        (owner, ipaddress.IPv4Interface((local, length)))
        for owner, length, local in _addresses(nl, socket.AF_INET)
    ]


def all_addresses6(nl: Netlink) -> list[tuple[int, ipaddress.IPv6Interface]]:
    """(device index, IPv6 address), without the link-local ones that the kernel makes itself."""
    found = [
        (owner, ipaddress.IPv6Interface((local, length)))
        for owner, length, local in _addresses(nl, socket.AF_INET6)
    ]
    return [(owner, address) for owner, address in found if not address.is_link_local]


def _addresses(nl: Netlink, family: int) -> list[tuple[int, int, bytes]]:
    """(device index, prefix length, address)."""
    body = netlink.address_body(prefix_length=0, index=0, family=family)
    found = []
    for answer in nl.dump(Message(netlink.RTM_GETADDR, 0, body, "addresses")):
        owner, prefix_length, attributes = netlink.parse_address(answer.body)
        local = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS)
        if local is not None and len(local) == (4 if family == socket.AF_INET else 16):
            found.append((owner, prefix_length, local))
    return found


def add_address_message(index: int, address: Interface, subject: str) -> Message:
    """Request that gives a device an address, of IPv4 with its broadcast address."""
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE
    return Message(netlink.RTM_NEWADDR, flags, _address_body(index, address), f"{address} on {subject}")


def delete_address_message(index: int, address: Interface, subject: str) -> Message:
    """Request that takes an address away from a device."""
    return Message(netlink.RTM_DELADDR, 0, _address_body(index, address), f"{address} on {subject}")


def _address_body(index: int, address: Interface) -> bytes:
    length = address.network.prefixlen
    if isinstance(address, ipaddress.IPv6Interface):
        # No IFA_F_NODAD, which would hide when it can be used: accept_dad is off where we give addresses.
        head = netlink.address_body(prefix_length=length, index=index, family=socket.AF_INET6)
        return head + attribute(IFA_LOCAL, address.ip.packed) + attribute(IFA_ADDRESS, address.ip.packed)
    return (
        netlink.address_body(prefix_length=length, index=index)
        + attribute(IFA_LOCAL, address.ip.packed)
        + attribute(IFA_ADDRESS, address.ip.packed)
        + attribute(IFA_BROADCAST, address.network.broadcast_address.packed)
    )


def wait_for_addresses(inside: Netlink) -> None:
    """Until the kernel has taken up every IPv6 address of a namespace whose devices have accept_dad off.

    That is done by a worker of the kernel, mostly within a millisecond; before, nobody who asks for the
    address gets an answer, and asks again only after a second.
    """
    body = netlink.address_body(prefix_length=0, index=0, family=socket.AF_INET6)
    for _ in range(_SETTLE_ROUNDS):
        answers = inside.dump(Message(netlink.RTM_GETADDR, 0, body, "addresses"))
        if not any(netlink.address_flags(answer.body) & IFA_F_TENTATIVE for answer in answers):
            return
        time.sleep(_SETTLE_SECONDS)


def default_route_mtu(nl: Netlink) -> int:
    """MTU of the device of the IPv4 default route with the lowest metric; 1500 without such a route."""
    best: tuple[int, int] | None = None
    for prefix_length, table, attributes in _routes(nl):
        if prefix_length == 0 and table == RT_TABLE_MAIN and RTA_OIF in attributes:
            candidate = (_u32(attributes.get(RTA_PRIORITY)), _u32(attributes[RTA_OIF]))
            best = candidate if best is None else min(best, candidate)
    if best is None:
        return DEFAULT_MTU
    for link in all_links(nl):
        if link.index == best[1]:
            return link.mtu
    return DEFAULT_MTU


def _routes(nl: Netlink, family: int = socket.AF_INET) -> list[tuple[int, int, dict[int, bytes]]]:
    """(destination's prefix length, table, attributes) of every route of the socket's namespace."""
    body = netlink.route_body(prefix_length=0, table=0, protocol=0, scope=0, kind=0, family=family)
    request = Message(netlink.RTM_GETROUTE, 0, body, "routes")
    return [netlink.parse_route(answer.body) for answer in nl.dump(request)]


def routed_networks(nl: Netlink) -> list[ipaddress.IPv4Network]:
    """Where the main table's routes lead, the default route left out."""
    return [
        ipaddress.IPv4Network((attributes[RTA_DST], prefix_length))
        for prefix_length, table, attributes in _routes(nl)
        if table == RT_TABLE_MAIN and prefix_length > 0 and RTA_DST in attributes
    ]


def routed_networks6(nl: Netlink) -> list[ipaddress.IPv6Network]:
    """The same for IPv6, link-local networks left out."""
    found = [
        ipaddress.IPv6Network((attributes[RTA_DST], prefix_length), strict=False)
        for prefix_length, table, attributes in _routes(nl, socket.AF_INET6)
        if table == RT_TABLE_MAIN and prefix_length > 0 and RTA_DST in attributes
    ]
    return [network for network in found if not network.is_link_local and not network.is_multicast]


def create_veth(
    nl: Netlink,
    name: str,
    *,
    bridge_index: int,
    netns_fd: int,
    mac: str,
    mtu: int,
    device: str = FIRST_DEVICE,
) -> None:
    """One request makes the pair: our end up and in the bridge, the other as `device` in the namespace, down.

    The other end cannot be up yet: the kernel ties the two together only after it has set up both.
    """
    peer = link_body() + text(IFLA_IFNAME, device) + attribute(IFLA_ADDRESS, pack_mac(mac))
    peer += u32(IFLA_MTU, mtu) + u32(IFLA_NET_NS_FD, netns_fd)
    body = (
        link_body(flags=IFF_UP, change=IFF_UP)
        + text(IFLA_IFNAME, name)
        + u32(IFLA_MTU, mtu)
        + u32(IFLA_MASTER, bridge_index)
        + nested(
            IFLA_LINKINFO,
            text(IFLA_INFO_KIND, "veth"),
            nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer)),
        )
    )
    nl.send([Message(netlink.RTM_NEWLINK, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body, name)])


def configure_container(
    inside: Netlink,
    *,
    addresses: Sequence[Interface],
    gateways: Sequence[Address] = (),
    device: str = FIRST_DEVICE,
) -> None:
    """The device up, its addresses, and with gateways the default routes, in place of earlier ones.

    inside: a socket of the container's namespace. IPv6 addresses need IPv6 to be on for the device.
    """
    link = _inside(inside, device)
    up = Message(netlink.RTM_SETLINK, 0, link_body(index=link.index, flags=IFF_UP, change=IFF_UP), device)
    messages = [up, *(add_address_message(link.index, address, device) for address in addresses)]
    messages += [_default_route(link.index, gateway) for gateway in gateways]
    inside.send(messages)


def set_default_routes(inside: Netlink, *, gateways: Sequence[Address], device: str) -> None:
    """In place of earlier ones."""
    index = _inside(inside, device).index
    inside.send([_default_route(index, gateway) for gateway in gateways])


def _inside(inside: Netlink, device: str) -> Link:
    link = find(inside, device)
    if link is None:
        raise KernelFault("RTM_GETLINK", device, errno.ENODEV)
    return link


def _default_route(index: int, gateway: Address) -> Message:
    """gateway: an unspecified one means that the device itself leads everywhere."""
    family = socket.AF_INET if gateway.version == 4 else socket.AF_INET6
    scope = RT_SCOPE_LINK if gateway.is_unspecified and gateway.version == 4 else RT_SCOPE_UNIVERSE
    body = _default_route_body(family, scope) + u32(RTA_OIF, index)
    if not gateway.is_unspecified:
        body += attribute(RTA_GATEWAY, gateway.packed)
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE
    return Message(netlink.RTM_NEWROUTE, flags, body, f"default via {gateway}")


def _default_route_body(family: int, scope: int) -> bytes:
    return netlink.route_body(
        prefix_length=0,
        table=RT_TABLE_MAIN,
        protocol=RTPROT_BOOT,
        scope=scope,
        kind=RTN_UNICAST,
        family=family,
    )


def loopback_up(inside: Netlink) -> None:
    """lo up; the kernel gives it 127.0.0.1 and ::1 by itself."""
    body = link_body(flags=IFF_UP, change=IFF_UP) + text(IFLA_IFNAME, "lo")
    inside.send([Message(netlink.RTM_SETLINK, 0, body, "lo")])


def write_sysctl(name: str, value: str) -> None:
    """Sets a sysctl, given as a path below /proc/sys, in the calling thread's namespace.

    Raises KernelFault; ENOENT means that this kernel does not have it.
    """
    try:
        Path("/proc/sys", name).write_text(value, encoding="ascii")
    except OSError as error:
        raise KernelFault("write", f"/proc/sys/{name}", error.errno or errno.EIO) from error
