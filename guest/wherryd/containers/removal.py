"""Taking a container's data away: writable layer, network, folder, the volumes made for it alone."""

import logging

from wherryd.containers import imagemounts
from wherryd.containers.deps import Deps
from wherryd.containers.record import ContainerRecord
from wherryd.errors import Conflict, NotFound
from wherryd.sys import folders

log = logging.getLogger(__name__)


async def delete_data(deps: Deps, record: ContainerRecord, *, volumes: bool) -> None:
    """Every step may have been done before: a removal that was cut off is carried on by the next."""
    await deps.networks.detach(record.id)
    await deps.images.remove_rootfs(record.id)
    await imagemounts.remove(deps, record)
    for folder in (deps.bundle(record.id), deps.files(record.id).folder):
        folders.remove(folder)
    if volumes:
        _remove_anonymous_volumes(deps, record)


def _remove_anonymous_volumes(deps: Deps, record: ContainerRecord) -> None:
    for point in record.mounts:
        if point.type == "volume" and point.anonymous:
            try:
                deps.volumes.remove(point.name, except_for=record.id)
            except (NotFound, Conflict) as exc:
                log.info("volume %s stays: %s", point.name, exc)
