"""`GET /containers/json`: the filters and the summaries. Source: Engine API 1.51, ContainerList."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherryd import clock
from wherryd.containers import inspection, networking, ports
from wherryd.containers.health import HealthStatus
from wherryd.containers.record import ContainerRecord
from wherryd.containers.state import Status
from wherryd.containers.store import Container, ContainerStore
from wherryd.errors import InvalidParameter, NotFound
from wherryd.images.service import ImageService

ACCEPTED = frozenset(
    [
        "ancestor",
        "before",
        "exited",
        "expose",
        "health",
        "id",
        "is-task",
        "isolation",
        "label",
        "name",
        "network",
        "publish",
        "since",
        "status",
        "volume",
    ]
)
_MAX_PATTERN = 256

Filters = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """limit: newest n, running or not; 0 for no limit."""

    all: bool = False
    limit: int = 0
    filters: Filters = field(default_factory=dict)


def select(store: ContainerStore, images: ImageService, query: ListQuery) -> list[Container]:
    """The containers that match, newest first. Raises InvalidParameter for a bad filter."""
    everything = query.all or query.limit > 0 or any(key in query.filters for key in ("status", "exited"))
    checks = _checks(store, images, query.filters)
    ordered = sorted(store, key=lambda container: container.record.created, reverse=True)
    found = [
        container
        for container in ordered
        if (everything or container.record.alive or container.record.status is Status.RESTARTING)
        and all(check(container) for check in checks)
    ]
    return found[: query.limit] if query.limit > 0 else found


Check = Callable[[Container], bool]


def _checks(store: ContainerStore, images: ImageService, filters: Filters) -> list[Check]:
    """One predicate per key: AND across keys, OR within one."""
    makers: Mapping[str, Callable[[Sequence[str]], Check]] = {
        "id": lambda values: _pattern(values, lambda c: [c.id]),
        "name": lambda values: _pattern(values, lambda c: [c.record.name, f"/{c.record.name}"]),
        "label": _label,
        "status": _status,
        "exited": _exited,
        "ancestor": lambda values: _ancestor(images, values),
        "before": lambda values: _beside(store, values, before=True),
        "since": lambda values: _beside(store, values, before=False),
        "network": _network,
        "volume": _volume,
        "publish": lambda values: _port(values, published=True),
        "expose": lambda values: _port(values, published=False),
        "health": _health,
        "is-task": lambda values: lambda _: "false" in values,
        "isolation": lambda values: lambda _: "default" in values,
    }
    return [makers[key](values) for key, values in filters.items() if values]


def _pattern(values: Sequence[str], texts: Callable[[Container], list[str]]) -> Check:
    """Regular expressions, looked for anywhere. Bounded, because they come from outside."""
    try:
        patterns = [re.compile(value[:_MAX_PATTERN]) for value in values]
    except re.error as exc:
        raise InvalidParameter(f"invalid filter: not a regular expression: {exc}") from exc
    return lambda container: any(pattern.search(text) for pattern in patterns for text in texts(container))


def _label(values: Sequence[str]) -> Check:
    """All must match: `key` or `key=value`."""
    pairs = [value.partition("=") for value in values]
    return lambda container: all(
        key in container.record.labels and (not equals or container.record.labels[key] == value)
        for key, equals, value in pairs
    )


def _status(values: Sequence[str]) -> Check:
    for value in values:
        if value not in Status.__members__.values():
            raise InvalidParameter(f"invalid filter 'status={value}'")
    return lambda container: container.record.status in values


def _health(values: Sequence[str]) -> Check:
    for value in values:
        if value not in HealthStatus.__members__.values():
            raise InvalidParameter(f"invalid filter 'health={value}' (hint: {', '.join(HealthStatus)})")

    def status(record: ContainerRecord) -> str:
        return record.health["Status"] if record.health else HealthStatus.NONE

    return lambda container: status(container.record) in values


def _exited(values: Sequence[str]) -> Check:
    if not all(value.isdecimal() for value in values):
        raise InvalidParameter(f"invalid filter 'exited={','.join(values)}': wants exit codes")
    codes = {int(value) for value in values}
    return lambda container: container.record.status is Status.EXITED and container.record.exit_code in codes


def _ancestor(images: ImageService, values: Sequence[str]) -> Check:
    wanted = set()
    for value in values:
        try:
            wanted |= images.platform_ids(images.resolve(value))
        except NotFound:
            continue  # nothing descends from an image that is not there
    return lambda container: container.record.image_id in wanted or container.record.image in values


def _beside(store: ContainerStore, values: Sequence[str], *, before: bool) -> Check:
    moments = [store.get(value).record.created for value in values]
    if before:
        return lambda container: container.record.created < min(moments)
    return lambda container: container.record.created > max(moments)


def _network(values: Sequence[str]) -> Check:
    def check(container: Container) -> bool:
        joined = networking.endpoints(container.record)
        known = {*joined, *(given.get("NetworkID", "") for given in joined.values())}
        if container.sandbox is not None:
            known |= {each.network_id for each in container.sandbox.attachments}
        return not known.isdisjoint(values)

    return check


def _volume(values: Sequence[str]) -> Check:
    return lambda container: any(
        value in (point.name, point.destination) for value in values for point in container.record.mounts
    )


def _port(values: Sequence[str], *, published: bool) -> Check:
    wanted = {value if "/" in value else f"{value}/tcp" for value in values}

    def check(container: Container) -> bool:
        if not published:
            return bool(wanted & set(ports.exposed(container.record.config)))
        bindings = container.sandbox.ports if container.sandbox else ()
        return any(
            binding.key in wanted or f"{binding.host_port}/{binding.protocol}" in wanted
            for binding in bindings
        )

    return check


def manifest_descriptor(record: ContainerRecord, images: ImageService) -> dict[str, Any]:
    """{"ImageManifestDescriptor": ...}; {} when the image is not here any more."""
    try:
        return {"ImageManifestDescriptor": images.manifest_descriptor(images.resolve(record.image_id))}
    except NotFound:
        return {}


def summary(container: Container, images: ImageService) -> dict[str, Any]:
    """One entry of the list."""
    record, sandbox = container.record, container.sandbox
    return {
        "Id": record.id,
        "Names": [f"/{record.name}"],
        "Image": _image_name(record, images),
        "ImageID": record.image_id,
        "Command": command(record),
        "Created": clock.to_seconds(record.created),
        "Ports": ports.summary(record.config, sandbox.ports if sandbox else (), record.alive),
        "Labels": dict(record.labels),
        "State": str(record.status),
        "Status": status_text(record),
        "HostConfig": {
            "NetworkMode": record.network_mode,
            **({"Annotations": annotations} if (annotations := record.host_config["Annotations"]) else {}),
        },
        "NetworkSettings": {"Networks": inspection.network_settings(record, sandbox)["Networks"]},
        "Mounts": [inspection.mount_point(point) for point in record.mounts],
    }


def _image_name(record: ContainerRecord, images: ImageService) -> str:
    """The name the user gave, while it still means the same image; its id otherwise."""
    try:
        same = record.image_id in images.platform_ids(images.resolve(record.image))
    except (NotFound, InvalidParameter):
        same = False
    return record.image if same else record.image_id


def command(record: ContainerRecord) -> str:
    """Words with blanks are quoted."""
    words = [record.path, *(f"'{word}'" if any(map(str.isspace, word)) else word for word in record.args)]
    return " ".join(words)


def status_text(record: ContainerRecord) -> str:
    """`Up 5 minutes (Paused)`, `Exited (0) 3 seconds ago`, ..."""
    status = record.status
    if status in (Status.RUNNING, Status.PAUSED):
        suffix = " (Paused)" if status is Status.PAUSED else _health_text(record)
        return f"Up {human_duration(_age(record.started_at))}{suffix}"
    if status is Status.RESTARTING:
        return f"Restarting ({record.exit_code}) {human_duration(_age(record.finished_at))} ago"
    if status is Status.CREATED:
        return "Created"
    if status is Status.REMOVING:
        return "Removal In Progress"
    if status is Status.DEAD:
        return "Dead"
    return f"Exited ({record.exit_code}) {human_duration(_age(record.finished_at))} ago"


def _health_text(record: ContainerRecord) -> str:
    if record.health is None:
        return ""
    status = record.health["Status"]
    return f" (health: {status})" if status == HealthStatus.STARTING else f" ({status})"


def _age(moment: str) -> int:
    return max(0, time.time_ns() - clock.to_nanoseconds(moment)) // 1_000_000_000


def human_duration(seconds: int) -> str:
    """59 -> 59 seconds, 60 -> About a minute, 7200 -> 2 hours. The reference daemon's steps."""
    minutes, hours = seconds // 60, int(seconds / 3600 + 0.5)
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"
