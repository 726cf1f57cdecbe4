"""After a restart of the engine: find the living, record the dead, carry on what was cut off.

No container depends on the engine's process. For each record the runtime is asked for its monitor;
where there is none any more, the exit status it left on disk is taken.
"""

import logging

from wherryd.containers import clock, restart
from wherryd.containers.deps import Deps
from wherryd.containers.lifecycle import Lifecycle
from wherryd.containers.state import Status
from wherryd.containers.store import Container
from wherryd.errors import EngineError
from wherryd.runtime.client import ExitStatus

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
    for container in deps.store:
        try:
            await _restore(deps, lifecycle, container)
        except EngineError:
            # One broken container must not keep the engine from starting; it stays as its record says.
            log.exception("container %s could not be restored", container.id)


async def _restore(deps: Deps, lifecycle: Lifecycle, container: Container) -> None:
    record = container.record
    if container.monitor is not None:
        await _readopt(deps, lifecycle, container)
    elif record.alive:
        status = deps.runtime.last_exit(record.id) or ExitStatus(
            137, clock.now(), False, "the machine or the container's monitor was stopped while it ran"
        )
        again = restart.wanted_at_boot(record)
        async with container.lock:
            await lifecycle.ended(container, None, status)
        # `ended` restarts by the policy for ordinary exits; a policy that also survives boots is asked here.
        if again and container.record.status is Status.EXITED:
            await _start(lifecycle, container)
    elif record.status is Status.RESTARTING:
        await _start(lifecycle, container)
    elif record.status is Status.REMOVING:
        await lifecycle.remove(container, force=True, volumes=record.auto_remove)
    elif record.status is Status.EXITED and restart.wanted_at_boot(record) and record.stopped_by_user:
        await _start(lifecycle, container)
    elif record.status is Status.EXITED and record.auto_remove:
        await lifecycle.remove(container, force=False, volumes=True)


async def _readopt(deps: Deps, lifecycle: Lifecycle, container: Container) -> None:
    """Its process lives. A record that was not written before the kill is brought up to date."""
    assert container.monitor is not None, "the caller has it"  # noqa: S101
    container.sandbox = deps.networks.sandbox(container.id)
    if not container.record.alive:
        deps.store.update(
            container,
            status=Status.RUNNING,
            pid=container.monitor.pid,
            started_at=clock.now(),
            exit_code=0,
            error="",
        )
    lifecycle.watch(container, container.monitor)


async def _start(lifecycle: Lifecycle, container: Container) -> None:
    try:
        await lifecycle.start(container)
    except EngineError as exc:
        log.warning("container %s: start by its restart policy: %s", container.id, exc)
