"""The door to containers. Each verb finds its container here; the work is done in the modules beside."""

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from wherryd import clock
from wherryd.cgroups.stats import CgroupStats
from wherryd.containers import (
    attach,
    creation,
    imagemounts,
    inspection,
    linking,
    listing,
    logoptions,
    logs,
    networking,
    request,
    restore,
    stats,
    top,
    updating,
)
from wherryd.containers.commit import CommitWish, commit
from wherryd.containers.deps import Deps
from wherryd.containers.execs import ExecService
from wherryd.containers.lifecycle import Lifecycle
from wherryd.containers.prober import Prober
from wherryd.containers.state import Status
from wherryd.containers.store import Container, Exit
from wherryd.errors import Conflict, EngineError, InvalidParameter, NotFound, NotSupported
from wherryd.images.compare import Changes
from wherryd.images.image import Image, ImageUse


class ContainerService:
    def __init__(self, deps: Deps) -> None:
        self.deps = deps
        self.execs = ExecService(deps)
        self.lifecycle = Lifecycle(deps, Prober(deps, self.execs))
        self._pruning = asyncio.Lock()

    async def open(self) -> None:
        self.deps.images.in_use = self.image_uses
        await restore.restore(self.deps, self.lifecycle)
        known = {container.id for container in self.deps.store}
        views = {key for container in self.deps.store for key in imagemounts.keys(container.record)}
        await self.deps.images.keep_rootfs(known | views)
        # A power cut can take a record whose folder was on the disk already.
        await asyncio.to_thread(_remove_strays, self.deps.data_root / "containers", known)

    async def close(self) -> None:
        """Containers run on."""
        await self.lifecycle.close()

    def image_uses(self, image_id: str) -> Sequence[ImageUse]:
        return [
            ImageUse(container_id=container.id, running=container.record.alive)
            for container in self.deps.store
            if container.record.image_id == image_id
            or any(point.image_id == image_id for point in container.record.mounts)
        ]

    def get(self, reference: str) -> Container:
        return self.deps.store.get(reference)

    async def create(
        self,
        name: str,
        body: Mapping[str, Any],
        platform: str = "",
        *,
        bare: bool = False,
        flat_read_only: bool = False,
    ) -> tuple[Container, tuple[str, ...]]:
        """bare: nothing is taken over from the image's config, only its files. flat_read_only: what is
        mounted below a read-only bind stays writable."""
        return await creation.create(
            self.deps, name, body, platform, bare=bare, flat_read_only=flat_read_only
        )

    async def start(self, reference: str) -> None:
        await self.lifecycle.start(self.get(reference))

    async def stop(self, reference: str, *, timeout: int | None, signum: int | None) -> None:
        await self.lifecycle.stop(self.get(reference), timeout=timeout, signum=signum)

    async def restart(self, reference: str, *, timeout: int | None, signum: int | None) -> None:
        await self.lifecycle.restart(self.get(reference), timeout=timeout, signum=signum)

    async def kill(self, reference: str, signum: int) -> None:
        await self.lifecycle.kill(self.get(reference), signum)

    async def pause(self, reference: str) -> None:
        await self.lifecycle.pause(self.get(reference))

    async def unpause(self, reference: str) -> None:
        await self.lifecycle.unpause(self.get(reference))

    async def remove(self, reference: str, *, force: bool, volumes: bool) -> None:
        container = self.get(reference)
        await self.lifecycle.remove(container, force=force, volumes=volumes)
        self.execs.forget(container)

    async def remove_link(self, link: str) -> None:
        """link: `container/alias`. Raises NotFound, Conflict."""
        reference, _, alias = link.strip("/").rpartition("/")
        if not reference:
            raise Conflict("Conflict, cannot remove the default link name of the container")
        await linking.remove(self.deps, self.get(reference), alias)

    async def rename(self, reference: str, name: str) -> None:
        container = self.get(reference)
        if not name:
            raise InvalidParameter("Neither old nor new names may be empty")
        name = name.removeprefix("/")
        async with container.lock:
            old = container.record.name
            if name == old:
                raise InvalidParameter("Renaming a container with the same name as its current name")
            record = self.deps.store.update(container, name=name)
            if container.sandbox is not None:  # it is known by the new name from now on
                container.sandbox = self.deps.networks.renamed(container.id)
        self.deps.publish(record, "rename", {"oldName": f"/{old}"})

    async def connect(self, network: str, reference: str, settings: Any) -> None:
        """settings: EndpointSettings, or None."""
        await networking.connect(self.deps, self.get(reference), network, settings)

    async def disconnect(self, network: str, reference: str) -> None:
        await networking.disconnect(self.deps, self.get(reference), network)

    async def update(self, reference: str, body: Mapping[str, Any]) -> list[str]:
        """New limits and restart policy, also while it runs. Returns warnings."""
        return await updating.update(self.deps, self.get(reference), body)

    async def changes(self, reference: str) -> Changes:
        return await self.deps.images.rootfs_changes(self.get(reference).id)

    def checked_config(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """A container's Config document, outside of a create. Raises InvalidParameter."""
        return request.parse(body).config

    async def commit(self, reference: str, wish: CommitWish) -> Image:
        return await commit(self.deps, self.lifecycle, self.get(reference), wish)

    async def wait(self, container: Container, condition: str) -> Exit:
        """condition: `not-running`, `next-exit` or `removed`. Registered at its first step."""
        if condition == "removed":
            return await asyncio.shield(container.removed)
        if condition == "next-exit" or container.record.alive or container.record.status is Status.RESTARTING:
            return await asyncio.shield(container.next_exit)
        return Exit(container.record.exit_code, container.record.error)

    async def attach(self, reference: str, wish: attach.AttachWish) -> attach.Attachment:
        container = self.get(reference)
        attachment = await attach.attach(container, wish)
        self.deps.publish(container.record, "attach")
        return attachment

    async def resize(self, reference: str, height: int, width: int) -> None:
        container = self.get(reference)
        if container.monitor is not None and container.record.alive:
            if container.record.tty:
                await container.monitor.resize(height, width)
            return
        # Before the start the size is kept: the last one wins, nothing queues (CVE-2022-23471).
        if container.record.status is not Status.CREATED:
            raise Conflict(f"container {container.id} is not running")
        container.console_size = (height, width)

    def logs(self, container: Container, query: logs.LogQuery) -> AsyncGenerator[list[logs.LogEntry], None]:
        """Raises NotSupported for a container without a log that can be read."""
        record = container.record
        if record.host_config["LogConfig"]["Type"] not in logoptions.READABLE:
            raise NotSupported(
                "configured logging driver does not support reading (hint: run with --log-driver json-file)"
            )
        path = self.deps.files(record.id).log
        watched: list[asyncio.Future[Exit]] = []

        def on_exit(wake: Callable[[], None]) -> None:
            if not watched or watched[-1] is not container.next_exit:
                watched[:] = [container.next_exit]
                container.next_exit.add_done_callback(lambda _: wake())

        return logs.read(path, query, self.deps.logs, lambda: not _may_write(container), on_exit)

    def select(self, query: listing.ListQuery) -> list[Container]:
        return listing.select(self.deps.store, self.deps.images, query)

    async def summary(self, container: Container, size: bool) -> dict[str, Any]:
        document = listing.summary(container, self.deps.images)
        if size:
            usage = await self._written_bytes(container)
            document |= {"SizeRw": usage, "SizeRootFs": self._image_size(container) + usage}
        return document

    async def inspect(self, reference: str, size: bool) -> dict[str, Any]:
        container = self.get(reference)
        usage = await self._written_bytes(container) if size else None
        document = inspection.inspect(
            container,
            folder=self.deps.files(container.id).folder,
            storage_driver=self.deps.images.storage_driver,
            exec_ids=self.execs.ids(container),
            size_rw=usage,
            size_root=self._image_size(container) if size else None,
        )
        document["HostConfig"]["Links"] = linking.shown(self.deps, container.record)
        return document

    def _image_size(self, container: Container) -> int:
        try:
            return self.deps.images.resolve(container.record.image_id).size_bytes
        except EngineError:
            return 0  # the image was removed by force; what the container wrote is still known

    async def top(self, reference: str, ps_arguments: str) -> tuple[list[str], list[list[str]]]:
        container = self.get(reference)
        if container.monitor is None or not container.record.alive:
            raise Conflict(f"container {container.id} is not running")
        return await top.processes(ps_arguments, await container.monitor.pids())

    async def sample(self, container: Container, previous: dict[str, Any] | None) -> dict[str, Any]:
        """One object of stats; zeroes for a container that does not run."""
        sample: CgroupStats | None = None
        networks = None
        monitor = container.monitor
        if monitor is not None and container.record.alive:
            sample = await monitor.stats()
            if container.record.network_mode not in ("none", "host"):
                networks = stats.network_counters(container.record.pid)
        return stats.document(container.record, sample, previous, networks)

    async def _written_bytes(self, container: Container) -> int:
        """By the container, on top of its image; 0 when its removal got as far as that and no further."""
        try:
            return await self.deps.images.rootfs_usage(container.id)
        except NotFound:
            if container.record.status is Status.DEAD:
                return 0
            raise

    async def prune(self, until_ns: int | None, labels: Mapping[str, list[str]]) -> dict[str, Any]:
        """Removes what has ended. labels: "label" and "label!" with their values.

        Raises Conflict while another one is at it.
        """
        if self._pruning.locked():
            raise Conflict("a prune operation is already running")
        async with self._pruning:
            return await self._prune(until_ns, labels)

    async def _prune(self, until_ns: int | None, labels: Mapping[str, list[str]]) -> dict[str, Any]:
        deleted, freed = [], 0
        query = listing.ListQuery(all=True, filters={"label": labels.get("label", [])})
        for container in self.select(query):
            record = container.record
            if record.status not in (Status.CREATED, Status.EXITED, Status.DEAD):
                continue
            if until_ns is not None and clock.to_nanoseconds(record.created) > until_ns:
                continue
            if any(_has_label(record.labels, each) for each in labels.get("label!", [])):
                continue
            usage = await self._written_bytes(container)
            try:
                await self.lifecycle.remove(container, force=False, volumes=False)
            except Conflict:
                continue  # it was started meanwhile
            self.execs.forget(container)
            deleted.append(container.id)
            freed += usage
        self.deps.events.publish("container", "prune", "", {"reclaimed": str(freed)})
        return {"ContainersDeleted": deleted or None, "SpaceReclaimed": freed}


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _may_write(container: Container) -> bool:
    return container.record.alive or container.record.status is Status.RESTARTING


def _remove_strays(folder: Path, known: Collection[str]) -> None:
    """Folders of containers that are not in the database."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in known and re.fullmatch(r"[0-9a-f]{64}", path.name):
            shutil.rmtree(path, ignore_errors=True)
