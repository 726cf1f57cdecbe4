"""ExposedPorts and PortBindings of a request as `PortBinding` values, and back as the API's port map."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from wherryd.errors import InvalidParameter
from wherryd.networks.sandbox import PortBinding, Sandbox

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)

#: Bound on what one container may publish: each port costs rules and sockets.
MAX_PUBLISHED = 2048


def wanted(config: Mapping[str, Any], host_config: Mapping[str, Any]) -> dict[str, list[PortBinding]]:
    """What to publish, by container port ("80/tcp"). Raises InvalidParameter."""
    found: dict[str, list[PortBinding]] = {}
    for spec, entries in host_config["PortBindings"].items():
        port, protocol = _single(spec)
        found[f"{port}/{protocol}"] = [
            _binding(entry, port, protocol) for entry in entries or [{"HostIp": "", "HostPort": ""}]
        ]
    if host_config["PublishAllPorts"]:
        for spec in config["ExposedPorts"] or {}:
            port, protocol = _single(spec)
            found.setdefault(f"{port}/{protocol}", [PortBinding("", 0, port, protocol)])
    if sum(map(len, found.values())) > MAX_PUBLISHED:
        raise InvalidParameter(f"PortBindings: more than {MAX_PUBLISHED} published ports")
    return found


def exposed(config: Mapping[str, Any]) -> list[str]:
    """ExposedPorts in their full form. Raises InvalidParameter."""
    return ["/".join(map(str, _single(spec))) for spec in config["ExposedPorts"] or {}]


def _single(spec: str) -> tuple[int, str]:
    match = _PORT.fullmatch(spec)
    if match is None or match[2] or not 1 <= int(match[1]) <= 65535:
        raise InvalidParameter(f'invalid port specification: "{spec}" (hint: 80/tcp)')
    protocol = (match[3] or "tcp").lower()
    return int(match[1]), protocol


def _binding(entry: Mapping[str, str], port: int, protocol: str) -> PortBinding:
    text = entry["HostPort"]
    if not text:
        return PortBinding(entry["HostIp"], 0, port, protocol)
    match = _PORT.fullmatch(text)
    if match is None or match[3] or not all(int(end) <= 65535 for end in (match[1], match[2] or "0")):
        raise InvalidParameter(f'invalid port specification: "{text}" for host port')
    return PortBinding(entry["HostIp"], int(match[1]), port, protocol, int(match[2] or 0))


def port_map(config: Mapping[str, Any], sandbox: Sandbox | None) -> dict[str, list[dict[str, str]] | None]:
    """NetworkSettings.Ports of a running container; exposed and not published ports are null."""
    if sandbox is None:
        return {}
    found: dict[str, list[dict[str, str]] | None] = dict.fromkeys(exposed(config))
    for binding in sandbox.ports:
        entries = found.get(binding.key) or []
        entries.append({"HostIp": binding.host_ip or "0.0.0.0", "HostPort": str(binding.host_port)})  # noqa: S104
        found[binding.key] = entries
    return found


def summary(config: Mapping[str, Any], bindings: Sequence[PortBinding], alive: bool) -> list[dict[str, Any]]:
    """Ports as `GET /containers/json` lists them."""
    found: list[dict[str, Any]] = []
    published = set()
    for binding in bindings:
        published.add(binding.key)
        found.append(
            {
                "IP": binding.host_ip or "0.0.0.0",  # noqa: S104
                "PrivatePort": binding.container_port,
                "PublicPort": binding.host_port,
                "Type": binding.protocol,
            }
        )
    if alive:
        for key in exposed(config):
            if key not in published:
                number, _, protocol = key.partition("/")
                found.append({"PrivatePort": int(number), "Type": protocol})
    return sorted(found, key=lambda port: (port["PrivatePort"], port["Type"], port.get("PublicPort", 0)))
