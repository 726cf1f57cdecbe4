"""`/containers`: create, list, inspect and the verbs that change a container's state.

Source: Engine API 1.51, section Containers. Streams are in `streams.py`.
"""

from collections.abc import Mapping
from typing import Any

from wherryd import clock
from wherryd.api import createrequest, gates, history, params
from wherryd.api.app import require
from wherryd.containers import listing, signals
from wherryd.containers.service import ContainerService
from wherryd.errors import InvalidParameter
from wherryd.http import web


class _Handlers:
    def __init__(self, service: ContainerService, cgroup_version: int) -> None:
        self._service = service
        self._cgroup_version = cgroup_version

    async def create(self, request: web.Request) -> web.Response:
        version = request["api_version"]
        body, told = createrequest.read(
            await params.json_object(request), version, cgroup_version=self._cgroup_version
        )
        container, warnings = await self._service.create(
            request.query.get("name", ""),
            body,
            request.query.get("platform", ""),
            flat_read_only=version < history.RECURSIVE_READ_ONLY,
        )
        return web.json_response({"Id": container.id, "Warnings": [*warnings, *told]}, status=201)

    async def list_all(self, request: web.Request) -> web.Response:
        query = listing.ListQuery(
            all=params.boolean(request.query, "all"),
            limit=params.integer(request.query, "limit", 0) or 0,
            filters=_list_filters(request.query),
        )
        size = params.boolean(request.query, "size")
        found, images = self._service.select(query), self._service.deps.images
        documents = [
            {
                **await self._service.summary(container, size),
                **listing.manifest_descriptor(container.record, images),
            }
            for container in found
        ]
        version = request["api_version"]
        return web.json_response([gates.fit(each, history.CONTAINERS, version) for each in documents])

    async def inspect(self, request: web.Request) -> web.Response:
        size = params.boolean(request.query, "size")
        document = await self._service.inspect(require(request, "id"), size)
        record = self._service.get(require(request, "id")).record
        document |= listing.manifest_descriptor(record, self._service.deps.images)
        return web.json_response(gates.fit(document, history.CONTAINER, request["api_version"]))

    async def start(self, request: web.Request) -> web.Response:
        if len(await request.read()) > 7:
            raise InvalidParameter(
                "starting container with non-empty request body was deprecated since API v1.22"
            )
        await self._service.start(require(request, "id"))
        return web.Response(status=204)

    async def stop(self, request: web.Request) -> web.Response:
        timeout, signum = _stop_options(request)
        await self._service.stop(require(request, "id"), timeout=timeout, signum=signum)
        return web.Response(status=204)

    async def restart(self, request: web.Request) -> web.Response:
        timeout, signum = _stop_options(request)
        await self._service.restart(require(request, "id"), timeout=timeout, signum=signum)
        return web.Response(status=204)

    async def kill(self, request: web.Request) -> web.Response:
        await self._service.kill(
            require(request, "id"), signals.number(request.query.get("signal") or "SIGKILL")
        )
        return web.Response(status=204)

    async def pause(self, request: web.Request) -> web.Response:
        await self._service.pause(require(request, "id"))
        return web.Response(status=204)

    async def unpause(self, request: web.Request) -> web.Response:
        await self._service.unpause(require(request, "id"))
        return web.Response(status=204)

    async def rename(self, request: web.Request) -> web.Response:
        await self._service.rename(require(request, "id"), request.query.get("name", ""))
        return web.Response(status=204)

    async def update(self, request: web.Request) -> web.Response:
        body = gates.fit(await params.json_object(request), history.UPDATE, request["api_version"])
        warnings = await self._service.update(require(request, "id"), body)
        return web.json_response({"Warnings": warnings})

    async def remove(self, request: web.Request) -> web.Response:
        """DELETE /containers/{id}; with link=1 it names a link, `web/alias`, and that goes."""
        if params.boolean(request.query, "link"):
            await self._service.remove_link(require(request, "id"))
            return web.Response(status=204)
        await self._service.remove(
            require(request, "id"),
            force=params.boolean(request.query, "force"),
            volumes=params.boolean(request.query, "v"),
        )
        return web.Response(status=204)

    async def resize(self, request: web.Request) -> web.Response:
        height, width = size_of(request)
        await self._service.resize(require(request, "id"), height, width)
        return web.Response(status=200)

    async def top(self, request: web.Request) -> web.Response:
        titles, rows = await self._service.top(require(request, "id"), request.query.get("ps_args", ""))
        return web.json_response({"Titles": titles, "Processes": rows})

    async def prune(self, request: web.Request) -> web.Response:
        filters = params.filters(request.query, ("label", "label!", "until"))
        return web.json_response(await self._service.prune(until_of(filters), filters))


def _list_filters(query: Mapping[str, str]) -> dict[str, list[str]]:
    """With `before` and `since`, which were parameters of their own once."""
    found = params.filters(query, listing.ACCEPTED)
    for key in ("before", "since"):
        if query.get(key):
            found.setdefault(key, []).append(query[key])
    return found


def until_of(filters: dict[str, list[str]]) -> int | None:
    """The moment in the `until` filter of a prune, in nanoseconds since 1970."""
    values = filters.get("until", [])
    if len(values) > 1:
        raise InvalidParameter("more than one until filter specified")
    return clock.parse_until(values[0]) if values else None


def _stop_options(request: web.Request) -> tuple[int | None, int | None]:
    timeout = params.integer(request.query, "t")
    text = request.query.get("signal", "")
    return timeout, signals.number(text) if text else None


def size_of(request: web.Request) -> tuple[int, int]:
    """h and w of a resize: both required, digits only."""
    found = []
    for key in ("h", "w"):
        text = request.query.get(key, "")
        if not (text.isascii() and text.isdecimal()) or int(text[:8]) > 65535:
            raise InvalidParameter(f'invalid resize {"height" if key == "h" else "width"}: "{text[:20]}"')
        found.append(int(text[:8]))
    return found[0], found[1]


def routes(service: ContainerService, cgroup_version: int) -> list[web.RouteDef]:
    handlers: Any = _Handlers(service, cgroup_version)
    return [
        web.post("/containers/create", handlers.create),
        web.post("/containers/prune", handlers.prune),
        web.get("/containers/json", handlers.list_all, allow_head=False),
        web.get("/containers/{id}/json", handlers.inspect, allow_head=False),
        web.post("/containers/{id}/start", handlers.start),
        web.post("/containers/{id}/stop", handlers.stop),
        web.post("/containers/{id}/restart", handlers.restart),
        web.post("/containers/{id}/kill", handlers.kill),
        web.post("/containers/{id}/pause", handlers.pause),
        web.post("/containers/{id}/unpause", handlers.unpause),
        web.post("/containers/{id}/rename", handlers.rename),
        web.post("/containers/{id}/update", handlers.update),
        web.post("/containers/{id}/resize", handlers.resize),
        web.get("/containers/{id}/top", handlers.top, allow_head=False),
        web.delete("/containers/{id:.+}", handlers.remove),
    ]
