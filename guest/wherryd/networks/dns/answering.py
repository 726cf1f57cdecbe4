"""One query of one container -> one answer."""

import ipaddress
import logging
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wherryd import later
from wherryd.networks import namespaces, resolv
from wherryd.networks.dns import wire
from wherryd.networks.dns.cache import AnswerCache
from wherryd.networks.dns.directory import NameDirectory
from wherryd.networks.dns.upstream import MakeSocket, Upstream, plain_socket
from wherryd.networks.ipam import Address
from wherryd.networks.naming import HOST_NAME, NameDefaults

if TYPE_CHECKING:
    import dnslib
else:
    dnslib = later.module("dnslib")

_log = logging.getLogger(__name__)
#: Seconds. Addresses change when containers restart, so clients that keep answers must not keep them long.
LOCAL_TTL = 10
#: Questions to upstream servers at one time, of one container. More are turned away, as dockerd does.
MAX_FORWARDED = 128
_REVERSE, _REVERSE6 = ".in-addr.arpa", ".ip6.arpa"
_A, _PTR, _AAAA, _IN = 1, 12, 28, 1
_DNSSEC_OK = 0x8000
#: The file with the engine's own servers is looked at again after so many seconds.
_UPSTREAM_SECONDS = 5.0

NamespacePath = Callable[[str], Path | None]


class Answerer:
    """names: the engine's. namespace_path: of a container, for servers inside of it."""

    def __init__(self, directory: NameDirectory, names: NameDefaults, namespace_path: NamespacePath) -> None:
        self._directory = directory
        self._defaults = names
        self._dns = names.dns
        self._namespace_path = namespace_path
        self._cache = AnswerCache()
        self._upstream = Upstream()
        self._forwarding: dict[str, int] = {}
        self._own_servers: tuple[float, tuple[str, ...]] = (0.0, ())

    async def answer(self, container_id: str, query: bytes, *, tcp: bool) -> bytes | None:
        """None for what deserves no answer: it is none of a client's questions."""
        try:
            head = wire.header(query)
        except wire.Malformed:
            return None
        if head.is_answer:
            return None
        if head.opcode != 0:
            return wire.error(query, wire.NOTIMP)
        try:
            asked = dnslib.DNSRecord.parse(query)
        except (dnslib.DNSError, ValueError, IndexError):
            return wire.error(query, wire.FORMERR)
        if head.counts[0] != 1:
            return wire.error(query, wire.FORMERR)
        local = self._local(container_id, asked)
        if local is not None:
            packed = bytes(local.pack())
            return packed if tcp or len(packed) <= _udp_limit(asked) else wire.truncated(packed)
        return await self._forward(container_id, query, asked, tcp=tcp)

    def _local(self, container_id: str, asked: "dnslib.DNSRecord") -> "dnslib.DNSRecord | None":
        """What the container's networks know. An empty answer: the name is there, but not with that type."""
        name = str(asked.q.qname).removesuffix(".")
        if asked.q.qclass != _IN:
            return None
        if name.lower().endswith((_REVERSE, _REVERSE6)):
            return self._reverse(container_id, asked, name) if asked.q.qtype == _PTR else None
        addresses = self._directory.addresses(container_id, name)
        if addresses is None and name.lower() == HOST_NAME:
            addresses = self._directory.host_addresses(container_id, self._defaults) or None
        if addresses is None:
            return None
        reply = asked.reply(aa=0)
        version, data = {_A: (4, dnslib.A), _AAAA: (6, dnslib.AAAA)}.get(asked.q.qtype, (0, None))
        random.shuffle(addresses)  # whoever takes the first one shares the load
        for address in addresses:
            if data is not None and address.version == version:
                record = data(str(address))
                reply.add_answer(dnslib.RR(asked.q.qname, asked.q.qtype, _IN, LOCAL_TTL, record))
        return reply

    def _reverse(self, container_id: str, asked: "dnslib.DNSRecord", name: str) -> "dnslib.DNSRecord | None":
        address = reverse_address(name)
        if address is None:
            return None
        found = self._directory.name_of(container_id, address)
        reply = asked.reply(aa=0)
        if found is None and not self._directory.is_own(container_id, address):
            return None
        try:
            target = dnslib.PTR(f"{found or ''}.")
        except ValueError:  # a name that does not fit: labels have 63 bytes
            found = None
        if found is None:
            reply.header.rcode = wire.NXDOMAIN
        else:
            reply.add_answer(dnslib.RR(asked.q.qname, _PTR, _IN, LOCAL_TTL, target))
        return reply

    async def _forward(
        self, container_id: str, query: bytes, asked: "dnslib.DNSRecord", *, tcp: bool
    ) -> bytes:
        # SERVFAIL, not NXDOMAIN: that a name does not exist is nothing we can know without asking.
        if not self._directory.reaches_out(container_id):
            return wire.error(query, wire.SERVFAIL)
        own = self._directory.servers(container_id)
        servers = own or self._dns or self._engine_servers()
        # Loopback addresses that the user names mean the container's own loopback.
        inside = bool(own) and any(map(resolv.is_loopback, own))
        key = (
            str(asked.q.qname).lower(), asked.q.qtype, asked.q.qclass, asked.header.cd, _dnssec(asked),
            tcp, servers, container_id if inside else "",
        )  # fmt: skip
        kept = self._cache.get(key, query, time.monotonic())
        if kept is not None:
            return kept
        if self._forwarding.get(container_id, 0) >= MAX_FORWARDED:
            return wire.error(query, wire.SERVFAIL)
        self._forwarding[container_id] = self._forwarding.get(container_id, 0) + 1
        try:
            made = self._inside(container_id) if inside else plain_socket
            answer = await self._upstream.ask(query, servers, tcp=tcp, make_socket=made)
        finally:
            self._forwarding[container_id] -= 1
            if not self._forwarding[container_id]:
                del self._forwarding[container_id]
        if answer is None:
            return wire.error(query, wire.SERVFAIL)
        try:
            self._cache.put(key, answer, time.monotonic())
        except wire.Malformed:
            _log.debug("a name server of container %s sent a broken answer", container_id)
            return wire.error(query, wire.SERVFAIL)
        return answer if tcp or len(answer) <= _udp_limit(asked) else wire.truncated(answer)

    def _inside(self, container_id: str) -> MakeSocket:
        def make(family: int, kind: int) -> socket.socket:
            path = self._namespace_path(container_id)
            if path is None:
                raise ConnectionError("the container has gone")
            return namespaces.make_inside(path, lambda: plain_socket(family, kind))

        return make

    def _engine_servers(self) -> tuple[str, ...]:
        """The engine's own: it asks from its own namespace, so a stub on its loopback serves, too."""
        looked, servers = self._own_servers
        now = time.monotonic()
        if not servers or now - looked > _UPSTREAM_SECONDS:
            found = resolv.parse(resolv.read_upstream(upstream_files=())).nameservers
            servers = found or resolv.FALLBACK_SERVERS
            self._own_servers = (now, servers)
        return servers


def reverse_address(name: str) -> Address | None:
    """4.3.2.1.in-addr.arpa -> 1.2.3.4, and the same for ip6.arpa; None for what is no whole address."""
    lowered = name.lower()
    try:
        if lowered.endswith(_REVERSE):
            return ipaddress.IPv4Address(".".join(reversed(lowered.removesuffix(_REVERSE).split("."))))
        digits = lowered.removesuffix(_REVERSE6).split(".")
        if len(digits) != 32 or any(len(digit) != 1 for digit in digits):
            return None
        return ipaddress.IPv6Address(int("".join(reversed(digits)), 16))
    except ValueError:
        return None


def _udp_limit(asked: "dnslib.DNSRecord") -> int:
    """Bytes that the client takes in one datagram: what its EDNS record says (RFC 6891), or 512."""
    for record in asked.ar:
        if record.rtype == wire.OPT:
            return max(wire.MAX_UDP_BYTES, int(record.rclass))
    return wire.MAX_UDP_BYTES


def _dnssec(asked: "dnslib.DNSRecord") -> bool:
    return any(record.rtype == wire.OPT and record.ttl & _DNSSEC_OK for record in asked.ar)
