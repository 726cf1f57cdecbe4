"""`POST /containers/create`: from a body to a stored record. Nothing runs yet."""

import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wherryd.containers import clock, idranges, launch, mountpoints, names, plan, ports, request, rootfiles
from wherryd.containers.deps import Deps
from wherryd.containers.record import ContainerRecord, MountPoint
from wherryd.containers.request import CreateRequest
from wherryd.containers.store import Container
from wherryd.errors import EngineError, InvalidParameter, NotFound
from wherryd.images.image import Image
from wherryd.networks import hosts

#: Containers per engine: a bound against a client in a loop.
MAX_CONTAINERS = 4096


async def create(
    deps: Deps, name: str, body: Mapping[str, Any], platform: str
) -> tuple[Container, tuple[str, ...]]:
    """The container and the warnings. Raises NotFound (image), InvalidParameter, Conflict, NotSupported."""
    wish = request.parse(body)
    if not wish.config["Image"]:
        raise InvalidParameter("Image: must be given (hint: the name of an image, see `docker images`)")
    image = deps.images.resolve(wish.config["Image"])
    _check_platform(image, platform)
    wish = request.merge_image(wish, image.runtime_config)
    record = _record(deps, name, wish, image)
    check(deps, record)
    container = deps.store.add(record)
    try:
        rootfs = await deps.images.prepare_rootfs(record.id, image)
        deps.files(record.id).folder.mkdir(mode=0o710, parents=True, exist_ok=True)
        fresh = _make_volumes(deps, record)
        empty = tuple(
            _left_empty(point) for point in fresh if rootfiles.has_entries(rootfs, point.destination)
        )
    except BaseException as exc:
        await _undo(deps, container, exc)
        raise
    deps.publish(record, "create")
    return container, (*wish.warnings, *empty)


def _left_empty(point: MountPoint) -> str:
    return (
        f"{point.destination}: the new volume starts empty; "
        "what the image has there is not copied into it yet "
        "(hint: a bind mount, or copy it in yourself)"
    )


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
    points = tuple(
        replace(point, name=secrets.token_hex(32)) if point.type == "volume" and not point.name else point
        for point in mountpoints.parse(config, host)
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
        endpoints=wish.endpoints,
        mounts=points,
        id_base=idranges.allocate(host, (each.record for each in deps.store)) if deps.remap_ids else 0,
        log_path=str(deps.files(container_id).log) if host["LogConfig"]["Type"] == "json-file" else "",
    )


def check(deps: Deps, record: ContainerRecord) -> None:
    """What can be told to be wrong before the start. Raises EngineError."""
    ports.wanted(record.config, record.host_config)
    ports.exposed(record.config)
    plan.devices(record)
    # Which address the gateway has is known at the start; any will do to check the rest.
    hosts.parse_extra_hosts(record.host_config["ExtraHosts"] or (), host_gateway="192.0.2.1")
    mode = record.network_mode
    if mode not in ("default", "bridge", "none", "host") and not mode.startswith("container:"):
        try:
            deps.networks.inspect(mode)
        except NotFound as exc:
            raise NotFound(f"network {mode} not found") from exc
    without_creating = tuple(
        point for point in record.mounts if point.type == "bind" and "create" not in point.options
    )
    launch.prepare_mount_sources(deps, replace(record, mounts=without_creating))


def _make_volumes(deps: Deps, record: ContainerRecord) -> list[MountPoint]:
    """Makes the volumes that are missing, and enters where they are into the record.

    Returns the mounts of those that were made now and that docker would fill from the image.
    """
    fresh: list[MountPoint] = []

    def resolved(point: MountPoint) -> MountPoint:
        if point.type != "volume":
            return point
        if point.copy_up and not deps.volumes.exists(point.name):
            fresh.append(point)
        volume = deps.volumes.create(point.name, {}, anonymous=point.anonymous)
        return replace(point, source=str(volume.mountpoint))

    container = deps.store.by_id(record.id)
    if container is not None and record.mounts:
        deps.store.update(container, mounts=tuple(resolved(point) for point in record.mounts))
    return fresh


async def _undo(deps: Deps, container: Container, error: BaseException) -> None:
    deps.store.forget(container)
    try:
        await deps.images.remove_rootfs(container.id)
    except EngineError as exc:
        error.add_note(f"while undoing the create: {exc}")
    with contextlib.suppress(FileNotFoundError):
        deps.files(container.id).folder.rmdir()


def _check_platform(image: Image, platform: str) -> None:
    """`--platform linux/amd64`. Raises NotFound when the image is for another one."""
    if not platform:
        return
    wanted = platform.split("/")
    have = [str(image.config.get("os", "linux")), str(image.config.get("architecture", ""))]
    matches = wanted[0] in have if len(wanted) == 1 else wanted[:2] == have
    if not matches:
        raise NotFound(
            f"image with reference {image.tags[0] if image.tags else image.id} was found "
            f"but does not provide the specified platform ({platform})"
        )
