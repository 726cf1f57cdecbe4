"""Makes the kernel forget flows that a change of the rules has made wrong.

The nat chains are asked only for the first packet of a flow. So a UDP client that began before its port
was published, or talks on after the container behind it is gone, would be sent to the old place for as
long as it keeps sending; and so would a TCP client that reuses its source port.

Numbers from linux/netfilter/nfnetlink.h and linux/netfilter/nfnetlink_conntrack.h.
"""

import errno
import ipaddress
import logging
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from wherryd.errors import KernelFault
from wherryd.networks.ipam import Address
from wherryd.networks.netlink import Answer, Message, Netlink, attribute, nested, parse_attributes
from wherryd.networks.rules import EVERY_ADDRESS, EVERY_ADDRESS6, PublishedPort

_log = logging.getLogger(__name__)

NETLINK_NETFILTER = 12
_CONNTRACK = 1 << 8  # NFNL_SUBSYS_CTNETLINK
IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE = _CONNTRACK | 1, _CONNTRACK | 2
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ZONE = 1, 2, 18
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST = 1, 2, 3, 4
CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 1, 3
_GENERIC = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource id


@dataclass(frozen=True, slots=True)
class Flow:
    """One entry. target: who answers, after translation. raw_*: as the kernel wants them back."""

    protocol: int
    destination: Address
    destination_port: int
    target: Address
    raw_tuple: bytes
    raw_zone: bytes | None


def forget_ports(ports: Iterable[PublishedPort]) -> int:
    """Forgets UDP flows to these host ports; returns how many. Call after the ports were published."""
    wanted = {(port.host_ip, port.host_port) for port in ports if port.protocol == "udp"}

    def chosen(flow: Flow) -> bool:
        every = EVERY_ADDRESS if flow.destination.version == 4 else EVERY_ADDRESS6
        return flow.protocol == socket.IPPROTO_UDP and not wanted.isdisjoint(
            {(every, flow.destination_port), (flow.destination, flow.destination_port)}
        )

    return sum(_forget(chosen, version) for version in sorted({ip.version for ip, _ in wanted}))


def forget_target(address: Address) -> int:
    """Forgets every flow that this container answers; returns how many. Call after its ports are gone."""
    return _forget(lambda flow: flow.target == address, address.version)


def _forget(chosen: Callable[[Flow], bool], version: int) -> int:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with Netlink(NETLINK_NETFILTER) as nl:
            answers = nl.dump(Message(IPCTNL_MSG_CT_GET, 0, _GENERIC.pack(family, 0, 0), "flows"))
            flows = [flow for flow in map(parse_flow, answers) if flow is not None and chosen(flow)]
            return sum(_delete(nl, flow) for flow in flows)
    except (KernelFault, OSError) as error:
        # A kernel without nf_conntrack_netlink. The flows end by themselves: UDP after 30 s of silence.
        _log.warning("cannot forget old flows: %s (hint: modprobe nf_conntrack_netlink)", error)
        return 0


def _delete(nl: Netlink, flow: Flow) -> bool:
    family = socket.AF_INET if flow.destination.version == 4 else socket.AF_INET6
    body = _GENERIC.pack(family, 0, 0) + nested(CTA_TUPLE_ORIG, flow.raw_tuple)
    if flow.raw_zone is not None:
        body += attribute(CTA_ZONE, flow.raw_zone)
    try:
        nl.send([Message(IPCTNL_MSG_CT_DELETE, 0, body, f"flow to {flow.destination}")])
    except KernelFault as fault:
        if fault.errno == errno.ENOENT:  # it ended meanwhile
            return False
        raise
    return True


def parse_flow(answer: Answer) -> Flow | None:
    """None for a protocol without ports."""
    entry = parse_attributes(answer.body[_GENERIC.size :])
    original = parse_attributes(entry[CTA_TUPLE_ORIG])
    addresses = parse_attributes(original[CTA_TUPLE_IP])
    protocol = parse_attributes(original[CTA_TUPLE_PROTO])
    reply = parse_attributes(parse_attributes(entry[CTA_TUPLE_REPLY])[CTA_TUPLE_IP])
    if CTA_PROTO_DST_PORT not in protocol:
        return None
    return Flow(
        protocol=protocol[CTA_PROTO_NUM][0],
        destination=_address(addresses, CTA_IP_V4_DST, CTA_IP_V6_DST),
        destination_port=int.from_bytes(protocol[CTA_PROTO_DST_PORT], "big"),
        target=_address(reply, CTA_IP_V4_SRC, CTA_IP_V6_SRC),
        raw_tuple=entry[CTA_TUPLE_ORIG],
        raw_zone=entry.get(CTA_ZONE),
    )


def _address(attributes: Mapping[int, bytes], four: int, six: int) -> Address:
    if four in attributes:
        return ipaddress.IPv4Address(attributes[four])
    return ipaddress.IPv6Address(attributes[six])
