"""A container's networks: those of its record, joined at its start, and one more or less at any time.

The record keeps EndpointSettings as the user gave them, by network name, in the order of joining; what a
network gave (addresses, ids) is the sandbox's, and gone when the container has ended.
"""

import ipaddress
import logging
from collections.abc import Mapping
from typing import Any

from wherryd.containers import files, kinds, linking, plan, ports
from wherryd.containers.deps import Deps
from wherryd.containers.idranges import Ids
from wherryd.containers.record import ContainerRecord
from wherryd.containers.store import Container
from wherryd.errors import Conflict, EngineError, Forbidden, InvalidParameter, NotFound
from wherryd.networks import deviceoptions
from wherryd.networks.sandbox import EndpointWish, Sandbox

log = logging.getLogger(__name__)

_HOST = "container cannot be disconnected from host network or connected to host network"
_SHARED = (
    "container sharing network namespace with another container or host cannot be connected to any other "
    "network"
)
_LONELY = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
_NAME_SERVER_PORTS = frozenset({"53/tcp", "53/udp"})


def settings(value: Any, where: str) -> dict[str, Any]:
    """One EndpointSettings of a request, with the fields that are the user's. Raises InvalidParameter.
    Source: Engine API 1.51, EndpointSettings."""
    given = kinds.mapping(value or {}, where)
    ipam = kinds.mapping(given.get("IPAMConfig") or {}, f"{where}.IPAMConfig")
    addresses: dict[str, Any] = {
        key: address
        for version in (4, 6)
        if (address := _address(ipam, key := f"IPv{version}Address", version, where))
    }
    if ipam.get("LinkLocalIPs"):
        addresses["LinkLocalIPs"] = _link_local(ipam["LinkLocalIPs"], f"{where}.IPAMConfig.LinkLocalIPs")
    found: dict[str, Any] = {
        "IPAMConfig": addresses or (given.get("IPAMConfig") and {}),
        "Links": _links(given.get("Links"), f"{where}.Links"),
        "Aliases": kinds.strings(given.get("Aliases") or [], f"{where}.Aliases") or None,
        "MacAddress": kinds.string(given.get("MacAddress") or "", f"{where}.MacAddress"),
        "DriverOpts": given.get("DriverOpts")
        and kinds.string_map(given["DriverOpts"], f"{where}.DriverOpts"),
        "GwPriority": kinds.integer(given.get("GwPriority") or 0, f"{where}.GwPriority"),
    }
    deviceoptions.parse(found["DriverOpts"] or {})
    return {key: each for key, each in found.items() if each not in (None, "", 0)}


def _link_local(value: Any, where: str) -> list[str]:
    found = []
    for text in kinds.strings(value, where):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            address = None
        if address is None or not address.is_link_local:
            raise InvalidParameter(f"invalid endpoint settings: invalid link-local IP address: {text}")
        found.append(str(address))
    return found


def _links(value: Any, where: str) -> list[str] | None:
    links = kinds.strings(value or [], where)
    for link in links:
        linking.split(link)
    return links or None


def _address(ipam: Mapping[str, Any], key: str, version: int, where: str) -> str:
    text = kinds.string(ipam.get(key) or "", f"{where}.IPAMConfig.{key}")
    if not text:
        return ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise InvalidParameter(f"invalid endpoint settings: invalid IPv{version} address: {text}")
    return str(address)


def primary(record: ContainerRecord) -> str:
    """The network that NetworkMode names: "bridge" for "default"; "" for container:<id>."""
    mode = record.network_mode
    if mode.startswith("container:"):
        return ""
    return "bridge" if mode == "default" else mode


def endpoints(record: ContainerRecord) -> dict[str, Mapping[str, Any]]:
    """Network name -> settings of all its networks. One that was taken off the last comes back to the one
    of its NetworkMode, as with dockerd."""
    if record.network_mode.startswith("container:"):
        return {}
    return dict(record.endpoints) or {primary(record): {}}


def complete(deps: Deps, record_endpoints: Mapping[str, Mapping[str, Any]], mode: str) -> dict[str, Any]:
    """The endpoints of a new container under the networks' real names, that of its mode first, each with
    the network's id. Raises InvalidParameter."""
    if mode.startswith("container:"):
        return {}
    found: dict[str, Any] = {}
    for name, given in {mode: {}, **record_endpoints}.items():
        try:
            network = deps.networks.find("bridge" if name == "default" else name)
        except NotFound as exc:
            # Not as "not found": to a client that would mean the image, which it then pulls.
            raise InvalidParameter(str(exc)) from exc
        found[network.name] = {**given, "NetworkID": network.id}
    if len(found) > 1 and ("none" in found or "host" in found):
        raise InvalidParameter(_LONELY)
    return found


def warnings(deps: Deps, record: ContainerRecord) -> list[str]:
    """Of a new container: what its network cannot do."""
    host = record.host_config
    if not (host["PortBindings"] or host["PublishAllPorts"]) or record.network_mode.startswith("container:"):
        return []
    driver = deps.networks.find(primary(record)).driver
    if driver not in ("macvlan", "ipvlan"):
        return []
    return [
        f"Published ports are discarded on a {driver} network: the container is a machine of its own there"
    ]


def wishes(record: ContainerRecord) -> list[EndpointWish]:
    """What to join at the start. The old place of the MAC address counts for the first network."""
    joined = endpoints(record)
    found = []
    for number, (name, given) in enumerate(joined.items()):
        mac = given.get("MacAddress") or (record.config["MacAddress"] if number == 0 else "")
        links = linking.for_network(record, name, given)
        found.append(_wish(name, {**given, "MacAddress": mac, "Links": links}))
    return found


def _wish(network: str, given: Mapping[str, Any]) -> EndpointWish:
    ipam = given.get("IPAMConfig") or {}
    device = deviceoptions.parse(given.get("DriverOpts") or {})
    return EndpointWish(
        network=network,
        ip=ipam.get("IPv4Address", ""),
        ip6=ipam.get("IPv6Address", ""),
        mac=given.get("MacAddress") or None,
        aliases=tuple(given.get("Aliases") or ()),
        links=tuple(":".join(linking.split(link)) for link in given.get("Links") or ()),
        gw_priority=given.get("GwPriority") or 0,
        link_local=tuple(ipam.get("LinkLocalIPs") or ()),
        device=device.name,
        sysctls=device.sysctls,
    )


async def attach(deps: Deps, record: ContainerRecord, ids: Ids) -> Sandbox:
    """At the start. Raises Conflict, NotFound, ..."""
    owner = deps.networks.sandbox(ids.owner) if ids.owner else None
    mode = record.network_mode
    if mode.startswith("container:"):
        peer = deps.store.get(mode.partition(":")[2]).record
        if not peer.alive:
            raise Conflict(f"cannot join network of a non running container: {peer.id}")
        mode = f"container:{peer.id}"
    linking.check_running(deps, record)
    published = {} if mode == "host" else ports.wanted(record.config, record.host_config)
    offered = {*published, *ports.exposed(record.config)}
    return await deps.networks.attach(
        record.id,
        mode=mode,
        hostname=plan.hostname(record),
        ports=published,
        endpoints=wishes(record),
        dns=record.host_config["Dns"],
        serves_port_53=not offered.isdisjoint(_NAME_SERVER_PORTS),
        id_base=ids.base,
        user_namespace=(owner.userns_path or "") if owner else "",
    )


async def connect(deps: Deps, container: Container, network_name: str, given: Any) -> None:
    """POST /networks/{id}/connect. Raises NotFound, Forbidden, InvalidParameter, ...

    A container that does not run may name a network again, as with dockerd: docker-compose 1.29 takes each
    new container off its networks and puts it back with its aliases. What is said later counts.
    """
    network = deps.networks.find(network_name)
    wanted = settings(given, "EndpointConfig")
    async with container.lock:
        record = container.record
        _check_changeable(record, network.name)
        if network.name == "none":
            raise Forbidden(_LONELY)
        joined = endpoints(record)
        if "none" in joined:
            raise Forbidden(_LONELY)
        if network.name in joined and record.alive and _is_on(container, network.name):
            raise Forbidden(f"endpoint with name {record.name} already exists in network {network.name}")
        wish = _wish(network.name, wanted)
        deps.networks.check_wish(wish)
        if record.alive:
            await _change(deps, container, await deps.networks.connect(record.id, wish))
        kept = {} if record.alive else record.endpoints.get(network.name, {})
        after = {**record.endpoints, network.name: {**kept, **wanted, "NetworkID": network.id}}
        deps.store.update(container, endpoints=after)


def _is_on(container: Container, network: str) -> bool:
    return container.sandbox is None or container.sandbox.on(network) is not None


async def disconnect(deps: Deps, container: Container, network_name: str) -> None:
    """POST /networks/{id}/disconnect. Raises NotFound, Forbidden."""
    async with container.lock:
        record = container.record
        name = _known_name(deps, record, network_name)
        if name not in endpoints(record):
            raise Forbidden(f"container {record.id} is not connected to network {name}")
        _check_changeable(record, name)
        if record.alive and container.sandbox is not None and container.sandbox.on(name) is not None:
            await _change(deps, container, await deps.networks.disconnect(record.id, name))
        after = {network: given for network, given in record.endpoints.items() if network != name}
        deps.store.update(container, endpoints=after)


def _known_name(deps: Deps, record: ContainerRecord, reference: str) -> str:
    """The network's name; also of one that was removed while the stopped container still named it."""
    try:
        return deps.networks.find(reference).name
    except NotFound:
        for name, given in record.endpoints.items():
            if reference in (name, given.get("NetworkID")):
                return name
        raise


def _check_changeable(record: ContainerRecord, network: str) -> None:
    if record.network_mode == "host" or record.network_mode.startswith("container:"):
        raise Forbidden(_SHARED if network != "host" else _HOST)
    if network == "host":
        raise Forbidden(_HOST)


async def _change(deps: Deps, container: Container, after: Sandbox) -> None:
    """The container's files follow its networks. What it wrote there itself is kept."""
    before, container.sandbox = container.sandbox, after
    record = container.record
    if before is None:
        return
    try:
        names = deps.networks.names
        files.follow(deps.files(record.id), record, plan.hostname(record), (before, after), names)
    except (EngineError, OSError) as exc:
        log.warning("container %s: bringing its /etc/hosts up to date: %s", container.id, exc)
