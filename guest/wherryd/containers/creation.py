"""`POST /containers/create`: from a body to a stored record. Nothing runs yet."""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wherryd import clock
from wherryd.containers import (
    idranges,
    imagemounts,
    limits,
    linking,
    logoptions,
    mountpoints,
    names,
    networking,
    plan,
    populate,
    ports,
    request,
    sources,
)
from wherryd.containers.deps import OWN_RUNTIME, STAND_IN_FOR, Deps
from wherryd.containers.record import ContainerRecord, MountPoint
from wherryd.containers.request import CreateRequest
from wherryd.containers.store import Container
from wherryd.errors import EngineError, InvalidParameter, NotFound
from wherryd.images import document, platforms
from wherryd.images.image import Image
from wherryd.networks import hosts
from wherryd.spec.mount import Mount

#: Containers per engine: a bound against a client in a loop.
MAX_CONTAINERS = 4096


async def create(
    deps: Deps,
    name: str,
    body: Mapping[str, Any],
    platform: str,
    *,
    bare: bool = False,
    flat_read_only: bool = False,
) -> tuple[Container, tuple[str, ...]]:
    """The container and the warnings. Raises NotFound (image), InvalidParameter, Conflict, NotSupported."""
    wish = request.parse(_with_default_log(deps, body))
    if not wish.config["Image"]:
        raise InvalidParameter("Image: must be given (hint: the name of an image, see `docker images`)")
    image = deps.images.resolve(wish.config["Image"], platform)
    wish = request.merge_image(wish, {} if bare else image.runtime_config)
    stand_in = _choose_runtime(deps, wish.host_config)
    record = _record(deps, name, wish, image)
    if flat_read_only:
        record = replace(record, mounts=tuple(map(_flat, record.mounts)))
    check(deps, record)
    container = deps.store.add(record)
    made: list[str] = []
    try:
        rootfs = await deps.images.prepare_rootfs(record.id, image)
        deps.files(record.id).folder.mkdir(mode=0o710, parents=True, exist_ok=True)
        await imagemounts.make(deps, record)
        _make_volumes(deps, container, made)
        await _fill_volumes(deps, container.record, rootfs)
    except BaseException as exc:
        await _undo(deps, container, made, exc)
        raise
    for volume in made:
        deps.events.publish("volume", "create", volume, {"driver": "local"})
    deps.publish(record, "create")
    told = idranges.warnings(deps, container.record.host_config, container.record.mounts)
    other = () if platform else _platform_warning(image)
    return container, (*wish.warnings, *other, *stand_in, *told, *networking.warnings(deps, record))


def _with_default_log(deps: Deps, body: Mapping[str, Any]) -> Mapping[str, Any]:
    host = body.get("HostConfig") or {}
    given = host.get("LogConfig") if isinstance(host, dict) else None
    if not isinstance(host, dict) or not isinstance(given or {}, dict):
        return body  # refused by the field's name
    return {**body, "HostConfig": {**host, "LogConfig": logoptions.with_default(given, deps.default_log)}}


def _choose_runtime(deps: Deps, host: dict[str, Any]) -> tuple[str, ...]:
    """Enters the default where none is named; warnings. Raises InvalidParameter as dockerd does."""
    host["Runtime"] = host["Runtime"] or next(iter(deps.runtimes))
    if host["Runtime"] in deps.runtimes:
        return ()
    if host["Runtime"] not in STAND_IN_FOR:
        raise InvalidParameter(
            f"unknown or invalid runtime name: {host['Runtime']} (hint: one of {', '.join(deps.runtimes)}; "
            "wherryd --add-runtime adds others)"
        )
    return (f"Runtime: {OWN_RUNTIME} takes the place of {host['Runtime']}, which is not configured here",)


def _record(deps: Deps, name: str, wish: CreateRequest, image: Image) -> ContainerRecord:
    if sum(1 for _ in deps.store) >= MAX_CONTAINERS:
        raise InvalidParameter(f"{MAX_CONTAINERS} containers exist already; remove some first")
    name = names.check(name) if name else names.generate(deps.store.name_taken)
    container_id = secrets.token_hex(32)
    config, host = wish.config, wish.host_config
    words = [*(config["Entrypoint"] or ()), *(config["Cmd"] or ())]
    if not config["Hostname"] and not host["NetworkMode"].startswith(("container:", "host")):
        config["Hostname"] = container_id[: plan.SHORT_ID]
    if host["NetworkMode"].startswith("container:"):
        peer = deps.store.get(host["NetworkMode"].partition(":")[2])
        host["NetworkMode"] = f"container:{peer.id}"
    host["Links"] = linking.complete(deps, host["Links"] or (), host["NetworkMode"]) or None
    points = tuple(
        replace(point, name=secrets.token_hex(32))
        if point.type == "volume" and not point.name
        else imagemounts.resolved(deps, point)
        for point in mountpoints.parse(config, host, _inherited(deps, host["VolumesFrom"] or ()))
    )
    return ContainerRecord(
        id=container_id,
        name=name,
        created=clock.now(),
        image=config["Image"],
        image_id=image.id,
        path=words[0],
        args=tuple(words[1:]),
        config=config,
        host_config=host,
        endpoints=networking.complete(deps, wish.endpoints, host["NetworkMode"]),
        mounts=points,
        log_path=str(deps.files(container_id).log) if host["LogConfig"]["Type"] == "json-file" else "",
    )


def _flat(point: MountPoint) -> MountPoint:
    return replace(point, writable_below=True) if point.type == "bind" and not point.rw else point


def _inherited(deps: Deps, references: Sequence[str]) -> list[MountPoint]:
    """Volumes and binds of other containers: `name`, `name:ro`, `name:rw,z`. Raises InvalidParameter."""
    found: list[MountPoint] = []
    for text in references:
        reference, _, mode = text.partition(":")
        try:
            peer = deps.store.get(reference).record
        except NotFound as exc:
            # Not as "not found": to a client that would mean the image, which it then pulls.
            raise InvalidParameter(f"--volumes-from: {exc}") from exc
        found += mountpoints.inherit(peer.mounts, mode)
    return found


def check(deps: Deps, record: ContainerRecord) -> None:
    """What can be told to be wrong before the start. Raises EngineError."""
    ports.wanted(record.config, record.host_config)
    ports.exposed(record.config)
    plan.devices(record)
    limits.block_io(record.host_config)
    # Which address the gateway has is known at the start; any will do to check the rest.
    hosts.parse_extra_hosts(record.host_config["ExtraHosts"] or (), host_gateway=("192.0.2.1",))
    for wanted in networking.wishes(record):
        deps.networks.check_wish(wanted)
    without_creating = tuple(
        point for point in record.mounts if point.type == "bind" and "create" not in point.options
    )
    sources.prepare(deps, replace(record, mounts=without_creating))


def _make_volumes(deps: Deps, container: Container, made: list[str]) -> None:
    """Makes the volumes that are missing, and enters where they are into the record. made: their names."""

    def resolved(point: MountPoint) -> MountPoint:
        if point.type != "volume":
            return point
        if not deps.volumes.exists(point.name):
            made.append(point.name)
        volume = deps.volumes.create(
            point.name, point.labels, anonymous=point.anonymous, options=point.driver_options
        )
        return replace(point, source=str(volume.source))

    record = container.record
    if record.mounts:
        deps.store.update(container, mounts=tuple(resolved(point) for point in record.mounts))


async def _fill_volumes(deps: Deps, record: ContainerRecord, rootfs: Sequence[Mount]) -> None:
    """Empty volumes get what the image has at their place. One container at a time: two may share one."""
    points = [point for point in record.mounts if point.type == "volume" and point.copy_up]
    if not points:
        return
    async with deps.volumes.filling:
        holder = f"create:{record.id}"
        try:
            for point in points:
                await deps.volumes.hold(point.name, holder)
                deps.volumes.check_source(point.name)
                await asyncio.to_thread(populate.fill, rootfs, point.destination, Path(point.source))
        finally:
            await deps.volumes.release(holder)


async def _undo(deps: Deps, container: Container, made: Sequence[str], error: BaseException) -> None:
    deps.store.forget(container)
    for volume in made:
        try:
            deps.volumes.remove(volume)
        except (EngineError, OSError) as exc:
            error.add_note(f"while undoing the create: {exc}")
    try:
        await deps.images.remove_rootfs(container.id)
        await imagemounts.remove(deps, container.record)
    except EngineError as exc:
        error.add_note(f"while undoing the create: {exc}")
    with contextlib.suppress(FileNotFoundError):
        deps.files(container.id).folder.rmdir()


def _platform_warning(image: Image) -> tuple[str, ...]:
    """Engine API, POST /containers/create, "platform"."""
    made_for, mine = document.platform_of(image, ""), platforms.host()
    if platforms.fits(made_for, mine):
        return ()
    return (
        f"The requested image's platform ({platforms.text(made_for)}) does not match the detected host "
        f"platform ({platforms.text(mine)}) and no specific platform was requested",
    )
