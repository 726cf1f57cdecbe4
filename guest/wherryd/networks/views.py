"""Sandboxes and endpoints as others see them: `Sandbox`, and the API's NetworkContainer. Pure."""

import ipaddress
from pathlib import Path
from typing import TypeAlias

from wherryd.networks.catalog import Network
from wherryd.networks.endpoint import Endpoint, SandboxRecord
from wherryd.networks.ipam import Interface
from wherryd.networks.members import dns_names
from wherryd.networks.namespaces import owner_of, path_of
from wherryd.networks.sandbox import Attachment, Sandbox

Subnets: TypeAlias = tuple[ipaddress.IPv4Interface | None, ipaddress.IPv6Interface | None]


def sandbox_of(
    record: SandboxRecord, attachments: tuple[Attachment, ...], directory: Path, *, resolver: bool
) -> Sandbox:
    """directory: where the namespaces' files are. attachments: the one with the default route first."""
    path = None if record.host_namespace else str(path_of(directory, record.sandbox_id))
    joined = record.mode.startswith("container:")
    return Sandbox(
        sandbox_id=record.sandbox_id,
        netns_path=path,
        # Docker shows a key for the host's namespace as well, and none for a borrowed one.
        key="" if joined else path or str(directory / "default"),
        mode=record.mode,
        attachments=attachments,
        ports=record.ports,
        resolver=resolver,
        userns_path=str(owner_of(Path(path))) if path and record.id_base else None,
        id_base=record.id_base,
    )


def attachment_of(
    endpoint: Endpoint,
    record: SandboxRecord,
    network: Network,
    subnets: Subnets,
    container_name: str,
) -> Attachment:
    """subnets: of IPv4 and IPv6, as far as the network has them."""
    settings = network.settings
    four, six = subnets
    internal = bool(settings and settings.internal)
    led = not internal and not (settings and settings.routed_by_host)
    return Attachment(
        network=network.name,
        network_id=network.id,
        endpoint_id=endpoint.endpoint_id,
        ip=endpoint.address,
        prefix_length=four.network.prefixlen if endpoint.address and four else 0,
        gateway=str(four.ip) if endpoint.address and four and led else "",
        ip6=endpoint.address6,
        prefix_length6=six.network.prefixlen if endpoint.address6 and six else 0,
        gateway6=str(six.ip) if endpoint.address6 and six and led else "",
        mac=endpoint.mac,
        user_defined=network.user_defined,
        internal=internal,
        gw_priority=endpoint.gw_priority,
        dns_names=dns_names(endpoint, record, container_name) if network.user_defined else (),
    )


def network_container(endpoint: Endpoint, name: str, subnets: Subnets) -> dict[str, str]:
    """One value of Network.Containers. Source: Engine API v1.51, NetworkContainer."""
    four, six = subnets
    return {
        "Name": name,
        "EndpointID": endpoint.endpoint_id,
        "MacAddress": endpoint.mac,
        "IPv4Address": _with_prefix(endpoint.address, four),
        "IPv6Address": _with_prefix(endpoint.address6, six),
    }


def _with_prefix(address: str, subnet: Interface | None) -> str:
    return f"{address}/{subnet.network.prefixlen}" if address and subnet else ""
