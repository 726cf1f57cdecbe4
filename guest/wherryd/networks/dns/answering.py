"""One query of one container -> one answer: names of its networks, or what servers outside say."""

import ipaddress
import logging
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

from wherryd.networks import namespaces, resolv
from wherryd.networks.dns import wire
from wherryd.networks.dns.cache import AnswerCache
from wherryd.networks.dns.directory import NameDirectory
from wherryd.networks.dns.reply import Reply
from wherryd.networks.dns.upstream import MakeSocket, Upstream, plain_socket
from wherryd.networks.ipam import Address
from wherryd.networks.naming import HOST_NAME, NameDefaults

_log = logging.getLogger(__name__)
#: Seconds. Addresses change when containers restart, so clients that keep answers must not keep them long.
LOCAL_TTL = 10
#: Questions to upstream servers at one time, of one container. More are turned away, as dockerd does.
MAX_FORWARDED = 128
_REVERSE, _REVERSE6 = ".in-addr.arpa", ".ip6.arpa"
_A, _PTR, _AAAA = 1, 12, 28
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

    def at_once(self, container_id: str, query: bytes, *, tcp: bool) -> Reply | None:
        """What can be said without asking anybody else; None where `forward` has to."""
        try:
            head = wire.header(query)
        except wire.Malformed:
            return Reply(b"")
        if head.is_answer:
            return Reply(b"")
        if head.opcode != 0:
            return Reply(wire.error(query, wire.NOTIMP))
        try:
            asked = wire.ask(query)
        except wire.Malformed:
            return Reply(wire.error(query, wire.FORMERR))
        if asked.space != wire.IN:
            return None
        local = self._local(container_id, query, asked)
        if local is None or tcp or len(local.message) <= asked.udp_bytes:
            return local
        return Reply(wire.truncated(local.message), lasting=True)

    def _local(self, container_id: str, query: bytes, asked: wire.Question) -> Reply | None:
        """What the container's networks know. An empty answer: the name is there, but not with that type."""
        if asked.name.lower().endswith((_REVERSE, _REVERSE6)):
            return self._reverse(container_id, query, asked.name) if asked.kind == _PTR else None
        addresses = self._directory.addresses(container_id, asked.name)
        if addresses is None and asked.name.lower() == HOST_NAME:
            addresses = self._directory.host_addresses(container_id, self._defaults) or None
        if addresses is None:
            return None
        version = {_A: 4, _AAAA: 6}.get(asked.kind)
        data = [address.packed for address in addresses if address.version == version]
        random.shuffle(data)  # whoever takes the first one shares the load
        message = wire.answer(query, asked.kind, LOCAL_TTL, data)
        if len(data) < 2:
            return Reply(message, lasting=True)
        behind = wire.HEADER_BYTES + len(wire.question(query))
        return Reply(message, lasting=True, fixed=behind, rotating=(len(message) - behind) // len(data))

    def _reverse(self, container_id: str, query: bytes, name: str) -> Reply | None:
        address = reverse_address(name)
        if address is None:
            return None
        found = self._directory.name_of(container_id, address)
        if found is None and not self._directory.is_own(container_id, address):
            return None
        try:
            message = wire.answer(query, _PTR, LOCAL_TTL, [wire.packed_name(found or "")])
        except wire.Malformed:  # there is none, or one that does not fit: labels have 63 bytes
            message = wire.error(query, wire.NXDOMAIN)
        return Reply(message, lasting=True)

    async def forward(self, container_id: str, query: bytes, *, tcp: bool) -> bytes:
        """What the servers outside say, for a query that `at_once` left open."""
        asked = wire.ask(query)
        # SERVFAIL, not NXDOMAIN: that a name does not exist is nothing we can know without asking.
        if not self._directory.reaches_out(container_id):
            return wire.error(query, wire.SERVFAIL)
        own = self._directory.servers(container_id)
        servers = own or self._dns or self._engine_servers()
        # Loopback addresses that the user names mean the container's own loopback.
        inside = bool(own) and any(map(resolv.is_loopback, own))
        key = (
            asked.name.lower(), asked.kind, asked.space, wire.header(query).checking_disabled,
            asked.wants_signatures, tcp, servers, container_id if inside else "",
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
        return answer if tcp or len(answer) <= asked.udp_bytes else wire.truncated(answer)

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
