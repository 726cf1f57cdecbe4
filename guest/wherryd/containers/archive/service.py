"""Copies in and out of containers: which view, whose turn, what is told.

While a container does not run, its lock is held for the time of a copy, as dockerd does: nobody may start it
on files that are mounted here. While it runs, copies need no lock; its next start waits for them.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wherryd.containers import idranges, imagemounts, plan, sources, subpaths
from wherryd.containers.archive.order import ArchiveOrder, Verb, ViewOrder
from wherryd.containers.archive.process import ArchiveProcess
from wherryd.containers.deps import Deps
from wherryd.containers.record import ContainerRecord
from wherryd.containers.state import Status
from wherryd.containers.store import Container
from wherryd.errors import Conflict, EngineError, NotFound

PathStat = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """stat: of the path. chunks: the archive, to be read to its end or left."""

    stat: PathStat
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class _Living:
    """fd: a pidfd, closed by whoever got it."""

    fd: int
    own_ids: bool


@dataclass(eq=False, slots=True)
class _Copy:
    """In `Container.copies` as long as it lasts."""

    process: ArchiveProcess
    ended: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def interrupt(self) -> None:
        self.process.interrupt()


class ArchiveService:
    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    @property
    def _mount_point(self) -> str:
        """Always empty: what is mounted there is seen by one child alone."""
        folder = self._deps.exec_root / "view"
        folder.mkdir(mode=0o700, exist_ok=True)
        return str(folder)

    async def stat(self, container: Container, path: str) -> PathStat:
        """HEAD /containers/{id}/archive. Raises NotFound, InvalidParameter, Conflict, SystemFault."""
        async with (
            self._view(container) as view,
            self._running(container, Verb.STAT, view, path=path) as child,
        ):
            found = await _found(child, container, path)
            await child.finish()
        return found

    @asynccontextmanager
    async def read(self, container: Container, path: str, *, coding: str = "") -> AsyncIterator[Outgoing]:
        """What is at the path, as an archive. coding: "gzip", "deflate" or none.

        Raises as `stat`; nothing goes on after the block.
        """
        order = {"path": path, "coding": coding}
        async with self._view(container) as view, self._running(container, Verb.PACK, view, **order) as child:
            stat = await _found(child, container, path)
            self._deps.publish(container.record, "archive-path")
            yield Outgoing(stat, child.chunks())

    async def write(
        self,
        container: Container,
        path: str,
        archive: AsyncIterator[bytes],
        *,
        no_overwrite: bool = False,
        as_user: bool = False,
    ) -> None:
        """Extracts the archive into the directory at path. as_user: everything belongs to the container's
        USER then, as dockerd reads copyUIDGID.

        Raises NotFound, InvalidParameter, Forbidden (read-only), Conflict, SystemFault.
        """
        order = {
            "path": path,
            "no_overwrite": no_overwrite,
            "owner": str(container.record.config["User"]) if as_user else "",
        }
        async with (
            self._view(container) as view,
            self._running(container, Verb.EXTRACT, view, **order) as child,
        ):
            await _found(child, container, path)
            async for data in archive:
                await child.feed(data)
            await child.finish()
        self._deps.publish(container.record, "extract-to-dir")

    @asynccontextmanager
    async def export(self, container: Container) -> AsyncIterator[Outgoing]:
        """The whole root file system, without what is mounted into it."""
        _check_there(container)
        layers = await self._deps.images.rootfs_view(container.id)
        view = ViewOrder(mount_point=self._mount_point, layers=layers)
        async with self._running(container, Verb.EXPORT, view) as child:
            stat = await child.found()
            self._deps.publish(container.record, "export")
            yield Outgoing(stat, child.chunks())

    # the view

    @asynccontextmanager
    async def _view(self, container: Container) -> AsyncIterator[ViewOrder]:
        living = await self._living(container)
        if living is None:
            async with container.lock:
                # It may have been started or removed while we waited.
                living = await self._living(container)
                if living is None:
                    _check_there(container)
                    if container.cleanup is not None:
                        await asyncio.shield(container.cleanup)
                    async with self._resting(container.record) as view:
                        yield view
                    return
        try:
            record = container.record
            mounts = tuple(plan.mount(point, idranges.HOSTS) for point in record.mounts)
            yield ViewOrder(pidfd=living.fd, own_ids=living.own_ids, mounts=mounts)
        finally:
            os.close(living.fd)

    async def _living(self, container: Container) -> _Living | None:
        """Its first process; None when it does not run.

        A number may have been given to another process meanwhile. Who is in the container's cgroup after
        the descriptor was opened is meant by it.
        """
        record, monitor = container.record, container.monitor
        if not record.alive or monitor is None:
            return None
        try:
            pidfd = os.pidfd_open(record.pid)
        except ProcessLookupError:
            return None
        try:
            if record.pid in await monitor.pids():
                return _Living(pidfd, _has_own_ids(record.pid))
        except (EngineError, FileNotFoundError):
            if container.record.alive and container.monitor is monitor:
                os.close(pidfd)
                raise
        except BaseException:
            os.close(pidfd)
            raise
        os.close(pidfd)
        return None

    @asynccontextmanager
    async def _resting(self, record: ContainerRecord) -> AsyncIterator[ViewOrder]:
        holder = f"copy:{record.id}"  # one at a time: its lock is held
        await sources.hold(self._deps, record, holder)
        try:
            sources.prepare(self._deps, record)
            async with AsyncExitStack() as stack:
                opened = stack.enter_context(subpaths.opened(self._deps, record)).mounts
                opened = await stack.enter_async_context(
                    imagemounts.opened(self._deps, record.id, opened, id_base=0)
                )
                mounts = [plan.mount(point, idranges.HOSTS) for point in opened]
                own = self._deps.files(record.id)
                if own.hosts.exists():  # since its first start
                    mounts += own.mounts(
                        [each.destination for each in mounts], bool(record.host_config["ReadonlyRootfs"])
                    )
                yield ViewOrder(
                    mount_point=self._mount_point,
                    layers=await self._deps.images.rootfs_mounts(record.id),
                    mounts=tuple(mounts),
                    read_only_root=bool(record.host_config["ReadonlyRootfs"]),
                )
        finally:
            await self._deps.volumes.release(holder)

    @asynccontextmanager
    async def _running(
        self, container: Container, verb: Verb, view: ViewOrder, **order: Any
    ) -> AsyncIterator[ArchiveProcess]:
        process = await ArchiveProcess.start(ArchiveOrder(verb=verb, view=view, **order))
        copy = _Copy(process)
        container.copies.add(copy)
        try:
            yield process
        finally:
            try:
                await process.abort()
            finally:
                container.copies.discard(copy)
                copy.ended.set_result(None)


def _has_own_ids(pid: int) -> bool:
    """Whether the process is in another user namespace than we are."""
    found, ours = Path("/proc", str(pid), "ns/user").stat(), Path("/proc/self/ns/user").stat()
    return (found.st_dev, found.st_ino) != (ours.st_dev, ours.st_ino)


def _check_there(container: Container) -> None:
    if container.removed.done() or container.record.status in (Status.REMOVING, Status.DEAD):
        raise Conflict(f"container {container.record.name} is being removed: its files cannot be copied")


async def _found(child: ArchiveProcess, container: Container, path: str) -> PathStat:
    try:
        return await child.found()
    except NotFound as exc:
        raise NotFound(f"Could not find the file {path} in container {container.record.name}") from exc
