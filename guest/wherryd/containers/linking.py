"""Links (docker run --link): on the default bridge lines in /etc/hosts and variables, on a user's network
aliases that only the linking container knows.

A record keeps `<id>:<alias>`, so a link outlives renames; the API shows `/name:/own name/alias`. Source:
docker run --link, "Legacy container links"; Engine API 1.51, HostConfig.Links and EndpointSettings.Links.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wherryd.containers import files, ports
from wherryd.containers.deps import Deps
from wherryd.containers.record import ContainerRecord
from wherryd.containers.store import Container
from wherryd.errors import Conflict, EngineError, InvalidParameter, NotFound
from wherryd.networks import hosts

log = logging.getLogger(__name__)
_SHORT_ID = 12
#: Of the linked container's environment, what says nothing about it.
_NOT_PASSED = frozenset({"HOME", "PATH"})


def split(text: str) -> tuple[str, str]:
    """`db:alias`, `db` or `/db:/web/alias` -> (container, alias). Raises InvalidParameter."""
    name, colon, alias = text.partition(":")
    alias = alias.rpartition("/")[2] if colon else name.removeprefix("/")
    if not name.strip("/") or not alias or ":" in alias or any(map(str.isspace, text)):
        raise InvalidParameter(f"bad format for links: {text} (hint: name or name:alias)")
    return name.removeprefix("/"), alias


def complete(deps: Deps, links: Sequence[str], mode: str) -> list[str]:
    """HostConfig.Links of a new container as they are kept. Raises InvalidParameter."""
    if links and (mode in ("host", "none") or mode.startswith("container:")):
        kind = mode.partition(":")[0]
        raise InvalidParameter(f"conflicting options: {kind} type networking can't be used with links")
    found = []
    for name, alias in map(split, links):
        try:
            found.append(f"{deps.store.get(name).id}:{alias}")
        except NotFound as exc:
            # Not as "not found": to a client that would mean the image, which it then pulls.
            raise InvalidParameter(f"could not get container for {name}: {exc}") from exc
    return found


def shown(deps: Deps, record: ContainerRecord) -> list[str] | None:
    """HostConfig.Links as the API shows them; a link to a container that is gone is gone, too."""
    found = []
    for peer_id, alias in map(split, record.host_config["Links"] or ()):
        peer = deps.store.by_id(peer_id)
        if peer is not None:
            found.append(f"/{peer.record.name}:/{record.name}/{alias}")
    return found or None


def _legacy(record: ContainerRecord) -> Iterator[tuple[str, str]]:
    if record.network_mode in ("default", "bridge"):
        yield from map(split, record.host_config["Links"] or ())


def for_network(record: ContainerRecord, network: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Links of one network of a user as `container:alias`: the endpoint's own, and those of HostConfig on
    the network that NetworkMode names."""
    own = [":".join(split(text)) for text in given.get("Links") or ()]
    if network == record.network_mode and network not in ("default", "bridge"):
        own += record.host_config["Links"] or ()
    return tuple(dict.fromkeys(own))


def check_running(deps: Deps, record: ContainerRecord) -> None:
    """Before a start on the default bridge. Raises Conflict."""
    for peer_id, alias in _legacy(record):
        peer = deps.store.by_id(peer_id)
        if peer is not None and peer.sandbox is None:
            raise Conflict(
                f"Cannot link to a non running container: /{peer.record.name} AS /{record.name}/{alias}"
            )


def extra_hosts(deps: Deps, record: ContainerRecord) -> list[tuple[str, str]]:
    """(address, names) of the linked containers that run, for /etc/hosts."""
    return [(ip, f"{alias} {names}") for alias, ip, names, _ in _living(deps, record)]


def environment(deps: Deps, record: ContainerRecord) -> list[str]:
    """The container's environment, with the variables of its links; its own win."""
    own = list(record.config["Env"] or ())
    names = {entry.partition("=")[0] for entry in own}
    return [entry for entry in _variables(deps, record) if entry.partition("=")[0] not in names] + own


def _variables(deps: Deps, record: ContainerRecord) -> list[str]:
    """ALIAS_NAME, ALIAS_PORT_..., ALIAS_ENV_... of every linked container that runs."""
    found: list[str] = []
    for alias, ip, _, peer in _living(deps, record):
        prefix = alias.replace("-", "_").upper()
        offered = [key.split("/") for key in ports.exposed(peer.config)]
        offered.sort(key=lambda pair: (pair[1] != "tcp", int(pair[0])))
        found.append(f"{prefix}_NAME=/{record.name}/{alias}")
        if offered:
            number, protocol = offered[0]
            found.append(f"{prefix}_PORT={protocol}://{ip}:{number}")
        for number, protocol in offered:
            name = f"{prefix}_PORT_{number}_{protocol.upper()}"
            found += [
                f"{name}={protocol}://{ip}:{number}",
                f"{name}_ADDR={ip}",
                f"{name}_PORT={number}",
                f"{name}_PROTO={protocol}",
            ]
        found += [
            f"{prefix}_ENV_{entry}"
            for entry in peer.config["Env"] or ()
            if "=" in entry and entry.partition("=")[0] not in _NOT_PASSED
        ]
    return found


def _living(deps: Deps, record: ContainerRecord) -> Iterator[tuple[str, str, str, ContainerRecord]]:
    """(alias, address on the default bridge, "id name", the linked container)"""
    for peer_id, alias in _legacy(record):
        peer = deps.store.by_id(peer_id)
        place = peer.sandbox.on("bridge") if peer is not None and peer.sandbox else None
        if peer is not None and place is not None:
            yield alias, place.ip, f"{peer_id[:_SHORT_ID]} {peer.record.name}", peer.record


async def remove(deps: Deps, container: Container, alias: str) -> None:
    """One link of a container less. Variables stay until its next start. Raises NotFound."""
    async with container.lock:
        record = container.record
        links = list(record.host_config["Links"] or ())
        kept = [text for text in links if split(text)[1] != alias]
        if len(kept) == len(links):
            raise NotFound(f"Cannot get child {alias} of container {record.name}: it has no such link")
        gone = [address for name, address, _, _ in _living(deps, record) if name == alias]
        deps.store.update(container, host_config={**record.host_config, "Links": kept or None})
        if container.sandbox is not None and gone:
            files.edit_hosts(deps.files(record.id), lambda text: hosts.without(text, gone, alias))


def tell_linking(deps: Deps, started: ContainerRecord) -> None:
    """After a start: the /etc/hosts of running containers that link to it get its new address."""
    for other in deps.store:
        record = other.record
        if other.sandbox is None or all(peer != started.id for peer, _ in _legacy(record)):
            continue
        lines = [
            (f"{alias} {names}", ip)
            for alias, ip, names, peer in _living(deps, record)
            if peer.id == started.id
        ]
        try:
            files.edit_hosts(
                deps.files(record.id),
                lambda text, lines=lines: hosts.with_names(text, lines),  # type: ignore[misc]
            )
        except (EngineError, OSError) as exc:
            log.warning("container %s: the address of a linked container: %s", record.id, exc)
