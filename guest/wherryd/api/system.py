"""`/_ping`, `/version`, `/info`, `/events`, `/system/df`. Source: Engine API 1.51, System."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wherryd import clock
from wherryd.api import copying, gates, history, params, version
from wherryd.api.eventfilter import ACCEPTED, matches
from wherryd.api.volumes import describe as describe_volume
from wherryd.containers import logoptions, stats
from wherryd.containers.events import EngineEvent
from wherryd.containers.service import ContainerService
from wherryd.containers.state import Status
from wherryd.errors import InvalidParameter
from wherryd.http import web
from wherryd.runtime import apparmor
from wherrywire import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What stays the same while the engine runs. id: of this engine's data, kept across restarts."""

    id: str
    name: str
    data_root: str
    cgroup_version: int
    insecure_registries: tuple[str, ...]
    registry_mirrors: tuple[str, ...]
    debug: bool
    started_at: str
    labels: tuple[str, ...] = ()
    #: As Deps.runtimes has them.
    runtimes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_KINDS_OF_DATA = ("container", "image", "volume", "build-cache")

#: Records of what the builder keeps.
BuildCache = Callable[[], Awaitable[list[dict[str, Any]]]]


class _Handlers:
    def __init__(self, service: ContainerService, facts: EngineFacts, build_cache: BuildCache) -> None:
        self._service = service
        self._facts = facts
        self._build_cache = build_cache

    async def ping(self, request: web.Request) -> web.Response:
        headers = {
            "Cache-Control": "no-cache, no-store, must-revalidate",
            "Pragma": "no-cache",
            "Builder-Version": "1",
            "Swarm": "inactive",
        }
        return web.Response(text="" if request.method == "HEAD" else "OK", headers=headers)

    async def version(self, request: web.Request) -> web.Response:
        uname = os.uname()
        details = {
            "ApiVersion": version.text(version.MAXIMUM),
            "Arch": _goarch(uname.machine),
            "KernelVersion": uname.release,
            "MinAPIVersion": version.text(version.MINIMUM),
            "Os": "linux",
            "PythonVersion": sys.version.partition(" ")[0],
        }
        document = {
            "Platform": {"Name": "Wherry"},
            "Version": __version__,
            "ApiVersion": version.text(version.MAXIMUM),
            "MinAPIVersion": version.text(version.MINIMUM),
            "GitCommit": "",
            "GoVersion": "",
            "Os": "linux",
            "Arch": _goarch(uname.machine),
            "KernelVersion": uname.release,
            "BuildTime": "",
            "Components": [{"Name": "Engine", "Version": __version__, "Details": details}],
        }
        return web.json_response(gates.fit(document, history.VERSION, request["api_version"]))

    async def info(self, request: web.Request) -> web.Response:
        document = info(self._service, self._facts)
        return web.json_response(gates.fit(document, history.INFO, request["api_version"]))

    async def events(self, request: web.Request) -> web.StreamResponse:
        filters = params.filters(request.query, ACCEPTED)
        since = clock.parse_moment(request.query.get("since", ""), "since")
        until = clock.parse_moment(request.query.get("until", ""), "until")
        if since is not None and until is not None and until < since:
            raise InvalidParameter(
                f"`since` time ({request.query['since']}) cannot be after "
                f"`until` time ({request.query['until']})"
            )
        api_version = request["api_version"]
        bus = self._service.deps.events

        def wanted(event: EngineEvent) -> bool:
            return history.has_event(event.type, event.action, api_version) and matches(event, filters)

        # Subscribed and copied in one step: no event is lost between replay and live, and none doubled.
        subscription = bus.subscribe()
        # As the reference daemon: who names an end and no beginning gets all that is kept.
        replayed = bus.backlog() if since is not None or until is not None else ()
        try:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            for event in replayed:
                inside = (since or 0) <= event.time_ns <= (until or event.time_ns)
                if inside and wanted(event):
                    await response.write(_line(event))
            async for event in copying.Presence(request).iterate(_until(subscription, until)):
                if wanted(event):
                    await response.write(_line(event))
            await response.write_eof()
        finally:
            subscription.close()
        return response

    async def disk_usage(self, request: web.Request) -> web.Response:
        wanted = request.query.getall("type", list(_KINDS_OF_DATA))
        for kind in wanted:
            if kind not in _KINDS_OF_DATA:
                raise InvalidParameter(f"unknown object type: {kind} (hint: {', '.join(_KINDS_OF_DATA)})")
        document: dict[str, Any] = {}
        if "image" in wanted:
            images, layers = self._service.deps.images.disk_usage()
            document |= {"LayersSize": layers, "Images": images}
        if "container" in wanted:
            document["Containers"] = [
                await self._service.summary(container, True) for container in self._service.deps.store
            ]
        if "volume" in wanted:
            store = self._service.deps.volumes
            document["Volumes"] = [describe_volume(store, volume, size=True) for volume in store.all()]
        if "build-cache" in wanted:
            document["BuildCache"] = await self._build_cache()
        return web.json_response(gates.fit(document, history.DISK_USAGE, request["api_version"]))


async def _until(events: AsyncIterator[EngineEvent], until: int | None) -> AsyncIterator[EngineEvent]:
    """The events up to a moment, which may lie in the past: then none."""
    if until is None:
        async for event in events:
            yield event
        return
    while (left := (until - time.time_ns()) / 1_000_000_000) > 0:
        try:
            async with asyncio.timeout(left):
                event = await anext(events)
        except (TimeoutError, StopAsyncIteration):
            return
        yield event


def _line(event: EngineEvent) -> bytes:
    return json.dumps(event_document(event), separators=(",", ":")).encode() + b"\n"


def event_document(event: EngineEvent) -> dict[str, Any]:
    document: dict[str, Any] = {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor_id, "Attributes": dict(event.attributes)},
        "scope": "local",
        "time": event.time_ns // 1_000_000_000,
        "timeNano": event.time_ns,
    }
    # Fields of the first API, present up to 1.51; a prune is of no container or image.
    if event.type in ("container", "image"):
        document = {"status": event.action, **({"id": event.actor_id} if event.actor_id else {}), **document}
    if event.type == "container" and event.actor_id:
        document["from"] = event.attributes.get("image", "")
    return document


def _goarch(machine: str) -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def info(service: ContainerService, facts: EngineFacts) -> dict[str, Any]:
    records = [container.record for container in service.deps.store]
    uname = os.uname()
    registry = _registry_config(facts)
    return {
        "ID": facts.id,
        "Containers": len(records),
        "ContainersRunning": sum(record.status is Status.RUNNING for record in records),
        "ContainersPaused": sum(record.status is Status.PAUSED for record in records),
        "ContainersStopped": sum(not record.alive for record in records),
        "Images": service.deps.images.count(),
        "Driver": service.deps.images.storage_driver,
        "DriverStatus": [["Backing", "Wherry snapshots"]],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
            "Authorization": None,
            "Log": list(logoptions.DRIVERS),
        },
        "MemoryLimit": True,
        "SwapLimit": True,
        "CpuCfsPeriod": True,
        "CpuCfsQuota": True,
        "CPUShares": True,
        "CPUSet": True,
        "PidsLimit": True,
        "OomKillDisable": False,
        "IPv4Forwarding": _ipv4_forwarding(),
        "Debug": facts.debug,
        "NFd": _open_files(),
        "NGoroutines": 0,
        "SystemTime": clock.now(),
        "LoggingDriver": service.deps.default_log["Type"],
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": str(facts.cgroup_version),
        "NEventsListener": service.deps.events.listeners,
        "KernelVersion": uname.release,
        "OperatingSystem": _operating_system(),
        "OSVersion": _os_release().get("VERSION_ID", ""),
        "OSType": "linux",
        "Architecture": uname.machine,
        "NCPU": os.cpu_count() or 1,
        "MemTotal": stats.memory_total_bytes(),
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": registry,
        "GenericResources": None,
        "DockerRootDir": facts.data_root,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": facts.name,
        "Labels": list(facts.labels),
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "Runtimes": {
            name: {"path": command[0], "runtimeArgs": list(command[1:])} if command else {"path": name}
            for name, command in facts.runtimes.items()
        },
        "DefaultRuntime": next(iter(facts.runtimes)),
        "Swarm": _NO_SWARM,
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "docker-init",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "SecurityOptions": [
            *(("name=apparmor",) if apparmor.is_enabled() else ()),
            "name=seccomp,profile=builtin",
            *(("name=userns",) if service.deps.id_trial is not None else ()),
            "name=cgroupns",
        ],
        "CDISpecDirs": [],
        "FirewallBackend": {"Driver": "nftables"},
        "Warnings": None,
    }


_NO_SWARM: Mapping[str, Any] = {
    "NodeID": "",
    "NodeAddr": "",
    "LocalNodeState": "inactive",
    "ControlAvailable": False,
    "Error": "",
    "RemoteManagers": None,
}


def _ipv4_forwarding() -> bool:
    try:
        with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as file:  # noqa: PTH123
            return file.read().strip() == "1"
    except OSError:
        return False


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def _os_release() -> Mapping[str, str]:
    # Seldom asked for, and large.
    import platform

    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _registry_config(facts: EngineFacts) -> dict[str, Any]:
    """What the engine was told of registries, and what is so by itself. Engine API, RegistryServiceConfig."""
    mirrors = list(facts.registry_mirrors)
    networks = [entry for entry in facts.insecure_registries if "/" in entry]
    hosts = {"docker.io": mirrors, **{host: [] for host in facts.insecure_registries if host not in networks}}
    return {
        "IndexConfigs": {
            name: {
                "Name": name,
                "Mirrors": its,
                "Secure": name == "docker.io",
                "Official": name == "docker.io",
            }
            for name, its in hosts.items()
        },
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8", *networks],
        "Mirrors": mirrors,
    }


def _operating_system() -> str:
    return _os_release().get("PRETTY_NAME", "Linux")


def routes(service: ContainerService, facts: EngineFacts, build_cache: BuildCache) -> list[web.RouteDef]:
    handlers = _Handlers(service, facts, build_cache)
    return [
        web.get("/_ping", handlers.ping),
        web.get("/version", handlers.version, allow_head=False),
        web.get("/info", handlers.info, allow_head=False),
        web.get("/events", handlers.events, allow_head=False),
        web.get("/system/df", handlers.disk_usage, allow_head=False),
    ]
