"""`/volumes`: local volumes. Source: Engine API 1.51, section Volumes."""

from typing import Any

from wherryd.api import gates, history, params
from wherryd.api.app import require
from wherryd.containers import kinds
from wherryd.containers.events import EventBus
from wherryd.containers.volumes import Volume, VolumeStore
from wherryd.errors import Conflict, NotFound, NotSupported
from wherryd.http import web

_ACCEPTED = ("dangling", "driver", "label", "name")


def describe(store: VolumeStore, volume: Volume, *, size: bool = False) -> dict[str, Any]:
    labels = dict(volume.labels)
    if volume.anonymous:
        labels["com.docker.volume.anonymous"] = ""
    document: dict[str, Any] = {
        "CreatedAt": volume.created,
        "Driver": "local",
        "Labels": labels or None,
        "Mountpoint": str(volume.mountpoint),
        "Name": volume.name,
        "Options": dict(volume.options) or None,
        "Scope": "local",
    }
    if size:
        document["UsageData"] = {"RefCount": len(store.users(volume.name)), "Size": store.size(volume.name)}
    return document


class _Handlers:
    def __init__(self, store: VolumeStore, events: EventBus) -> None:
        self._store = store
        self._events = events

    async def list_all(self, request: web.Request) -> web.Response:
        filters = params.filters(request.query, _ACCEPTED)
        found = [volume for volume in self._store.all() if self._matches(volume, filters)]
        version = request["api_version"]
        documents = [gates.fit(describe(self._store, volume), history.VOLUME, version) for volume in found]
        return web.json_response({"Volumes": documents, "Warnings": None})

    def _matches(self, volume: Volume, filters: dict[str, list[str]]) -> bool:
        if "name" in filters and not any(value in volume.name for value in filters["name"]):
            return False
        if "driver" in filters and "local" not in filters["driver"]:
            return False
        if "dangling" in filters:
            wanted = filters["dangling"][:1] not in (["0"], ["false"])
            if wanted == bool(self._store.users(volume.name)):
                return False
        return all(_has_label(volume, value) for value in filters.get("label", []))

    async def create(self, request: web.Request) -> web.Response:
        body = await params.json_object(request)
        driver = kinds.string(body.get("Driver") or "local", "Driver")
        name = kinds.string(body.get("Name") or "", "Name")
        if driver != "local":
            raise NotFound(
                f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found'
            )
        if body.get("ClusterVolumeSpec"):
            raise NotSupported("ClusterVolumeSpec: this engine is not part of a swarm")
        options = kinds.string_map(body.get("DriverOpts") or {}, "DriverOpts")
        labels = kinds.string_map(body.get("Labels") or {}, "Labels")
        volume = self._store.create(name, labels, anonymous=not name, options=options)
        self._publish("create", volume.name)
        document = gates.fit(describe(self._store, volume), history.VOLUME, request["api_version"])
        return web.json_response(document, status=201)

    async def inspect(self, request: web.Request) -> web.Response:
        document = describe(self._store, self._store.get(require(request, "name")))
        return web.json_response(gates.fit(document, history.VOLUME, request["api_version"]))

    async def remove(self, request: web.Request) -> web.Response:
        """DELETE /volumes/{name}; with force one that is not there is no error."""
        name = require(request, "name")
        if params.boolean(request.query, "force") and not self._store.exists(name):
            return web.Response(status=204)
        self._store.remove(name)
        self._publish("destroy", name)
        return web.Response(status=204)

    async def prune(self, request: web.Request) -> web.Response:
        filters = params.filters(request.query, ("all", "label", "label!"))
        old: bool = request["api_version"] < history.PRUNE_OF_ANONYMOUS_VOLUMES
        every = old or filters.get("all", [])[:1] in (["1"], ["true"])

        def chosen(volume: Volume) -> bool:
            return (
                (every or volume.anonymous)
                and all(_has_label(volume, value) for value in filters.get("label", []))
                and not any(_has_label(volume, value) for value in filters.get("label!", []))
            )

        names, freed = self._store.prune(chosen)
        for name in names:
            self._publish("destroy", name)
        self._events.publish("volume", "prune", "", {"reclaimed": str(freed)})
        return web.json_response({"VolumesDeleted": names or None, "SpaceReclaimed": freed})

    async def update(self, request: web.Request) -> web.Response:
        self._store.get(require(request, "name"))
        raise Conflict("only cluster volumes can be updated, and this engine is not part of a swarm")

    def _publish(self, action: str, name: str) -> None:
        self._events.publish("volume", action, name, {"driver": "local"})


def _has_label(volume: Volume, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in volume.labels and (not equals or volume.labels[key] == value)


def routes(store: VolumeStore, events: EventBus) -> list[web.RouteDef]:
    handlers: Any = _Handlers(store, events)
    return [
        web.get("/volumes", handlers.list_all, allow_head=False),
        web.post("/volumes/create", handlers.create),
        web.post("/volumes/prune", handlers.prune),
        web.get("/volumes/{name}", handlers.inspect, allow_head=False),
        web.put("/volumes/{name}", handlers.update),
        web.delete("/volumes/{name}", handlers.remove),
    ]
