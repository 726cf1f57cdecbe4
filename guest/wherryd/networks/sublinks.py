"""Devices on top of others: macvlan, ipvlan, VLANs, and the dummy that stands for a parent. All calls block.

Numbers from linux/if_link.h.
"""

import struct
from collections.abc import Mapping

from wherryd.networks import netlink
from wherryd.networks.links import (
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MTU,
    IFLA_NET_NS_FD,
    Link,
    pack_mac,
)
from wherryd.networks.netlink import Message, Netlink, attribute, link_body, nested, text, u32

IFLA_LINK = 5
IFLA_MACVLAN_MODE = 1
IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS = 1, 2
IFLA_VLAN_ID = 1

MACVLAN_MODES: Mapping[str, int] = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES: Mapping[str, int] = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS: Mapping[str, int] = {"bridge": 0, "private": 1, "vepa": 2}

_NEW = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL


def create_macvlan(
    nl: Netlink, name: str, *, parent: Link, mode: str, mtu: int, mac: str = "", netns_fd: int | None = None
) -> None:
    """A device of that name, down, in the namespace or, with None, in the socket's. mac: "" for a random one.

    Raises KernelFault: EOPNOTSUPP from a kernel without macvlan, EBUSY and EINVAL for an unfit parent.
    """
    more = attribute(IFLA_ADDRESS, pack_mac(mac)) if mac else b""
    _create(nl, name, "macvlan", u32(IFLA_MACVLAN_MODE, MACVLAN_MODES[mode]), parent, mtu, more, netns_fd)


def create_ipvlan(
    nl: Netlink, name: str, *, parent: Link, mode: str, flag: str, mtu: int, netns_fd: int | None = None
) -> None:
    """As `create_macvlan`; the MAC is the parent's."""
    data = _u16(IFLA_IPVLAN_MODE, IPVLAN_MODES[mode]) + _u16(IFLA_IPVLAN_FLAGS, IPVLAN_FLAGS[flag])
    _create(nl, name, "ipvlan", data, parent, mtu, b"", netns_fd)


def create_vlan(nl: Netlink, name: str, *, below: Link, vlan_id: int) -> None:
    """IEEE 802.1Q, down. Raises KernelFault."""
    _create(nl, name, "vlan", _u16(IFLA_VLAN_ID, vlan_id), below, below.mtu, b"", None)


def create_dummy(nl: Netlink, name: str) -> None:
    """A device that leads nowhere, down. Raises KernelFault."""
    body = link_body() + text(IFLA_IFNAME, name) + nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "dummy"))
    nl.send([Message(netlink.RTM_NEWLINK, _NEW, body, name)])


def rename(inside: Netlink, link: Link, name: str) -> None:
    """Only a device that is down can be renamed, before Linux 6.1."""
    body = link_body(index=link.index) + text(IFLA_IFNAME, name)
    inside.send([Message(netlink.RTM_SETLINK, 0, body, name)])


def _create(
    nl: Netlink, name: str, kind: str, data: bytes, parent: Link, mtu: int, more: bytes, netns_fd: int | None
) -> None:
    body = link_body() + text(IFLA_IFNAME, name) + u32(IFLA_LINK, parent.index) + u32(IFLA_MTU, mtu) + more
    if netns_fd is not None:
        body += u32(IFLA_NET_NS_FD, netns_fd)
    body += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), nested(IFLA_INFO_DATA, data))
    nl.send([Message(netlink.RTM_NEWLINK, _NEW, body, f"{kind} {name}")])


def _u16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))
