"""After a restart of the engine: find the living, record the dead, carry on what was cut off.

No container depends on the engine's process. For each record the runtime is asked for its monitor;
where there is none any more, the exit status it left on disk is taken.
"""

import logging

from wherryd import clock
from wherryd.containers import restart, sources, subpaths
from wherryd.containers.deps import Deps
from wherryd.containers.launch import clean_up
from wherryd.containers.lifecycle import Lifecycle
from wherryd.containers.state import Status
from wherryd.containers.store import Container
from wherryd.errors import EngineError
from wherryd.runtime.client import ExitStatus, Monitor

log = logging.getLogger(__name__)


async def restore(deps: Deps, lifecycle: Lifecycle) -> None:
    """Call once, after the stores and the runtime are open and before the API answers."""
    living: set[str] = set()
    for container in deps.store:
        monitor = await deps.runtime.recover(container.id)
        if monitor is not None:
            container.monitor = monitor
            living.add(container.id)
    await deps.networks.adopt(living)
    for container_id in living:
        await _hold_volumes(deps, container_id)
    for container in deps.store:
        try:
            await _restore(deps, lifecycle, container)
        except EngineError as exc:
            # One broken container must not keep the engine from starting; it stays as its record says.
            log.error("container %s could not be restored: %s", container.id, exc)
    await deps.volumes.sweep()
    subpaths.sweep(deps)


async def _hold_volumes(deps: Deps, container_id: str) -> None:
    """A living container goes on with what it has, whatever became of its volumes."""
    try:
        await sources.hold(deps, deps.store.get(container_id).record, container_id)
    except EngineError as exc:
        log.warning("container %s: %s", container_id, exc)


async def _restore(deps: Deps, lifecycle: Lifecycle, container: Container) -> None:
    record = container.record
    if container.monitor is not None:
        await _readopt(deps, lifecycle, container, container.monitor)
    elif record.alive:
        await _mark_ended(deps, lifecycle, container)
    elif record.status is Status.RESTARTING:
        await _start(lifecycle, container)
    elif record.status is Status.REMOVING:
        await lifecycle.remove(container, force=True, volumes=record.auto_remove)
    elif record.status is Status.EXITED and restart.wanted_at_boot(record) and record.stopped_by_user:
        await _start(lifecycle, container)
    elif record.status is Status.EXITED and record.auto_remove:
        await lifecycle.remove(container, force=False, volumes=True)


async def _readopt(deps: Deps, lifecycle: Lifecycle, container: Container, monitor: Monitor) -> None:
    """Its monitor lives. A record that the old engine could not write any more is brought up to date."""
    record = container.record
    facts = await monitor.call("hello")
    ended = deps.runtime.last_exit(record.id)
    never_ran = not facts["started_at"]
    known_as_ended = not record.alive and ended is not None and ended.exited_at == record.finished_at
    if never_ran or known_as_ended:
        # The old engine was killed between creating and starting it, or while cleaning up after its exit.
        container.monitor = None
        await clean_up(deps, container, monitor)
        if record.alive:
            await _mark_ended(deps, lifecycle, container)
        return
    container.sandbox = deps.networks.sandbox(container.id)
    deps.store.update(
        container,
        status=Status.PAUSED if facts["paused"] else Status.RUNNING,
        pid=monitor.pid,
        started_at=facts["started_at"],
        exit_code=0,
        error="",
    )
    lifecycle.watch(container, monitor)


async def _mark_ended(deps: Deps, lifecycle: Lifecycle, container: Container) -> None:
    """Records the exit of a container whose monitor is gone, and clears what it left."""
    lost = ExitStatus(
        137, clock.now(), False, "the machine or the container's monitor was stopped while it ran"
    )
    status = deps.runtime.last_exit(container.id) or lost
    await deps.runtime.forget(container.id)
    again = restart.wanted_at_boot(container.record)
    async with container.lock:
        await lifecycle.ended(container, None, status)
    # `ended` restarts by the policy for ordinary exits; a policy that also survives boots is asked here.
    if again and container.record.status is Status.EXITED:
        await _start(lifecycle, container)


async def _start(lifecycle: Lifecycle, container: Container) -> None:
    try:
        await lifecycle.start(container)
    except EngineError as exc:
        log.warning("container %s: start by its restart policy: %s", container.id, exc)
