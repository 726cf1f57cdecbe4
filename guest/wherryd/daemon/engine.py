"""The engine put together: which service knows which, in what order they open and close."""

import json
import logging
import os
import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from wherryd import clock
from wherryd.api import (
    absent,
    archive,
    audit,
    build,
    commit,
    containers,
    datagrams,
    execs,
    images,
    networks,
    streams,
    system,
    volumes,
)
from wherryd.api import registry as registries
from wherryd.api.app import Application, build_app
from wherryd.builder.service import BuilderService
from wherryd.containers import idranges
from wherryd.containers.archive.service import ArchiveService
from wherryd.containers.deps import Deps
from wherryd.containers.events import EventBus
from wherryd.containers.logwatch import LogWatcher
from wherryd.containers.service import ContainerService
from wherryd.containers.store import ContainerStore
from wherryd.containers.volumes import VolumeStore
from wherryd.daemon.options import Options
from wherryd.errors import EngineError
from wherryd.images.service import ImageService
from wherryd.metadata.database import Database
from wherryd.networks.naming import NameDefaults
from wherryd.networks.service import NetworkService
from wherryd.registry.hosts import RegistryOptions
from wherryd.registry.service import Registry
from wherryd.runtime import idmap
from wherryd.runtime.client import RuntimeClient
from wherryd.spec import idrange
from wherryd.sys import capabilities, durable

log = logging.getLogger(__name__)


class Engine:
    """`open` takes the runtime that was started before the loop; `close` undoes in reverse."""

    def __init__(self, options: Options, runtime: RuntimeClient) -> None:
        self._options = options
        self._runtime = runtime
        self._opened = AsyncExitStack()
        self.events = EventBus()

    async def open(self) -> Application:
        """Opens everything and restores the containers. Raises EngineError with everything closed again."""
        async with AsyncExitStack() as stack:
            app = await self._open(stack)
            self._opened = stack.pop_all()
        return app

    async def _open(self, stack: AsyncExitStack) -> Application:
        options = self._options
        database = Database(options.data_root / "wherry.db")
        stack.callback(database.close)
        await self._runtime.open()
        stack.push_async_callback(self._runtime.close)
        store = ContainerStore(database)
        store.load()
        registry = self._registry()
        stack.push_async_callback(registry.close)
        image_service = ImageService(
            data_root=options.data_root,
            database=database,
            storage_driver=options.storage_driver,
            storage_options=options.storage_options,
            publish=self.events.publish,
            registry=registry,
        )
        await image_service.open()
        stack.push_async_callback(image_service.close)
        id_trial = self._id_trial(stack)
        network_service = self._networks(database, store, user_namespaces=id_trial is not None)
        await network_service.open()
        stack.push_async_callback(network_service.close)
        volume_store = VolumeStore(options.data_root / "volumes", store.volume_users)
        volume_store.open()
        logs = LogWatcher()
        logs.open()
        stack.callback(logs.close)
        deps = Deps(
            data_root=options.data_root,
            exec_root=options.exec_root,
            cgroup_parent=options.cgroup_parent,
            runtime=self._runtime,
            runtimes=options.runtimes,
            images=image_service,
            networks=network_service,
            store=store,
            volumes=volume_store,
            events=self.events,
            logs=logs,
            capabilities=capabilities.names(capabilities.bounding_set()),
            id_trial=id_trial,
            default_init=options.init,
            default_log={"Type": options.log_driver, "Config": dict(options.log_opts)},
        )
        service = ContainerService(deps)
        stack.push_async_callback(service.close)
        await service.open()
        builder = BuilderService(
            data_root=options.data_root,
            database=database,
            containers=service,
            most_bytes=options.builder_keep_bytes,
        )
        stack.push_async_callback(builder.close)
        await builder.open()
        return self._app(service, registry, builder)

    def _registry(self) -> Registry:
        options = self._options
        return Registry(
            RegistryOptions(
                insecure=options.insecure_registries,
                mirrors=options.registry_mirrors,
                # The first one is on the data disk and survives a new system disk.
                certificates=(options.data_root / "certs.d", Path("/etc/wherry/certs.d")),
            )
        )

    def _id_trial(self, stack: AsyncExitStack) -> idmap.Trial | None:
        """None when containers are to have the host's ids, or have to: that is logged."""
        if not self._options.remap_ids:
            return None
        data_root = self._options.data_root
        try:
            trial = idmap.Trial(idrange.mappings(idranges.FIRST))
        except EngineError as error:
            log.warning("containers have the host's ids: no user namespace can be made: %s", error)
            return None
        stack.callback(trial.close)
        if not trial.word(str(data_root)):
            log.warning(
                "containers have the host's ids: the file system of %s has no id-mapped mounts "
                "(ext4, xfs, btrfs and tmpfs have them; --userns-remap=host says that it is meant so)",
                data_root,
            )
            return None
        return trial

    def _networks(
        self, database: Database, store: ContainerStore, *, user_namespaces: bool
    ) -> NetworkService:
        def container_name(container_id: str) -> str:
            container = store.by_id(container_id)
            return container.record.name if container else ""

        chosen = self._options.network
        return NetworkService(
            database=database,
            exec_root=self._options.exec_root,
            bridge=chosen.bridge,
            names=NameDefaults(
                dns=chosen.dns,
                search=chosen.dns_search,
                options=chosen.dns_options,
                host_gateway=chosen.host_gateway,
            ),
            pools=chosen.pools,
            publish=self.events.publish,
            container_name=container_name,
            user_namespaces=user_namespaces,
        )

    def _app(self, service: ContainerService, registry: Registry, builder: BuilderService) -> Application:
        deps, facts = service.deps, self._facts()
        return build_app(
            [
                system.routes(service, facts, builder.usage),
                containers.routes(service, facts.cgroup_version),
                archive.routes(service, ArchiveService(deps)),
                commit.routes(service),
                streams.routes(service),
                execs.routes(service),
                registries.routes(registry),
                images.routes(deps.images),
                build.routes(builder),
                audit.routes(self._audit),
                networks.routes(deps.networks, service),
                volumes.routes(deps.volumes, deps.events),
                datagrams.routes(),
                absent.routes(),
            ]
        )

    async def _audit(self, verify: bool) -> dict[str, Any]:
        from wherryd.daemon import auditcommand  # seldom asked for

        return await auditcommand.in_a_process(self._options.data_root, verify)

    def _facts(self) -> system.EngineFacts:
        options = self._options
        return system.EngineFacts(
            id=_engine_id(options.data_root / "engine-id"),
            name=os.uname().nodename,
            data_root=str(options.data_root),
            cgroup_version=2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
            insecure_registries=options.insecure_registries,
            registry_mirrors=options.registry_mirrors,
            debug=options.debug,
            started_at=clock.now(),
            runtimes=options.runtimes,
        )

    async def close(self) -> None:
        """Containers run on. May be called twice."""
        self.events.close()
        await self._opened.aclose()


def _engine_id(path: Path) -> str:
    """An identity of this data root, made at its first start, and again when the file is damaged."""
    try:
        return str(json.loads(path.read_text())["id"])
    except (FileNotFoundError, ValueError):
        identity = secrets.token_hex(16)
        durable.write(path, json.dumps({"id": identity}).encode())
        return identity
