"""Sandboxes and endpoints as others see them: `Sandbox`, and the API's NetworkContainer. Pure."""

import ipaddress
from pathlib import Path

from wherryd.networks.catalog import Network
from wherryd.networks.endpoint import Endpoint, SandboxRecord
from wherryd.networks.members import dns_names
from wherryd.networks.namespaces import owner_of, path_of
from wherryd.networks.sandbox import Attachment, Sandbox


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
    subnet: ipaddress.IPv4Interface | None,
    container_name: str,
) -> Attachment:
    """subnet: of a bridge network; None for the others."""
    settings = network.settings
    known = subnet is not None and bool(endpoint.address)
    return Attachment(
        network=network.name,
        network_id=network.id,
        endpoint_id=endpoint.endpoint_id,
        ip=endpoint.address,
        prefix_length=subnet.network.prefixlen if known and subnet else 0,
        gateway="" if not known or subnet is None or (settings and settings.internal) else str(subnet.ip),
        mac=endpoint.mac,
        user_defined=network.user_defined,
        internal=bool(settings and settings.internal),
        gw_priority=endpoint.gw_priority,
        dns_names=dns_names(endpoint, record, container_name) if network.user_defined else (),
    )


def network_container(
    endpoint: Endpoint, name: str, subnet: ipaddress.IPv4Interface | None
) -> dict[str, str]:
    """One value of Network.Containers. Source: Engine API v1.51, NetworkContainer."""
    return {
        "Name": name,
        "EndpointID": endpoint.endpoint_id,
        "MacAddress": endpoint.mac,
        "IPv4Address": f"{endpoint.address}/{subnet.network.prefixlen}"
        if endpoint.address and subnet
        else "",
        "IPv6Address": "",
    }
