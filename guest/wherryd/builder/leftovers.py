"""What builds leave when their engine ends under them."""

import contextlib

from wherryd.containers.service import ContainerService
from wherryd.errors import EngineError

#: Of a step's container; its value is the build's id.
LABEL = "wherry.build"


async def remove_left_overs(containers: ContainerService) -> None:
    """Containers of builds that ended with their engine."""
    for container in [each for each in containers.deps.store if LABEL in each.record.labels]:
        with contextlib.suppress(EngineError):
            await containers.remove(container.id, force=True, volumes=True)
