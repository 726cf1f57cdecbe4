"""Files of containers: archive (`docker cp`), export. Source: Engine API 1.51, section Container."""

import base64
import json
from contextlib import aclosing
from typing import Any, cast

from wherryd.api import params
from wherryd.api.app import require
from wherryd.api.copying import Presence
from wherryd.containers.archive.service import ArchiveService, Outgoing, PathStat
from wherryd.containers.service import ContainerService
from wherryd.errors import InvalidParameter
from wherryd.http import web

_STAT_HEADER = "X-Docker-Container-Path-Stat"


class _Handlers:
    def __init__(self, service: ContainerService, archives: ArchiveService) -> None:
        self._service = service
        self._archives = archives

    async def stat(self, request: web.Request) -> web.Response:
        """HEAD /containers/{id}/archive"""
        container = self._service.get(require(request, "id"))
        found = await self._archives.stat(container, _path(request))
        return web.Response(headers={_STAT_HEADER: _encoded(found)})

    async def get(self, request: web.Request) -> web.StreamResponse:
        """GET /containers/{id}/archive"""
        container = self._service.get(require(request, "id"))
        coding = _coding(request.headers.get("Accept-Encoding", ""))
        async with self._archives.read(container, _path(request), coding=coding) as outgoing:
            headers = {_STAT_HEADER: _encoded(outgoing.stat)}
            if coding:
                headers["Content-Encoding"] = coding
            return await _stream(request, outgoing, headers)

    async def put(self, request: web.Request) -> web.Response:
        """PUT /containers/{id}/archive"""
        container = self._service.get(require(request, "id"))
        await self._archives.write(
            container,
            _path(request),
            request.blocks(),
            no_overwrite=params.boolean(request.query, "noOverwriteDirNonDir"),
            as_user=params.boolean(request.query, "copyUIDGID"),
        )
        return web.Response()

    async def export(self, request: web.Request) -> web.StreamResponse:
        """GET /containers/{id}/export"""
        container = self._service.get(require(request, "id"))
        async with self._archives.export(container) as outgoing:
            return await _stream(request, outgoing, {})


def _path(request: web.Request) -> str:
    path = request.query.get("path", "")
    if not path:
        raise InvalidParameter("bad parameter: path cannot be empty")
    return path


def _encoded(stat: PathStat) -> str:
    return base64.b64encode(json.dumps(stat).encode("utf-8", "backslashreplace")).decode()


def _coding(accepted: str) -> str:
    """The content coding that an Accept-Encoding likes best, gzip where it likes both, or "".

    Source: RFC 9110, section 12.5.3; "*" is taken for none, as proxies and probes send it.
    """
    liked: dict[str, float] = {}
    for part in accepted.split(","):
        name, _, weight = part.replace(" ", "").lower().partition(";q=")
        try:
            liked[name] = float(weight or 1)
        except ValueError:
            continue
    best = max(("gzip", "deflate"), key=lambda name: liked.get(name, 0.0))
    return best if liked.get(best, 0.0) > 0 else ""


async def _stream(request: web.Request, outgoing: Outgoing, headers: dict[str, str]) -> web.StreamResponse:
    """An error from here on breaks the connection off: an archive has no place for a message."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-tar", **headers})
    async with aclosing(cast("Any", Presence(request).iterate(outgoing.chunks))) as chunks:
        await response.prepare(request)
        async for data in chunks:
            await response.write(data)
    await response.write_eof()
    return response


def routes(service: ContainerService, archives: ArchiveService) -> list[web.RouteDef]:
    handlers: Any = _Handlers(service, archives)
    return [
        web.head("/containers/{id}/archive", handlers.stat),
        web.get("/containers/{id}/archive", handlers.get, allow_head=False),
        web.put("/containers/{id}/archive", handlers.put),
        web.get("/containers/{id}/export", handlers.export, allow_head=False),
    ]
