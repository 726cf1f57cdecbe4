"""An endpoint as others see it: as a `Sandbox` and as the Engine API's NetworkContainer. Pure."""

import ipaddress
from pathlib import Path

from wherryd.networks.endpoint import Endpoint
from wherryd.networks.namespaces import path_of
from wherryd.networks.sandbox import Sandbox


def sandbox_of(
    endpoint: Endpoint, network_id: str, directory: Path, subnet: ipaddress.IPv4Interface
) -> Sandbox:
    """directory: where the namespaces' files are. subnet: the bridge's address and prefix."""
    path = None if endpoint.host_namespace else str(path_of(directory, endpoint.sandbox_id))
    return Sandbox(
        sandbox_id=endpoint.sandbox_id,
        netns_path=path,
        # Docker shows a key for the host's namespace as well, and none for a borrowed one.
        key=(path or str(directory / "default")) if endpoint.network else "",
        mode=endpoint.mode,
        network=endpoint.network,
        network_id=network_id,
        endpoint_id=endpoint.endpoint_id,
        ip=endpoint.address,
        prefix_length=subnet.network.prefixlen if endpoint.address else 0,
        gateway=str(subnet.ip) if endpoint.address else "",
        mac=endpoint.mac,
        ports=endpoint.ports,
    )


def network_container(endpoint: Endpoint, name: str, subnet: ipaddress.IPv4Interface) -> dict[str, str]:
    """One value of Network.Containers. Source: Engine API v1.51, NetworkContainer."""
    return {
        "Name": name,
        "EndpointID": endpoint.endpoint_id,
        "MacAddress": endpoint.mac,
        "IPv4Address": f"{endpoint.address}/{subnet.network.prefixlen}" if endpoint.address else "",
        "IPv6Address": "",
    }
