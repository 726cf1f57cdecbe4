"""Configuration networks: what a machine's networks are like, without being one. Pure.

A network made with ConfigOnly has no device and no containers; one made with ConfigFrom takes its addresses,
driver options and labels from there. Source: Engine API v1.51, POST /networks/create; wording as dockerd's.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wherryd.errors import Forbidden, InvalidParameter
from wherryd.networks.catalog import Network
from wherryd.networks.settings import NetworkSettings

if TYPE_CHECKING:
    from wherryd.networks.request import NetworkRequest

_KEPT = ("EnableIPv4", "EnableIPv6", "IPAM", "Labels", "Options")


def kept(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the create request of a configuration network has for others; None for any other network.

    Raises Forbidden for what belongs to a network that works.
    """
    if not body.get("ConfigOnly"):
        return None
    if any(body.get(key) for key in ("Ingress", "Internal", "Attachable", "Scope")):
        raise Forbidden(
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported."
        )
    if _source(body):
        raise Forbidden("a configuration network cannot depend on another configuration network")
    return {key: body[key] for key in _KEPT if body.get(key) is not None}


def settings(request: "NetworkRequest") -> NetworkSettings:
    """Of a configuration network."""
    return NetworkSettings(interface="", config=request.config, labels=request.labels)


def completed(body: Mapping[str, Any], find: Callable[[str], Network]) -> dict[str, Any]:
    """The request with what its configuration network says. Raises NotFound, Forbidden, InvalidParameter."""
    name = _source(body)
    if not name or body.get("ConfigOnly"):
        return dict(body)
    ipam = body.get("IPAM") or {}
    if not isinstance(ipam, dict) or ipam.get("Config") or ipam.get("Options") or body.get("EnableIPv6"):
        raise Forbidden(
            "user specified configurations are not supported if the network depends on a configuration "
            "network"
        )
    if body.get("Options"):
        raise Forbidden(
            "network driver options are not supported if the network depends on a configuration network"
        )
    found = find(name)
    if found.settings is None or found.settings.config is None:
        raise Forbidden(f"{found.name} is not a configuration network (hint: make one with --config-only)")
    config = dict(found.settings.config)
    labels = {**config.pop("Labels", {}), **(body.get("Labels") or {})}
    return {**body, **config, "Labels": labels, "ConfigFrom": {"Network": found.name}}


def _source(body: Mapping[str, Any]) -> str:
    source = body.get("ConfigFrom") or {}
    name = source.get("Network") or "" if isinstance(source, dict) else None
    if not isinstance(name, str):
        raise InvalidParameter("ConfigFrom: wants an object with the name of a network")
    return name
