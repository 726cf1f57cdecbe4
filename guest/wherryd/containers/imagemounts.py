"""Images mounted into containers (`--mount type=image,source=NAME,target=PATH`): their files, to be read.

A container has a view (snapshots/protocol.py) of each such image from its creation to its removal. So the
layers stay with it, also when the image is removed by force, and a start finds what the creation found.

For a start the view is mounted in a folder of the engine's own, its ids mapped as the container's are, and
bound from there; then the folder goes, and the mount is the container's alone. Source: Engine API, Mount.
"""

import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace

from wherryd.containers import subpaths
from wherryd.containers.deps import Deps
from wherryd.containers.record import ContainerRecord, MountPoint
from wherryd.errors import InvalidParameter, NotFound
from wherryd.runtime import idmap, mounting, outside
from wherryd.spec import idrange
from wherryd.spec.mount import Mount


def resolved(deps: Deps, point: MountPoint) -> MountPoint:
    """With the id of the image that is meant. Raises InvalidParameter."""
    if point.type != "image":
        return point
    try:
        return replace(point, image_id=deps.images.resolve(point.name).id)
    except NotFound as exc:
        # Not as "not found": to a client that would mean the container's own image, which it then pulls.
        raise InvalidParameter(
            f'invalid mount config for type "image": {exc} (hint: docker pull {point.name})'
        ) from exc


def keys(record: ContainerRecord) -> list[str]:
    """Of the views that it has."""
    return [_key(record.id, number) for number, point in enumerate(record.mounts) if point.type == "image"]


def _key(container_id: str, number: int) -> str:
    """number: among all mounts of its record, whose order never changes."""
    return f"{container_id}.{number}"


async def make(deps: Deps, record: ContainerRecord) -> None:
    """Raises NotFound for an image that went meanwhile. What was made is left for `remove`."""
    for number, point in enumerate(record.mounts):
        if point.type == "image":
            await deps.images.view_rootfs(_key(record.id, number), deps.images.resolve(point.image_id))


async def remove(deps: Deps, record: ContainerRecord) -> None:
    """Idempotent."""
    for key in keys(record):
        await deps.images.remove_rootfs(key)


@asynccontextmanager
async def opened(
    deps: Deps, container_id: str, points: Sequence[MountPoint], id_base: int
) -> AsyncIterator[tuple[MountPoint, ...]]:
    """The mounts of a record with sources that can be bound, good inside the `async with`. Raises
    InvalidParameter for a sub-path that is not there or leads out of the image, SystemFault."""
    layers = {
        number: await deps.images.rootfs_mounts(_key(container_id, number))
        for number, point in enumerate(points)
        if point.type == "image"
    }
    with ExitStack() as stack:
        yield tuple(
            _mounted(deps, stack, point, layers[number], id_base) if number in layers else point
            for number, point in enumerate(points)
        )


def _mounted(
    deps: Deps, stack: ExitStack, point: MountPoint, layers: Iterable[Mount], id_base: int
) -> MountPoint:
    place = subpaths.folder(deps) / secrets.token_hex(8)
    place.mkdir(mode=0o700)
    stack.callback(subpaths.take_away, place)
    if id_base:
        ids = idrange.mappings(id_base)
        with idmap.namespace(ids, ids) as user_namespace:
            mapped = tuple(outside.mapped(layer, str(place), user_namespace) for layer in layers)
            mounting.mount_root(str(place), mapped, user_namespace)
    else:
        mounting.mount_root(str(place), tuple(layers))
    whole = replace(point, source=str(place))
    return stack.enter_context(subpaths.opened_point(deps, whole))
