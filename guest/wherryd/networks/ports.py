"""Host ports: picking free ones, and holding them against everybody else."""

import errno
import ipaddress
import itertools
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wherryd.errors import Conflict, InvalidParameter, NotSupported
from wherryd.networks.portproxy import PortProxy
from wherryd.networks.sandbox import PortBinding

#: Protocol -> (kind of socket, protocol number for socket(2)).
_KINDS = {
    "tcp": (socket.SOCK_STREAM, 0),
    "udp": (socket.SOCK_DGRAM, 0),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}
# What dockerd takes where the kernel does not say; also the range IANA keeps for this.
_FALLBACK_RANGE = (49153, 65535)
# The default that Docker documents for published ports: every address, of both families.
_ANY, _ANY6 = "0.0.0.0", "::"  # noqa: S104
_BACKLOG = 128


def validate(ports: Mapping[str, Sequence[PortBinding]]) -> tuple[PortBinding, ...]:
    """All bindings, those that can be. Raises InvalidParameter, NotSupported."""
    result = []
    for binding in itertools.chain.from_iterable(ports.values()):
        if binding.protocol not in _KINDS:
            raise InvalidParameter(f"invalid port specification: {binding.key}: want tcp, udp or sctp")
        numbers = (binding.container_port, binding.host_port or 1, binding.host_port_last or 1)
        if not all(1 <= number <= 65535 for number in numbers):
            raise InvalidParameter(f"invalid port specification: {binding}: want numbers from 1 to 65535")
        if 0 < binding.host_port_last < binding.host_port:
            raise InvalidParameter(f"invalid port specification: {binding}: the range runs backwards")
        result.append(replace(binding, host_ip=_host_ip(binding)))
    return tuple(result)


def with_default(bindings: Iterable[PortBinding], host_ip: str) -> list[PortBinding]:
    """host_ip: for those that name none, of an option of their network; "" means every address."""
    return [replace(binding, host_ip=binding.host_ip or host_ip) for binding in bindings]


def _host_ip(binding: PortBinding) -> str:
    """An empty one stays: what it means is the network's to say."""
    if not binding.host_ip:
        return ""
    try:
        address = ipaddress.ip_address(binding.host_ip.strip("[]"))
    except ValueError as error:
        raise InvalidParameter(
            f"invalid port specification: {binding.host_ip!r} is not an IP address"
        ) from error
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise InvalidParameter(
                f"invalid port specification: {binding.host_ip!r}: a link-local address cannot be used"
            )
        address = address.ipv4_mapped or address
    return str(address)


def has_ipv6() -> bool:
    """Whether this host has IPv6 at all: then its loopback has ::1."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@dataclass(slots=True)
class Reservation:
    """One host port, held by an open socket so that no other program takes it meanwhile."""

    binding: PortBinding
    holder: socket.socket | None
    proxy: PortProxy | None = None

    def close(self) -> None:
        """Frees the port. Twice is fine."""
        if self.proxy is not None:
            self.proxy.close()
            self.proxy = None
        if self.holder is not None:
            self.holder.close()
            self.holder = None


class PortTable:
    """The host ports of one service.

    A published port is served by nftables rules, not by the socket that holds it, which is there so that
    bind(2) of anybody else fails, as with dockerd; only what the rules cannot do for IPv6 is served by it
    (portproxy.py). A TCP holder listens, because a bound socket with SO_REUSEADDR that does not listen would
    not stop a second bind.
    """

    def __init__(self, dynamic_range: Callable[[], tuple[int, int, frozenset[int]]] | None = None) -> None:
        self._dynamic_range = dynamic_range or kernel_range
        self._held: dict[tuple[str, int], list[Reservation]] = {}
        self._last_picked = 0

    def reserve(self, bindings: Iterable[PortBinding]) -> list[Reservation]:
        """Holds all or none. Bindings come from `with_default`. Raises Conflict in Docker's wording."""
        done: list[Reservation] = []
        try:
            for binding in bindings:
                done += self._reserve(binding)
        except BaseException:
            self.release(done)
            raise
        return done

    def hold_again(self, binding: PortBinding) -> Reservation:
        """After a restart: the port is ours by record; hold it, also when somebody else listens by now.

        The rules send the traffic to the container in any case. The caller sees `holder is None`.
        """
        try:
            holder: socket.socket | None = _open(binding)
        except OSError:
            holder = None
        return self._enter(Reservation(binding, holder))

    def release(self, reservations: Iterable[Reservation]) -> None:
        """Frees ports at once. Those freed before are ignored."""
        for reservation in reservations:
            reservation.close()
            key = (reservation.binding.protocol, reservation.binding.host_port)
            held = [other for other in self._held.get(key, []) if other is not reservation]
            if held:
                self._held[key] = held
            else:
                self._held.pop(key, None)

    def _enter(self, reservation: Reservation) -> Reservation:
        key = (reservation.binding.protocol, reservation.binding.host_port)
        self._held.setdefault(key, []).append(reservation)
        return reservation

    def _reserve(self, wanted: PortBinding) -> list[Reservation]:
        """One for each family that the binding means, all at one host port."""
        if wanted.host_ip:
            family = [wanted]
        else:
            addresses = (_ANY, _ANY6) if has_ipv6() else (_ANY,)
            family = [replace(wanted, host_ip=address) for address in addresses]
        if wanted.host_port and not wanted.host_port_last:
            return self._reserve_family(family, wanted.host_port)
        refused: Conflict | None = None
        for port in self._candidates(wanted):
            try:
                reservations = self._reserve_family(family, port)
            except Conflict as error:
                refused = error
                continue
            if not wanted.host_port:
                self._last_picked = port
            return reservations
        raise Conflict(f"Bind for {wanted.host_ip or _ANY}:0 failed: all ports are allocated") from refused

    def _reserve_family(self, family: Iterable[PortBinding], port: int) -> list[Reservation]:
        done: list[Reservation] = []
        try:
            for binding in family:
                reservation = self._reserve_exactly(replace(binding, host_port=port, host_port_last=0))
                done.append(reservation)
        except BaseException:
            self.release(done)
            raise
        return done

    def _candidates(self, wanted: PortBinding) -> Iterable[int]:
        if wanted.host_port:
            return range(wanted.host_port, wanted.host_port_last + 1)
        first, last, excluded = self._dynamic_range()
        start = self._last_picked + 1 if first <= self._last_picked < last else first
        ring = itertools.chain(range(start, last + 1), range(first, start))
        return (port for port in ring if port not in excluded)

    def _reserve_exactly(self, binding: PortBinding) -> Reservation:
        for other in self._held.get((binding.protocol, binding.host_port), []):
            if _same_address(binding.host_ip, other.binding.host_ip):
                raise Conflict(
                    f"Bind for {binding.host_ip}:{binding.host_port} failed: port is already allocated"
                )
        try:
            holder = _open(binding)
        except OSError as error:
            if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
                raise NotSupported(
                    f"publishing {binding.key}: this kernel has no {binding.protocol.upper()} "
                    f"(hint: modprobe {binding.protocol})"
                ) from error
            # The Go runtime's wording, which clients look for.
            reason = {
                errno.EADDRINUSE: "address already in use",
                errno.EADDRNOTAVAIL: "cannot assign requested address",
            }.get(error.errno or 0, os.strerror(error.errno or errno.EIO).lower())
            raise Conflict(
                f"failed to bind host port for {binding.host_ip}:{binding.host_port}/{binding.protocol}: "
                f"{reason}"
            ) from error
        return self._enter(Reservation(binding, holder))


def _same_address(one: str, other: str) -> bool:
    return (":" in one) == (":" in other) and (one == other or not {one, other}.isdisjoint({_ANY, _ANY6}))


def _open(binding: PortBinding) -> socket.socket:
    """A socket that holds the port. Raises OSError EADDRINUSE, EADDRNOTAVAIL, EACCES, EPROTONOSUPPORT."""
    kind, protocol = _KINDS[binding.protocol]
    six = ":" in binding.host_ip
    holder = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind | socket.SOCK_CLOEXEC, protocol)
    try:
        if six:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if binding.protocol == "tcp":
            # Old connections in TIME_WAIT do not count as a user of the port.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((binding.host_ip, binding.host_port))
        if binding.protocol == "tcp":
            holder.listen(_BACKLOG if six else 1)
    except BaseException:
        holder.close()
        raise
    return holder


def kernel_range() -> tuple[int, int, frozenset[int]]:
    """(first, last, ports to leave out) for ports nobody named, from the kernel's own settings.

    Source: Documentation/networking/ip-sysctl, ip_local_port_range and ip_local_reserved_ports.
    """
    base = Path("/proc/sys/net/ipv4")
    try:
        first, last = (int(word) for word in (base / "ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        first, last = _FALLBACK_RANGE
    try:
        reserved = parse_port_list((base / "ip_local_reserved_ports").read_text())
    except OSError:
        reserved = frozenset()
    return first, last, reserved


def parse_port_list(listed: str) -> frozenset[int]:
    """ "8080,9000-9002" -> the four ports."""
    ports: set[int] = set()
    for item in listed.strip().split(","):
        if item:
            first, _, last = item.partition("-")
            ports.update(range(int(first), int(last or first) + 1))
    return frozenset(ports)
