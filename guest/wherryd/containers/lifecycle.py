"""start, stop, kill, restart, pause, unpause, rm, and what happens when a process ends by itself.

Order everywhere: state on disk, then the handle, then events and waiters. Nobody waits for an exit
while holding a container's lock, because the exit itself needs it.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine
from typing import Any

from wherryd import clock
from wherryd.containers import health, linking, restart, signals
from wherryd.containers.deps import Deps
from wherryd.containers.launch import clean_up, launch
from wherryd.containers.prober import Prober
from wherryd.containers.record import ContainerRecord
from wherryd.containers.removal import delete_data
from wherryd.containers.state import Event, Status, after
from wherryd.containers.store import Container, Exit
from wherryd.errors import Conflict, EngineError, NotModified, RuntimeFault, SystemFault
from wherryd.runtime.client import ExitStatus, Monitor

log = logging.getLogger(__name__)

DEFAULT_STOP_SECONDS = 10
#: After SIGKILL the kernel ends a process at once, unless it hangs in a driver.
_KILL_SECONDS = 30.0


class Lifecycle:
    def __init__(self, deps: Deps, prober: Prober) -> None:
        self._deps = deps
        self._prober = prober
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def close(self) -> None:
        """Stops watching; containers run on."""
        self._closing = True
        tasks = list(self._tasks)
        for container in self._deps.store:
            tasks += [task for task in (container.restarter, container.prober) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # start

    async def start(self, container: Container) -> None:
        """Raises NotModified when it runs, Conflict when it may not start, RuntimeFault when it could not."""
        async with container.lock:
            self._check_startable(container.record)
            self._cancel_restart(container)
            container.restarts_in_a_row = 0
            await self._start_locked(container, by_user=True)

    def _check_startable(self, record: ContainerRecord) -> None:
        if record.status is Status.RUNNING:
            raise NotModified(f"container {record.name} is running")
        if record.status is Status.PAUSED:
            raise Conflict("cannot start a paused container, try unpause instead")
        if record.status in (Status.REMOVING, Status.DEAD):
            raise Conflict("container is marked for removal and cannot be started")

    async def _start_locked(self, container: Container, *, by_user: bool) -> None:
        if container.cleanup is not None:
            await asyncio.shield(container.cleanup)
        if container.copies:
            # They still have the files of the last run mounted.
            await asyncio.wait([copy.ended for copy in container.copies])
        try:
            started_at = await launch(self._deps, container)
        except EngineError as exc:
            self._start_failed(container, exc)
            raise
        changes = {"restart_count": 0, "stopped_by_user": False} if by_user else {}
        monitor = container.monitor
        assert monitor is not None, "launch sets it"  # noqa: S101
        record = self._deps.store.update(
            container,
            status=after(container.record.status, Event.START),
            pid=monitor.pid,
            exit_code=0,
            error="",
            oom_killed=False,
            started_at=started_at,
            finished_at=container.record.finished_at,
            health=self._first_health(container.record),
            **changes,
        )
        linking.tell_linking(self._deps, record)
        self._deps.publish(record, "start")
        self.watch(container, monitor)

    @staticmethod
    def _first_health(record: ContainerRecord) -> dict[str, Any] | None:
        return health.begun(record.health) if health.check_of(record.config) is not None else None

    def _start_failed(self, container: Container, error: EngineError) -> None:
        code = error.exit_code if isinstance(error, RuntimeFault) and error.exit_code in (126, 127) else 128
        status = after(container.record.status, Event.START_FAILED)
        record = self._deps.store.update(container, status=status, exit_code=code, error=str(error))
        for attachment in tuple(container.pending):
            attachment.give_up()
        container.pending.clear()
        if record.auto_remove and record.status is not Status.RESTARTING:
            self._spawn(self._remove_quietly(container))

    # the end of a process

    def watch(self, container: Container, monitor: Monitor) -> None:
        """Waits for its end, and runs its health check until then."""
        self._prober.begin(container)
        self._spawn(self._wait_for_end(container, monitor))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait_for_end(self, container: Container, monitor: Monitor) -> None:
        try:
            status = await monitor.wait()
        except EngineError as exc:
            log.warning("container %s: its monitor is lost: %s", container.id, exc)
            status = ExitStatus(137, clock.now(), False, f"the container's monitor is lost: {exc}")
        async with container.lock:
            await self.ended(container, monitor, status)

    async def ended(self, container: Container, monitor: Monitor | None, status: ExitStatus) -> None:
        """Records an exit. Called with the lock held."""
        deps, record = self._deps, container.record
        again = not self._closing and restart.wanted(record, status.exit_code)
        if monitor is not None:
            container.cleanup = asyncio.create_task(clean_up(deps, container, monitor))
        self._prober.end(container)
        await self._detach_network(container)
        event = Event.DIE_TO_RESTART if again else Event.DIE
        container.monitor = None
        record = deps.store.update(
            container,
            status=after(record.status, event),
            pid=0,
            exit_code=status.exit_code,
            error=status.error,
            oom_killed=status.oom_killed,
            finished_at=status.exited_at,
            health=health.ended(record.health),
        )
        if status.oom_killed:
            deps.publish(record, "oom")
        deps.publish(
            record,
            "die",
            {"exitCode": str(status.exit_code), "execDuration": str(_lived_seconds(record))},
        )
        container.tell_exit(Exit(status.exit_code))
        if again:
            container.restarter = asyncio.create_task(self._restart_later(container))
        elif record.auto_remove:
            self._spawn(self._remove_quietly(container))

    async def _detach_network(self, container: Container) -> None:
        container.sandbox = None
        try:
            await self._deps.networks.detach(container.id)
        except SystemFault as exc:
            log.warning("container %s: leaving its network: %s", container.id, exc)

    async def _restart_later(self, container: Container) -> None:
        lived = _lived_seconds(container.record)
        if lived >= restart.STEADY_SECONDS:
            container.restarts_in_a_row = 0
        while _is_restarting(container):
            await asyncio.sleep(restart.delay_seconds(container.restarts_in_a_row))
            container.restarts_in_a_row += 1
            async with container.lock:
                if not _is_restarting(container):
                    return
                self._deps.store.update(container, restart_count=container.record.restart_count + 1)
                try:
                    await self._start_locked(container, by_user=False)
                except EngineError as exc:
                    log.warning("container %s: restart failed: %s", container.id, exc)
                    if not restart.wanted(container.record, 128):
                        self._give_up(container)

    def _give_up(self, container: Container) -> None:
        record = self._deps.store.update(container, status=after(container.record.status, Event.GIVE_UP))
        container.tell_exit(Exit(record.exit_code))

    def _cancel_restart(self, container: Container) -> None:
        if container.restarter is not None:
            container.restarter.cancel()
            container.restarter = None

    # stop and kill

    async def stop(self, container: Container, *, timeout: int | None, signum: int | None) -> None:
        """Asks, waits, then forces. timeout: seconds, -1 for ever, None for the container's own.

        Raises NotModified when it does not run.
        """
        async with container.lock:
            if container.record.status is Status.RESTARTING:
                self._cancel_restart(container)
                self._deps.store.update(container, stopped_by_user=True)
                self._give_up(container)
                self._deps.publish(container.record, "stop")
                return
            if not container.record.alive or container.monitor is None:
                raise NotModified(f"container {container.record.name} is not running")
            record = self._deps.store.update(container, stopped_by_user=True)
            ended = container.next_exit
            await self._signal_if_there(container, signum or stop_signal(record))
        seconds = _stop_seconds(record) if timeout is None else timeout
        if not await _within(ended, None if seconds < 0 else float(seconds)):
            await self._kill_for_good(container, ended)
        self._deps.publish(container.record, "stop")

    async def kill(self, container: Container, signum: int) -> None:
        """Raises Conflict when it does not run. SIGKILL returns when the container has ended."""
        async with container.lock:
            record = container.record
            if not record.alive or container.monitor is None:
                raise Conflict(f"cannot kill container: {record.name}: container {record.id} is not running")
            if signum in (signal.SIGKILL, stop_signal(record)):
                self._deps.store.update(container, stopped_by_user=True)
            ended = container.next_exit
            if signum != signal.SIGKILL:
                await self._signal(container, signum)
                return
        await self._kill_for_good(container, ended)

    async def _signal(self, container: Container, signum: int) -> None:
        """Sends it, and lets a frozen container run so that it can be received."""
        assert container.monitor is not None, "callers check"  # noqa: S101
        await container.monitor.kill(signum, everyone=signum == signal.SIGKILL)
        self._deps.publish(container.record, "kill", {"signal": str(signum)})
        if container.record.status is Status.PAUSED:
            await self._resume(container)

    async def _signal_if_there(self, container: Container, signum: int) -> None:
        """For those who wait for its end: it may have come, and the word of it be on its way to us."""
        try:
            await self._signal(container, signum)
        except Conflict as exc:
            log.debug("container %s: %s", container.id, exc)

    async def _kill_for_good(self, container: Container, ended: "asyncio.Future[Exit]") -> None:
        async with container.lock:
            if not ended.done() and container.monitor is not None:
                await self._signal_if_there(container, int(signal.SIGKILL))
        if not await _within(ended, _KILL_SECONDS):
            raise SystemFault(
                f"container {container.record.name} did not end {_KILL_SECONDS:.0f} s after SIGKILL "
                "(hint: a process of it hangs in the kernel; see dmesg)"
            )

    async def restart(self, container: Container, *, timeout: int | None, signum: int | None) -> None:
        try:
            await self.stop(container, timeout=timeout, signum=signum)
        except NotModified:
            log.debug("container %s: restart of one that does not run", container.id)
        async with container.lock:
            self._check_startable(container.record)
            await self._start_locked(container, by_user=True)
        self._deps.publish(container.record, "restart")

    # pause

    async def pause(self, container: Container) -> None:
        async with container.lock:
            record = container.record
            if record.status is Status.PAUSED:
                raise Conflict(f"container {record.id} is already paused")
            if record.status is Status.RESTARTING:
                raise Conflict(f"container {record.id} is restarting, wait until the container is running")
            if not record.alive or container.monitor is None:
                raise Conflict(f"container {record.id} is not running")
            await container.monitor.pause()
            record = self._deps.store.update(container, status=after(record.status, Event.PAUSE))
        self._deps.publish(record, "pause")

    async def unpause(self, container: Container) -> None:
        async with container.lock:
            if container.record.status is not Status.PAUSED:
                raise Conflict(f"container {container.record.id} is not paused")
            await self._resume(container)

    async def _resume(self, container: Container) -> None:
        assert container.monitor is not None, "a paused container has a process"  # noqa: S101
        await container.monitor.resume()
        status = after(container.record.status, Event.UNPAUSE)
        record = self._deps.store.update(container, status=status)
        self._deps.publish(record, "unpause")

    # rm

    async def remove(self, container: Container, *, force: bool, volumes: bool) -> None:
        """Raises Conflict for one that runs, unless forced."""
        while True:
            self._check_removable(container, force=force)
            if container.record.alive:
                await self._kill_to_remove(container)
            if force:
                for copy in container.copies:
                    copy.interrupt()
            async with container.lock:
                if container.removed.done():
                    return
                # A start or a restart policy may have come first while we waited for the lock.
                if not container.record.alive:
                    await self._remove_locked(container, volumes=volumes)
                    return

    def _check_removable(self, container: Container, *, force: bool) -> None:
        record = container.record
        if (record.alive or _is_restarting(container)) and not force:
            first = "unpause and then " if record.status is Status.PAUSED else ""
            raise Conflict(
                f'cannot remove container "/{record.name}": container is {record.status}: '
                f"{first}stop the container before removing or force remove"
            )
        if record.status is Status.REMOVING and container.lock.locked():
            raise Conflict(f"removal of container {record.name} is already in progress")

    async def _kill_to_remove(self, container: Container) -> None:
        try:
            await self.kill(container, int(signal.SIGKILL))
        except Conflict:
            log.debug("container %s ended before it was killed", container.id)

    async def _remove_quietly(self, container: Container) -> None:
        """--rm: nobody is there to be told of a failure but the waiters and the log."""
        try:
            async with container.lock:
                if not container.removed.done():
                    await self._remove_locked(container, volumes=True)
        except (EngineError, OSError) as exc:
            log.error("container %s: automatic removal: %s", container.id, exc)

    async def _remove_locked(self, container: Container, *, volumes: bool) -> None:
        deps = self._deps
        self._cancel_restart(container)
        status = after(container.record.status, Event.REMOVE)
        record = deps.store.update(container, status=status)
        for attachment in tuple(container.pending):
            attachment.give_up()
        container.pending.clear()
        if container.cleanup is not None:
            await asyncio.shield(container.cleanup)
        try:
            await delete_data(deps, record, volumes=volumes)
        except (EngineError, OSError) as exc:
            message = f"unable to remove the data of container {record.name}: {exc}"
            deps.store.update(container, status=after(status, Event.REMOVE_FAILED), error=message)
            container.tell_removal(Exit(record.exit_code, message), gone=False)
            raise SystemFault(f"{message} (hint: free what it names and run rm again)") from exc
        deps.store.forget(container)
        deps.publish(record, "destroy")
        container.tell_removal(Exit(record.exit_code), gone=True)


def _is_restarting(container: Container) -> bool:
    return container.record.status is Status.RESTARTING


def stop_signal(record: ContainerRecord) -> int:
    return signals.number(record.config["StopSignal"] or "SIGTERM")


def _stop_seconds(record: ContainerRecord) -> int:
    own = record.config["StopTimeout"]
    return DEFAULT_STOP_SECONDS if own is None else int(own)


async def _within(future: "asyncio.Future[Exit]", seconds: float | None) -> bool:
    """Whether it was resolved in time. The future itself is left alone."""
    done, _ = await asyncio.wait([future], timeout=seconds)
    return bool(done)


def _lived_seconds(record: ContainerRecord) -> int:
    if record.started_at == clock.ZERO:
        return 0
    end = time.time_ns() if record.alive else clock.to_nanoseconds(record.finished_at)
    return max(0, (end - clock.to_nanoseconds(record.started_at)) // 1_000_000_000)
