"""`/containers`: create, list, inspect and the verbs that change a container's state.

Source: Engine API 1.51, section Containers. Streams are in `streams.py`.
"""

from typing import Any

from wherryd import clock
from wherryd.api import params
from wherryd.api.app import require
from wherryd.containers import listing, signals
from wherryd.containers.service import ContainerService
from wherryd.errors import InvalidParameter
from wherryd.http import web


class _Handlers:
    def __init__(self, service: ContainerService) -> None:
        self._service = service

    async def create(self, request: web.Request) -> web.Response:
        body = _in_version(await params.json_object(request), request["api_version"])
        container, warnings = await self._service.create(
            request.query.get("name", ""), body, request.query.get("platform", "")
        )
        return web.json_response({"Id": container.id, "Warnings": list(warnings)}, status=201)

    async def list_all(self, request: web.Request) -> web.Response:
        query = listing.ListQuery(
            all=params.boolean(request.query, "all"),
            limit=params.integer(request.query, "limit", 0) or 0,
            filters=params.filters(request.query, listing.ACCEPTED),
        )
        size = params.boolean(request.query, "size")
        found = self._service.select(query)
        return web.json_response([await self._service.summary(container, size) for container in found])

    async def inspect(self, request: web.Request) -> web.Response:
        size = params.boolean(request.query, "size")
        return web.json_response(await self._service.inspect(require(request, "id"), size))

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
        warnings = await self._service.update(require(request, "id"), await params.json_object(request))
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


def _in_version(body: dict[str, Any], version: tuple[int, int]) -> dict[str, Any]:
    """A create request without what its version of the API does not have."""
    host, check = body.get("HostConfig") or {}, body.get("Healthcheck")
    if "Runtime" in body and isinstance(host, dict):
        # docker-py's create_container(runtime=...) puts it here, where dockerd does not look.
        host = body["HostConfig"] = {"Runtime": body.pop("Runtime")} | host
    if version < (1, 42) and isinstance(host, dict):
        host.pop("ConsoleSize", None)
    if version < (1, 44) and isinstance(check, dict):
        check.pop("StartInterval", None)
    if version < (1, 44) and isinstance(host, dict):
        for mount in host.get("Mounts") or ():
            _without_recursion(mount)
    return body


def _without_recursion(mount: Any) -> None:
    """Before 1.44 a read-only bind was that on its first level only, and nobody could say otherwise."""
    if not isinstance(mount, dict) or mount.get("Type") != "bind":
        return
    options = mount.get("BindOptions") or {}
    if not isinstance(options, dict):
        return
    options.pop("ReadOnlyForceRecursive", None)
    mount["BindOptions"] = options | {"ReadOnlyNonRecursive": bool(mount.get("ReadOnly"))}


def until_of(filters: dict[str, list[str]]) -> int | None:
    """The moment in the `until` filter of a prune, in nanoseconds since 1970."""
    values = filters.get("until", [])
    if len(values) > 1:
        raise InvalidParameter("more than one until filter specified")
    return clock.parse_until(values[0]) if values else None


def _stop_options(request: web.Request) -> tuple[int | None, int | None]:
    timeout = params.integer(request.query, "t")
    text = request.query.get("signal", "") if request["api_version"] >= (1, 42) else ""
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


def routes(service: ContainerService) -> list[web.RouteDef]:
    handlers: Any = _Handlers(service)
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
