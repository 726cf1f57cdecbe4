"""Parts of the Engine API that this engine does not have, each answered by name.

Swarm and what belongs to it says 503 as dockerd outside of a swarm does; what may come later says 501.
"""

from collections.abc import Awaitable, Callable

from wherryd.errors import NotFound, NotSupported, Unavailable
from wherryd.http import web

_SWARM = "This node is not a swarm manager. Wherry has no swarm mode; run containers with `docker run`."
_SWARM_PREFIXES = ("swarm", "nodes", "services", "tasks", "secrets", "configs")

#: method, path, what is missing and what to do instead.
_LATER = (
    ("GET", "/containers/{id}/checkpoints", "checkpoints are not available"),
    ("POST", "/containers/{id}/checkpoints", "checkpoints are not available"),
    ("POST", "/build/cancel", "builds of BuildKit are not available; close the connection to end a build"),
    ("POST", "/session", "BuildKit sessions are not available; set DOCKER_BUILDKIT=0"),
    ("POST", "/grpc", "BuildKit is not available; set DOCKER_BUILDKIT=0"),
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _refuse(error: type[NotSupported] | type[Unavailable], message: str) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        raise error(message)

    return handler


async def _no_such_plugin(request: web.Request) -> web.StreamResponse:
    """GET /plugins/{name}/json, which docker's `inspect` asks last, to tell that there is no such object."""
    raise NotFound(f'plugin "{request.match_info["name"]}" not found')


async def _no_plugins(_request: web.Request) -> web.StreamResponse:
    return web.json_response([])


def routes() -> list[web.RouteDef]:
    found = [web.route(method, path, _refuse(NotSupported, message)) for method, path, message in _LATER]
    found += [
        web.route("*", path, _refuse(Unavailable, _SWARM))
        for prefix in _SWARM_PREFIXES
        for path in (f"/{prefix}", f"/{prefix}/{{rest:.+}}")
    ]
    found.append(web.get("/plugins", _no_plugins, allow_head=False))
    found.append(web.get("/plugins/{name:.+}/json", _no_such_plugin, allow_head=False))
    found.append(web.route("*", "/plugins/{rest:.+}", _refuse(NotSupported, "plugins are not available")))
    return found
