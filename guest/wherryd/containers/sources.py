"""What a container's mounts are made of, made ready: volumes' own file systems, missing folders of -v."""

from pathlib import Path

from wherryd.containers.deps import Deps
from wherryd.containers.record import ContainerRecord
from wherryd.errors import InvalidParameter


async def hold(deps: Deps, record: ContainerRecord, holder: str) -> None:
    """The volumes' file systems are mounted until `deps.volumes.release(holder)`. Raises EngineError, with
    nothing held."""
    try:
        for point in record.mounts:
            if point.type == "volume":
                await deps.volumes.hold(point.name, holder)
    except BaseException:
        await deps.volumes.release(holder)
        raise


def prepare(deps: Deps, record: ContainerRecord) -> None:
    """Volumes and bind sources must exist. A missing bind source is made when -v asked for it. Raises
    NotFound, InvalidParameter."""
    for point in record.mounts:
        if point.type == "volume":
            deps.volumes.check_source(point.name)
        elif point.type == "bind" and not Path(point.source).exists():
            if "create" not in point.options:
                raise InvalidParameter(
                    f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
                )
            Path(point.source).mkdir(parents=True, exist_ok=True)
