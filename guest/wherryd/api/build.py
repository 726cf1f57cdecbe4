"""POST /build, as the classic builder has it, and POST /build/prune. Source: Engine API 1.51, ImageBuild."""

import json
from contextlib import aclosing
from typing import Any, cast

from aiohttp import web

from wherryd.api import copying, params, progress
from wherryd.api.images import body
from wherryd.builder.options import BuildOptions
from wherryd.builder.service import BuilderService
from wherryd.errors import InvalidParameter, NotSupported
from wherryd.images import reference as references
from wherryd.images.reference import Reference
from wherryd.registry import credentials

#: Query parameter -> field of HostConfig: limits of the RUN steps.
_NUMBERS = {
    "memory": "Memory",
    "memswap": "MemorySwap",
    "cpushares": "CpuShares",
    "cpuperiod": "CpuPeriod",
    "cpuquota": "CpuQuota",
    "shmsize": "ShmSize",
}
_TEXTS = {"cpusetcpus": "CpusetCpus", "cpusetmems": "CpusetMems", "cgroupparent": "CgroupParent"}
_MAX_JSON_CHARACTERS = 1024 * 1024


def routes(service: BuilderService) -> list[web.RouteDef]:
    handlers = _Handlers(service)
    return [web.post("/build", handlers.build), web.post("/build/prune", handlers.prune)]


class _Handlers:
    def __init__(self, service: BuilderService) -> None:
        self._service = service

    async def build(self, request: web.Request) -> web.StreamResponse:
        lines = self._service.build(body(request), options(request))
        async with aclosing(cast("Any", lines)):
            # A client that goes away ends the build, also while a silent step runs.
            return await progress.respond(request, copying.Presence(request).iterate(lines))

    async def prune(self, request: web.Request) -> web.Response:
        if request.query.get("filters"):
            found = params.filters(request.query)
            if found:
                raise NotSupported(
                    f"filters of build prune are not available yet: {', '.join(sorted(found))}"
                )
        return web.json_response(await self._service.prune())


def options(request: web.Request) -> BuildOptions:
    """Raises InvalidParameter, NotSupported."""
    query = request.query
    _refuse(request)
    host: dict[str, Any] = {}
    for key, field in _NUMBERS.items():
        if value := params.integer(query, key):
            host[field] = value
    host |= {field: query[key] for key, field in _TEXTS.items() if query.get(key)}
    if ulimits := _json(request, "ulimits", list):
        host["Ulimits"] = ulimits
    if hosts := [each for value in query.getall("extrahosts", []) for each in value.split(",") if each]:
        host["ExtraHosts"] = hosts
    return BuildOptions(
        dockerfile=query.get("dockerfile") or "Dockerfile",
        tags=tuple(_tag(text) for text in query.getall("t", []) if text),
        build_args=_strings(_json(request, "buildargs", dict), "buildargs", null=True),
        labels={
            name: value or ""
            for name, value in _strings(_json(request, "labels", dict), "labels", null=False).items()
        },
        target=query.get("target", ""),
        no_cache=params.boolean(query, "nocache"),
        pull=params.boolean(query, "pull"),
        quiet=params.boolean(query, "q"),
        keep_failed=not params.boolean(query, "forcerm") and not params.boolean(query, "rm", default=True),
        network=query.get("networkmode", ""),
        platform=query.get("platform", ""),
        host_config=host,
        credentials=credentials.from_config_header(request.headers.get("X-Registry-Config", "")),
    )


def _refuse(request: web.Request) -> None:
    query = request.query
    if query.get("version") == "2":
        raise NotSupported("BuildKit is not available; set DOCKER_BUILDKIT=0")
    if query.get("remote"):
        raise NotSupported(
            f'remote: building from "{query["remote"]}" is not available yet; '
            "download it and send it as the context"
        )
    if params.boolean(query, "squash"):
        raise NotSupported("squash is not available; use a multi-stage build with COPY --from")
    if query.get("outputs"):
        raise NotSupported(
            "outputs is not available yet; build an image and use `docker save` or `docker cp`"
        )


def _tag(text: str) -> Reference:
    name = references.from_query(text, "")
    if name is None:
        raise InvalidParameter("invalid reference format")
    return name


def _json(request: web.Request, key: str, kind: type) -> Any:
    """A parameter that is a JSON document; what clients send for "nothing" is nothing."""
    text = request.query.get(key, "")
    if not text:
        return kind()
    if len(text) > _MAX_JSON_CHARACTERS:
        raise InvalidParameter(f"{key}: longer than {_MAX_JSON_CHARACTERS} characters")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidParameter(f"error reading {key}: {exc}") from exc
    if document is None:
        return kind()
    if not isinstance(document, kind):
        raise InvalidParameter(f"error reading {key}: a JSON {kind.__name__} is wanted")
    return document


def _strings(document: dict[str, Any], key: str, *, null: bool) -> dict[str, str | None]:
    for name, value in document.items():
        if not isinstance(value, str) and not (null and value is None):
            raise InvalidParameter(f"error reading {key}: {name}: a string is wanted")
    return document
