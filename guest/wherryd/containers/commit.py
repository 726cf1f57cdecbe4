"""`docker commit`: what a container wrote, and how it runs, as an image. Source: Engine API, ImageCommit."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from wherryd import clock
from wherryd.containers.deps import Deps
from wherryd.containers.lifecycle import Lifecycle
from wherryd.containers.record import ContainerRecord
from wherryd.containers.request import merge_env
from wherryd.containers.state import Status
from wherryd.containers.store import Container
from wherryd.errors import Conflict, NotFound, NotModified
from wherryd.images import changes, document
from wherryd.images.image import Image
from wherryd.images.reference import Reference

Config = dict[str, Any]

#: Of a container's config, what an image has too. Source: OCI image-spec, config.md, and Docker's own.
_IMAGE_FIELDS = (
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Healthcheck",
    "ArgsEscaped",
    "Volumes",
    "WorkingDir",
    "Labels",
    "OnBuild",
    "StopSignal",
    "Shell",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitWish:
    """name: the new image's, or None. config: instead of the container's; what it leaves open the container's
    fills. changes: Dockerfile instructions. pause: while files are read."""

    name: Reference | None = None
    author: str = ""
    comment: str = ""
    pause: bool = True
    changes: Sequence[str] = ()
    config: Mapping[str, Any] | None = None


async def commit(deps: Deps, lifecycle: Lifecycle, container: Container, wish: CommitWish) -> Image:
    """Raises Conflict, NotFound (the image it was made from), InvalidParameter, SystemFault."""
    record = container.record
    if record.status in (Status.REMOVING, Status.DEAD):
        raise Conflict(f"You cannot commit container {record.id} which is being removed")
    parent = _parent(deps, record)
    config = image_config(record.config, wish)
    with deps.images.pinned() as pins:
        async with _still(lifecycle, container, pause=wish.pause):
            layer = await deps.images.copy_rootfs(container.id, pins)
        made = document.document(
            parent,
            made_for=document.platform_of(parent, ""),
            config=config,
            created_at=clock.now(),
            created_by=" ".join(record.config["Cmd"] or ()),
            author=wish.author,
            diff_id=layer.diff_id if layer else None,
            comment=wish.comment,
        )
        made |= {
            "container": record.id,
            "container_config": {**_of_image(record.config), "Image": record.image},
        }
        image = deps.images.add(made, layer=layer, parent=parent)
    if wish.name is not None:
        deps.images.tag(image, wish.name.canonical)
    attributes = {"comment": wish.comment, "imageID": image.id}
    if wish.name is not None:
        attributes["imageRef"] = wish.name.familiar
    deps.publish(record, "commit", attributes)
    deps.events.publish("image", "create", image.id, {**image.labels, "name": image.id})
    return image


def _parent(deps: Deps, record: ContainerRecord) -> Image:
    try:
        return deps.images.resolve(record.image_id)
    except NotFound as exc:
        raise NotFound(
            f"the image {record.image} of container {record.name} was removed: load it again, or use export"
        ) from exc


@contextlib.asynccontextmanager
async def _still(lifecycle: Lifecycle, container: Container, *, pause: bool) -> AsyncIterator[None]:
    """Nothing changes the container's files meanwhile: it is paused, or cannot be started."""
    if not container.record.alive:
        async with container.lock:
            if not container.record.alive:
                if container.cleanup is not None:
                    await container.cleanup
                yield
                return
    paused = False
    if pause and container.record.status is Status.RUNNING:
        # It may end, or be paused by somebody else, in this very moment.
        with contextlib.suppress(Conflict, NotModified):
            await lifecycle.pause(container)
            paused = True
    try:
        yield
    finally:
        if paused:
            with contextlib.suppress(Conflict):
                await lifecycle.unpause(container)


def image_config(of_container: Mapping[str, Any], wish: CommitWish) -> Config:
    """The image's "config". Raises InvalidParameter for changes that are none."""
    base = _of_image(of_container)
    config = changes.apply(wish.changes, base if wish.config is None else _of_image(wish.config))
    return _of_image(_filled(config, base))


def _of_image(config: Mapping[str, Any]) -> Config:
    return {key: deepcopy(config[key]) for key in _IMAGE_FIELDS if config.get(key)}


def _filled(config: Config, base: Config) -> Config:
    """What the config leaves open is the container's, as dockerd merges them."""
    filled = dict(config)
    for key in ("User", "WorkingDir", "StopSignal"):
        filled[key] = config.get(key) or base.get(key)
    for key in ("ExposedPorts", "Volumes", "Labels", "Healthcheck"):
        filled[key] = {**(base.get(key) or {}), **(config.get(key) or {})}
    filled["Env"] = merge_env(base.get("Env") or (), config.get("Env") or ())
    if not config.get("Entrypoint"):
        filled["Cmd"] = config.get("Cmd") or base.get("Cmd")
        filled["Entrypoint"] = base.get("Entrypoint")
    return filled
