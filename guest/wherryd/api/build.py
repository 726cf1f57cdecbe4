"""POST /build, as the classic builder has it, and POST /build/prune. Source: Engine API 1.51, ImageBuild.

POST /images/{name}/insert?url=URL&path=PATH is Docker's own until API 1.11: a file from the network as a
new layer. It answers with progress lines, {"status": "Inserting", "progressDetail": {"current", "total"}},
and last with {"status": "sha256:..."}, the new image, which has no name. 404 when there is no such image or
no such file, 400 for a bad URL or path, 503 when the server cannot be reached; later a line `errorDetail`.
"""

import json
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from wherryd.api import copying, hijack, history, params, progress
from wherryd.builder.offers import Line
from wherryd.builder.options import BuildOptions, Entitlement
from wherryd.builder.service import BuilderService
from wherryd.errors import InvalidParameter, NotFound, NotSupported
from wherryd.http import web
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
_CONTEXTS = ("docker-image://", "context:", "http://", "https://", "git://")
_MAX_JSON_CHARACTERS = 1024 * 1024


def routes(service: BuilderService) -> list[web.RouteDef]:
    handlers = _Handlers(service)
    return [
        web.post("/build", handlers.build),
        web.post("/build/prune", handlers.prune),
        web.post("/build/check", handlers.check),
        web.post("/images/{name:.+}/insert", handlers.insert),
        web.post("/build/contexts/needs", handlers.needs),
        web.post("/build/contexts", handlers.announce),
        web.put("/build/contexts/{token}", handlers.receive),
        web.post("/build/offers", handlers.offer),
        web.post("/build/offers/{token}/agents/{agent}", handlers.lend_agent),
    ]


class _Handlers:
    def __init__(self, service: BuilderService) -> None:
        self._service = service

    async def build(self, request: web.Request) -> web.StreamResponse:
        lines = self._service.build(request.blocks(), options(request))
        async with aclosing(cast("Any", lines)):
            if request["api_version"] < history.BUILD_AUX:
                lines = _without_aux(lines)
            # A client that goes away ends the build, also while a silent step runs.
            return await progress.respond(request, copying.Presence(request).iterate(lines))

    async def insert(self, request: web.Request) -> web.StreamResponse:
        """POST /images/{name}/insert"""
        query = request.query
        for key in ("url", "path"):
            if not query.get(key):
                raise InvalidParameter(f"{key} is missing; insert wants url and path")
        lines = self._service.insert(request.match_info["name"], query["url"], query["path"])
        return await progress.respond(request, lines)

    async def prune(self, request: web.Request) -> web.Response:
        """filters; how many bytes stay (reserved-space, or keep-storage as it was called up to 1.47), at most
        stay, and shall be free."""
        query = request.query
        found = await self._service.prune(
            params.filters(query),
            reserved_bytes=_bytes(query, "reserved-space") or _bytes(query, "keep-storage"),
            most_bytes=_bytes(query, "max-used-space"),
            free_bytes=_bytes(query, "min-free-space"),
        )
        return web.json_response(found)

    async def check(self, request: web.Request) -> web.Response:
        """body: a Dockerfile; ignore: patterns of `.dockerignore`, JSON; platform: of the build; check: in
        place of the file's directive. Docker's clients ask BuildKit."""
        ignore = [str(each) for each in _json(request, "ignore", list)]
        return web.json_response(
            await self._service.check(
                request.blocks(), ignore, request.query.get("platform", ""), request.query.get("check", "")
            )
        )

    # contexts told by their contents; see wherrywire.contextsync

    async def needs(self, request: web.Request) -> web.Response:
        """{"Paths": [pattern, ...]}; "" means everything."""
        arguments = _strings(_json(request, "buildargs", dict), "buildargs", null=True)
        target = request.query.get("target", "")
        contexts = _json(request, "contexts", dict)
        found = await self._service.needed_paths(request.blocks(), target, arguments, contexts)
        return web.json_response({"Paths": list(found)})

    async def announce(self, request: web.Request) -> web.Response:
        """{"Token": text, "Missing": [digest, ...]}"""
        token, missing = await self._service.contexts.announce(request.blocks())
        return web.json_response({"Token": token, "Missing": missing}, status=201)

    async def receive(self, request: web.Request) -> web.Response:
        await self._service.contexts.receive(request.match_info["token"], request.blocks())
        return web.Response(status=204)

    async def offer(self, request: web.Request) -> web.Response:
        """{"Secrets": {id: base64}, "Agents": [id]} -> {"Token": ...}, to be named by a build as `offer`.
        Docker's clients do this in a BuildKit session; this call is our own."""
        document = await params.json_object(request)
        found, agents = document.get("Secrets") or {}, document.get("Agents") or []
        if not isinstance(found, dict) or not isinstance(agents, list):
            raise InvalidParameter("offer: Secrets is an object and Agents a list")
        try:
            contents = {str(name): b64decode(value, validate=True) for name, value in found.items()}
        except (ValueError, TypeError) as exc:
            raise InvalidParameter("offer: a secret's content is not base64") from exc
        token = self._service.offers.make(contents, [str(name) for name in agents])
        return web.json_response({"Token": token}, status=201)

    async def lend_agent(self, request: web.Request) -> web.StreamResponse:
        """Takes the connection over; it waits until a step's program wants the agent."""
        token, agent = request.match_info["token"], request.match_info["agent"]
        self._service.offers.queue(token, agent)
        connection = await hijack.take_over(request, hijack.RAW)
        line = Line(connection.reader, connection.writer, connection.closed)
        try:
            self._service.offers.add_line(token, agent, line)
            await line.ended()
        except NotFound:
            pass  # the build ended meanwhile
        finally:
            connection.close()
        return hijack.HijackedResponse()


def _bytes(query: Mapping[str, str], key: str) -> int:
    return max(0, params.integer(query, key, 0) or 0)


async def _without_aux(lines: AsyncIterator[progress.Line]) -> AsyncIterator[progress.Line]:
    async for line in lines:
        if "aux" not in line:
            yield line


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
        context=query.get("context", ""),
        base=query.get("base", ""),
        needs=query.get("needs", ""),
        remote=_remote(query.get("remote", "")),
        dockerfile=query.get("dockerfile") or "Dockerfile",
        tags=tuple(_tag(text) for text in query.getall("t", []) if text),
        build_args=_strings(_json(request, "buildargs", dict), "buildargs", null=True),
        labels={
            name: value or ""
            for name, value in _strings(_json(request, "labels", dict), "labels", null=False).items()
        },
        target=query.get("target", ""),
        cache_from=tuple(str(each) for each in _json(request, "cachefrom", list)),
        no_cache=params.boolean(query, "nocache"),
        pull=params.boolean(query, "pull"),
        quiet=params.boolean(query, "q"),
        keep_failed=not params.boolean(query, "forcerm") and not params.boolean(query, "rm", default=True),
        network=query.get("networkmode", ""),
        platform=query.get("platform", ""),
        host_config=host,
        offer=query.get("offer", ""),
        credentials=credentials.from_config_header(request.headers.get("X-Registry-Config", "")),
        squash=params.boolean(query, "squash"),
        contexts=_contexts(request),
        allow=frozenset(map(_entitlement, query.getall("allow", []))),
    )


def _refuse(request: web.Request) -> None:
    query = request.query
    if query.get("version") == "2":
        raise NotSupported("BuildKit is not available; set DOCKER_BUILDKIT=0")
    if query.get("outputs"):
        raise NotSupported(
            "outputs is not available yet; build an image and use `docker save` or `docker cp`"
        )


def _remote(text: str) -> str:
    """Docker's own client names what it sends itself "client-session"; older ones send nothing."""
    return "" if text == "client-session" else text


def _contexts(request: web.Request) -> dict[str, str]:
    """{name: where it comes from}; our own parameter: docker's clients use BuildKit sessions for it."""
    found: dict[str, str] = {}
    for name, text in _strings(_json(request, "contexts", dict), "contexts", null=False).items():
        if not name or not text or not text.startswith(_CONTEXTS):
            raise InvalidParameter(
                f"build context {name}={text}: not available (hint: an image as docker-image://NAME, the URL "
                "of a git repository or of an archive, or context:TOKEN)"
            )
        found[name] = text
    return found


def _entitlement(text: str) -> Entitlement:
    try:
        return Entitlement(text)
    except ValueError:
        raise InvalidParameter(f"allow: {text} is none of {', '.join(Entitlement)}") from None


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
