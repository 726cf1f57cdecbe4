"""After a restart: which stored sandboxes and endpoints still work, and what none of them explains."""

import ipaddress
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wherryd.errors import NotFound
from wherryd.networks import namespaces
from wherryd.networks.endpoint import Endpoint, SandboxRecord
from wherryd.networks.fabric import Fabric

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """lost: ids of containers whose namespace is gone. lost_endpoints: of sandboxes that live."""

    sandboxes: Sequence[SandboxRecord]
    endpoints: Sequence[Endpoint]
    lost: Sequence[str]
    lost_endpoints: Sequence[Endpoint]


def sort_out(
    sandboxes: Iterable[SandboxRecord], endpoints: Iterable[Endpoint], fabric: Fabric, directory: Path
) -> Found:
    """The devices of living endpoints are in their bridges afterwards."""
    living = {each.container_id: each for each in sandboxes if _lives(each, directory)}
    kept: list[Endpoint] = []
    lost: set[str] = {each.container_id for each in sandboxes if each.container_id not in living}
    lost_endpoints: list[Endpoint] = []
    for endpoint in endpoints:
        if endpoint.container_id not in living:
            lost.add(endpoint.container_id)
        elif _works(endpoint, fabric):
            kept.append(endpoint)
        else:
            lost_endpoints.append(endpoint)
    return Found(tuple(living.values()), kept, sorted(lost), lost_endpoints)


def _lives(sandbox: SandboxRecord, directory: Path) -> bool:
    if not sandbox.owns_namespace:
        return True  # it owns nothing in the kernel
    return namespaces.is_namespace(namespaces.path_of(directory, sandbox.sandbox_id))


def _works(endpoint: Endpoint, fabric: Fabric) -> bool:
    if not endpoint.has_device:
        return True
    try:
        bridge = fabric.named(endpoint.network).bridge
        # Another --bip than before leaves old addresses outside.
        inside = ipaddress.IPv4Address(endpoint.address) in bridge.subnet.network
        return inside and bridge.is_open and bridge.replug(endpoint)
    except NotFound:
        return False


def sweep(found: Found, fabric: Fabric, directory: Path) -> None:
    """Removes namespaces and devices of no living endpoint: what a killed engine left."""
    known = [endpoint.veth for endpoint in found.endpoints]
    for segment in fabric:
        if segment.bridge.is_open:
            for veth in segment.bridge.stray_veths(known):
                _log.info("removing the left-over device %s", veth)
                segment.bridge.delete_device(veth)
    keep = {namespaces.path_of(directory, each.sandbox_id) for each in found.sandboxes}
    owners = namespaces.owners(directory)
    for path in {*directory.iterdir(), *(directory / each.name for each in owners.iterdir())}:
        if path not in keep:
            _log.info("removing the left-over namespace %s", path)
            namespaces.remove(path)
