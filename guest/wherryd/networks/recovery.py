"""After a restart: which stored endpoints still work, and what is there that none of them explains."""

import ipaddress
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from wherryd.networks import namespaces
from wherryd.networks.bridge import Bridge
from wherryd.networks.endpoint import Endpoint

_log = logging.getLogger(__name__)


def sort_out(
    stored: Iterable[Endpoint], bridge: Bridge, directory: Path
) -> tuple[list[Endpoint], list[Endpoint]]:
    """(living, lost). The devices of the living ones are in the bridge afterwards."""
    living: list[Endpoint] = []
    lost: list[Endpoint] = []
    for endpoint in stored:
        (living if _works(endpoint, bridge, directory) else lost).append(endpoint)
    return living, lost


def _works(endpoint: Endpoint, bridge: Bridge, directory: Path) -> bool:
    if endpoint.mode not in ("bridge", "none"):
        return True  # it owns nothing in the kernel
    if not namespaces.is_namespace(namespaces.path_of(directory, endpoint.sandbox_id)):
        return False
    if endpoint.mode == "none":
        return True
    # Another --bip than before leaves old addresses outside.
    inside = ipaddress.IPv4Address(endpoint.address) in bridge.subnet.network
    return inside and bridge.replug(endpoint)


def sweep(living: Sequence[Endpoint], bridge: Bridge, directory: Path) -> None:
    """Removes namespaces and devices of no living endpoint: what a killed engine left."""
    for veth in bridge.stray_veths([endpoint.veth for endpoint in living]):
        _log.info("removing the left-over device %s", veth)
        bridge.delete_device(veth)
    keep = {namespaces.path_of(directory, endpoint.sandbox_id) for endpoint in living}
    for path in directory.iterdir():
        if path not in keep:
            _log.info("removing the left-over namespace %s", path)
            namespaces.remove(path)
