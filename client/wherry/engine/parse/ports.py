"""`-p` and `--expose`. Docker's forms: [ip:][host[-host]:]container[-container][/proto], and key=value."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from wherry.errors import UsageProblem

PROTOCOLS = frozenset({"tcp", "udp", "sctp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One container port. host_port is a string, as on the wire: "" = any free one, or a range."""

    container_port: int
    protocol: str
    host_ip: str
    host_port: str

    @property
    def key(self) -> str:
        return f"{self.container_port}/{self.protocol}"


_SPEC = re.compile(r"^(?:(?P<ip>\[[^\]]*\]|[^:]*):)?(?:(?P<host>[^:]*):)?(?P<container>[^:]*)$")


def publish(specs: Iterable[str]) -> tuple[Published, ...]:
    """Every port that the `-p` options name. Raises UsageProblem."""
    return tuple(port for spec in specs for port in _publish(_short(spec)))


def _short(spec: str) -> str:
    """`published=8080,target=80,protocol=udp` -> `8080:80/udp`."""
    if "=" not in spec:
        return spec
    values = {"protocol": "tcp", "published": "", "target": ""}
    for part in spec.split(","):
        key, found, value = part.partition("=")
        if not found or not key:
            raise UsageProblem(f"invalid publish opts format (should be name=value but got '{part}')")
        values[key] = value
    return f"{values['published']}:{values['target']}/{values['protocol']}"


def _publish(spec: str) -> list[Published]:
    address, slash, protocol = spec.rpartition("/")
    if not slash:
        address, protocol = spec, "tcp"
    ip, host, container = _parts(address, spec)
    protocol = protocol.lower()
    if not container:
        raise UsageProblem(f"no port specified: {spec}<empty>")
    if protocol not in PROTOCOLS:
        raise UsageProblem(f"invalid proto: {protocol}")
    first, last = port_range(container, "containerPort")
    if not host:
        return [_one(port, protocol, ip, "") for port in range(first, last + 1)]
    host_first, host_last = port_range(host, "hostPort")
    if first == last:
        # One container port and a range of the host: the engine picks a free one of them.
        shown = str(host_first) if host_first == host_last else f"{host_first}-{host_last}"
        return [_one(first, protocol, ip, shown)]
    if last - first != host_last - host_first:
        raise UsageProblem(f"invalid ranges specified for container and host Ports: {container} and {host}")
    return [
        _one(port, protocol, ip, str(host_port))
        for port, host_port in zip(range(first, last + 1), range(host_first, host_last + 1), strict=True)
    ]


def _parts(address: str, spec: str) -> tuple[str, str, str]:
    """ip, host port and container port. A single part is the container's, two are host:container."""
    match = _SPEC.match(address)
    if match is None:
        raise UsageProblem(f"invalid publish format: {spec}; write [ip:][host:]container[/protocol]")
    ip, host, container = match["ip"], match["host"], match["container"]
    if ip is not None and host is None:
        ip, host = None, ip
    ip = (ip or "").strip("[]")
    if ip:
        try:
            import ipaddress  # for few: it costs a good part of an interpreter's start

            ipaddress.ip_address(ip.partition("%")[0])
        except ValueError:
            raise UsageProblem(f"invalid IP address: {ip}") from None
    return ip, host or "", container


def _one(port: int, protocol: str, ip: str, host_port: str) -> Published:
    return Published(container_port=port, protocol=protocol, host_ip=ip, host_port=host_port)


def port_range(text: str, what: str) -> tuple[int, int]:
    """`80` or `80-82`. what: names the option in the message."""
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise UsageProblem(f"invalid {what}: {text}")
    start, stop = int(first), int(last or first)
    if start > 65535 or stop > 65535 or stop < start:
        raise UsageProblem(f"invalid {what}: {text}")
    return start, stop


def expose(specs: Iterable[str]) -> tuple[str, ...]:
    """`--expose 80-82/udp` -> ("80/udp", "81/udp", "82/udp"). Raises UsageProblem."""
    keys: list[str] = []
    for spec in specs:
        ports, _, protocol = spec.partition("/")
        protocol = protocol.lower() or "tcp"
        if protocol not in PROTOCOLS:
            raise UsageProblem(f"invalid range format for --expose: invalid proto: {protocol}")
        if not ports.partition("-")[0].isdecimal():
            number = f'strconv.ParseUint: parsing "{ports.partition("-")[0]}": invalid syntax'
            raise UsageProblem(f"invalid range format for --expose: {spec}, error: {number}")
        first, last = port_range(ports, f"range format for --expose: {spec}, in part")
        keys += [f"{port}/{protocol}" for port in range(first, last + 1)]
    return tuple(keys)
