"""Starting a container: network, files, mounts, config, process; undone in reverse when a step fails."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from wherryd.containers import (
    files,
    idranges,
    imagemounts,
    linking,
    logoptions,
    networking,
    plan,
    sources,
    subpaths,
)
from wherryd.containers.deps import STAND_IN_FOR, Deps
from wherryd.containers.idranges import Ids
from wherryd.containers.record import ContainerRecord, MountPoint
from wherryd.containers.store import Container
from wherryd.errors import Conflict, InvalidParameter, SystemFault
from wherryd.networks.sandbox import Sandbox
from wherryd.runtime.client import ContainerIo, Monitor
from wherryd.spec import dockerinit
from wherryd.sys import folders

log = logging.getLogger(__name__)


async def launch(deps: Deps, container: Container) -> str:
    """Runs the container's process and connects whoever attached before; when it started, RFC 3339.

    Sets monitor and sandbox of the handle, and of its record the range of ids. Raises EngineError with
    everything undone.
    """
    await sources.hold(deps, container.record, container.id)
    try:
        sources.prepare(deps, container.record)
        with subpaths.opened(deps, container.record) as opened:
            return await _launch(deps, container, opened.mounts)
    except BaseException:
        await deps.volumes.release(container.id)
        raise


async def _launch(deps: Deps, container: Container, mounts: tuple[MountPoint, ...]) -> str:
    """mounts: as they can be mounted now, but for images."""
    ids = idranges.decide(deps, replace(container.record, mounts=mounts))
    if container.record.id_base != ids.base:
        deps.store.update(container, id_base=ids.base)
    async with imagemounts.opened(deps, container.id, mounts, ids.base) as every:
        return await _create(deps, container, every, ids)


async def _create(deps: Deps, container: Container, mounts: tuple[MountPoint, ...], ids: Ids) -> str:
    record = container.record
    async with AsyncExitStack() as undo:
        sandbox = await networking.attach(deps, record, ids)
        undo.push_async_callback(deps.networks.detach, record.id)
        _write_files(deps, record, sandbox)
        rootfs = await deps.images.rootfs_mounts(record.id)
        planned = replace(record, mounts=mounts)
        config = plan.config(deps, planned, sandbox, rootfs, ids, container.lent_environment)
        bundle = make_bundle(deps, record, config)
        undo.callback(shutil.rmtree, bundle, ignore_errors=True)
        # Who attached before the start must get everything, and so must be connected before it.
        at_once = not container.pending
        monitor = await deps.runtime.create(
            record.id,
            bundle=bundle,
            rootfs=rootfs,
            io=container_io(deps, container),
            start=at_once,
            runtime=_runtime(deps, record),
        )
        undo.push_async_callback(_end, monitor)
        await _connect_pending(container, monitor)
        started_at = monitor.started_at if at_once else await monitor.start()
        container.monitor, container.sandbox = monitor, sandbox
        undo.pop_all()
    return started_at


def _runtime(deps: Deps, record: ContainerRecord) -> tuple[str, ...]:
    """The command of the one it was created for. Raises InvalidParameter when the engine has it no more."""
    name = record.host_config["Runtime"]
    if name in STAND_IN_FOR and name not in deps.runtimes:
        return ()
    if name not in deps.runtimes:
        raise InvalidParameter(
            f"unknown or invalid runtime name: {name} (hint: start wherryd with --add-runtime {name}=PATH)"
        )
    return deps.runtimes[name]


async def _end(monitor: Monitor) -> None:
    """Undoes a create that may have been a start too."""
    with contextlib.suppress(Conflict):  # it has ended
        await monitor.kill(signal.SIGKILL, everyone=True)
    await monitor.wait()
    await monitor.delete()


async def _connect_pending(container: Container, monitor: Monitor) -> None:
    for attachment in tuple(container.pending):
        await attachment.connect(monitor)
    container.pending.clear()


def _write_files(deps: Deps, record: ContainerRecord, sandbox: Sandbox) -> None:
    if plan.has_init(deps, record):
        program = deps.files(record.id).init
        program.write_bytes(dockerinit.program(os.uname().machine, record.path, record.config["Env"] or ()))
        program.chmod(0o755)
    if sandbox.mode.startswith("container:"):
        return  # the peer's files are mounted
    linked = linking.extra_hosts(deps, record)
    files.write(deps.files(record.id), record, plan.hostname(record), sandbox, deps.networks.names, linked)


def make_bundle(deps: Deps, record: ContainerRecord, config: dict[str, Any]) -> Path:
    bundle = deps.bundle(record.id)
    (bundle / "rootfs").mkdir(mode=0o700, parents=True, exist_ok=True)
    bundle.chmod(0o700)
    temporary = bundle / "config.json.new"
    temporary.write_text(json.dumps(config))
    temporary.replace(bundle / "config.json")
    return bundle


def container_io(deps: Deps, container: Container) -> ContainerIo:
    record = container.record
    log_config = record.host_config["LogConfig"]
    keep = log_config["Type"] in logoptions.READABLE
    plan_of_log = logoptions.plan(log_config)
    size = container.console_size
    if size is None and any(record.host_config["ConsoleSize"]):
        height, width = record.host_config["ConsoleSize"]
        size = (height, width)
    return ContainerIo(
        terminal=record.tty,
        open_stdin=record.config["OpenStdin"],
        stdin_once=record.config["StdinOnce"],
        log_path=deps.files(record.id).log if keep else None,
        log_max_bytes=plan_of_log.max_bytes,
        log_max_files=plan_of_log.max_files,
        log_compress=plan_of_log.compress,
        log_attributes=logoptions.attributes(record),
        console_size=size if record.tty else None,
    )


async def clean_up(
    deps: Deps, container: Container, monitor: Monitor, *, patience_seconds: float = 10.0
) -> None:
    """After an exit: lets attached clients read the rest, then takes the runtime's state away.

    A client that does not read is not waited for longer than patience_seconds.
    """
    if container.draining:
        await asyncio.wait(tuple(container.draining), timeout=patience_seconds)
    try:
        await monitor.delete()
    except SystemFault as exc:
        log.warning("container %s: cleaning up after its exit: %s", container.id, exc)
    with contextlib.suppress(OSError):
        folders.remove(deps.bundle(container.id))
    await deps.volumes.release(container.id)
