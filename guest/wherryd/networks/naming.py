"""What containers get for names where neither they nor their networks say otherwise. Pure."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from wherryd.networks.sandbox import Sandbox

#: The user's machine, by the name that Docker Desktop gave it.
HOST_NAME = "host.docker.internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameDefaults:
    """The engine's --dns, --dns-search, --dns-opt and --host-gateway-ip."""

    dns: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    host_gateway: tuple[str, ...] = ()

    def host_addresses(self, sandbox: Sandbox) -> tuple[str, ...]:
        """Where a container finds the user's machine: what the engine was told, else its own gateways. None
        for a container without a way out."""
        gateways = _gateways(sandbox)
        if sandbox.mode == "host":
            return self.host_gateway or ("127.0.0.1",)
        if not gateways:
            return ()
        if not self.host_gateway:
            return gateways
        has_six = any(":" in gateway for gateway in gateways)
        return tuple(each for each in self.host_gateway if has_six or not _is_six(each))


def _is_six(address: str) -> bool:
    return ipaddress.ip_address(address).version == 6


def _gateways(sandbox: Sandbox) -> tuple[str, ...]:
    """The engine's addresses on the first network that has a way out."""
    found: Sequence[str] = next(
        ([each.gateway, each.gateway6] for each in sandbox.attachments if each.gateway or each.gateway6), ()
    )
    return tuple(filter(None, found))
