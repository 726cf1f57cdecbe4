"""Routing netlink, as small as the engine needs it: encode, send, read the answers.

Why not pyroute2: its generic encoder costs 30 ms and more per container start where these few messages
cost well below one, and importing it costs 100 ms and tens of megabytes. What is here is rtnetlink(7),
netlink(7), linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h; all numbers are theirs.
"""

import errno
import itertools
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wherryd.errors import KernelFault

# netlink(7)
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_EXCL = 0x200
NLM_F_REPLACE = 0x100
NLM_F_CREATE = 0x400
NLM_F_ACK_TLVS = 0x200  # in an answer: attributes follow the error
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSGERR_ATTR_MSG = 1
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10  # do not send my message back inside the error
NETLINK_EXT_ACK = 11  # say in words what was wrong
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

# linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
NAMES = {
    RTM_NEWLINK: "RTM_NEWLINK",
    RTM_DELLINK: "RTM_DELLINK",
    RTM_GETLINK: "RTM_GETLINK",
    RTM_SETLINK: "RTM_SETLINK",
    RTM_NEWADDR: "RTM_NEWADDR",
    RTM_DELADDR: "RTM_DELADDR",
    RTM_GETADDR: "RTM_GETADDR",
    RTM_NEWROUTE: "RTM_NEWROUTE",
    RTM_GETROUTE: "RTM_GETROUTE",
}

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst, src, tos, table, protocol, scope, type, flags
_RECEIVE_BYTES = 65536
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Message:
    """One request: its type, flags beyond REQUEST, body, and what it is about (for errors)."""

    kind: int
    flags: int
    body: bytes
    subject: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a dump or get: the type and the body after the netlink header."""

    kind: int
    body: bytes


def attribute(kind: int, payload: bytes) -> bytes:
    """One nlattr, padded to four bytes."""
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    """A NUL-terminated string attribute."""
    return attribute(kind, value.encode("ascii") + b"\0")


def link_body(*, index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    """struct ifinfomsg with AF_UNSPEC."""
    return _LINK.pack(socket.AF_UNSPEC, 0, index, flags, change)


def address_body(*, prefix_length: int, index: int, family: int = socket.AF_INET) -> bytes:
    """struct ifaddrmsg for a global address."""
    return _ADDRESS.pack(family, prefix_length, 0, 0, index)


def route_body(
    *, prefix_length: int, table: int, protocol: int, scope: int, kind: int, family: int = socket.AF_INET
) -> bytes:
    """struct rtmsg."""
    return _ROUTE.pack(family, prefix_length, 0, 0, table, protocol, scope, kind, 0)


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """Attribute type -> payload, of one level. Truncated input ends the walk (the kernel sends none)."""
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or at + length > len(data):
            break
        found[kind & NLA_TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += length + (-length % 4)
    return found


def parse_link(body: bytes) -> tuple[int, int, dict[int, bytes]]:
    """(interface index, flags, attributes) of an RTM_NEWLINK answer."""
    _, _, index, flags, _ = _LINK.unpack_from(body)
    return index, flags, parse_attributes(body[_LINK.size :])


def parse_address(body: bytes) -> tuple[int, int, dict[int, bytes]]:
    """(interface index, prefix length, attributes) of an RTM_NEWADDR answer."""
    _, prefix_length, _, _, index = _ADDRESS.unpack_from(body)
    return index, prefix_length, parse_attributes(body[_ADDRESS.size :])


def address_flags(body: bytes) -> int:
    """IFA_F_* of an RTM_NEWADDR answer, as far as they fit into the old field."""
    flags: int = _ADDRESS.unpack_from(body)[2]
    return flags


def parse_route(body: bytes) -> tuple[int, int, dict[int, bytes]]:
    """(destination's prefix length, routing table, attributes) of an RTM_NEWROUTE answer."""
    _, prefix_length, _, _, table, *_ = _ROUTE.unpack_from(body)
    return prefix_length, table, parse_attributes(body[_ROUTE.size :])


class Netlink:
    """A netlink socket. It belongs for ever to the network namespace of the thread that made it.

    protocol: NETLINK_ROUTE, or NETLINK_NETFILTER for conntrack.py. Raises OSError EPROTONOSUPPORT.

    Not for use by two threads at once. Close it, or use it in a `with`; closing twice is fine.
    """

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
            # The kernel answers within the call; the limit only turns a kernel bug into an error.
            self._socket.settimeout(_TIMEOUT_SECONDS)
            self._socket.bind((0, 0))
        except BaseException:
            self._socket.close()
            raise
        self._sequence = itertools.count(1)

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, messages: Sequence[Message]) -> None:
        """Sends all in one call; the kernel carries them out in order and answers each.

        The kernel goes on after a failed message, so put only messages together whose later ones do no
        harm then. Raises KernelFault of the first that failed.
        """
        waiting: dict[int, Message] = {}
        packet = b""
        for message in messages:
            sequence = next(self._sequence)
            waiting[sequence] = message
            packet += self._encode(message, sequence, NLM_F_ACK)
        self._transmit(packet)
        fault: KernelFault | None = None
        while waiting:
            for kind, flags, sequence, body in self._receive():
                answered = waiting.pop(sequence, None)
                if answered is None or kind != NLMSG_ERROR:
                    continue
                fault = fault or _fault(answered, flags, body)
        if fault is not None:
            raise fault

    def get(self, message: Message) -> Answer:
        """The one answer to a get request. Raises KernelFault."""
        (answer,) = self._answers(message, 0)
        return answer

    def dump(self, message: Message) -> list[Answer]:
        """All answers to a dump request. Raises KernelFault."""
        return list(self._answers(message, NLM_F_DUMP))

    def _answers(self, message: Message, flags: int) -> Iterator[Answer]:
        wanted = next(self._sequence)
        self._transmit(self._encode(message, wanted, flags))
        while True:
            for kind, answer_flags, sequence, body in self._receive():
                if sequence != wanted:
                    continue
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    fault = _fault(message, answer_flags, body)
                    if fault is not None:
                        raise fault
                    return
                yield Answer(kind, body)
                if not flags:
                    return

    def _transmit(self, packet: bytes) -> None:
        try:
            self._socket.send(packet)
        except OSError as error:
            raise KernelFault("send", "netlink", error.errno or errno.ETIMEDOUT) from error

    @staticmethod
    def _encode(message: Message, sequence: int, flags: int) -> bytes:
        length = _HEADER.size + len(message.body)
        header = _HEADER.pack(length, message.kind, NLM_F_REQUEST | message.flags | flags, sequence, 0)
        return header + message.body + b"\0" * (-length % 4)

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        """(type, flags, sequence, body) of each message in one datagram."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except OSError as error:
            raise KernelFault("recv", "netlink", error.errno or errno.ETIMEDOUT) from error
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
            if length < _HEADER.size:
                break
            yield kind, flags, sequence, data[at + _HEADER.size : at + length]
            at += length + (-length % 4)


def _fault(message: Message, flags: int, body: bytes) -> KernelFault | None:
    """The error in an NLMSG_ERROR, or None for a plain acknowledgement."""
    (negative,) = struct.unpack_from("=i", body)
    if negative == 0:
        return None
    fault = KernelFault(NAMES.get(message.kind, str(message.kind)), message.subject, -negative)
    if flags & NLM_F_ACK_TLVS:
        # struct nlmsgerr: the error, then (CAP_ACK) only the header of our message, then attributes.
        said = parse_attributes(body[4 + _HEADER.size :]).get(NLMSGERR_ATTR_MSG)
        if said:
            fault.add_note(f"the kernel says: {os.fsdecode(said.rstrip(bytes(1)))}")
    return fault
