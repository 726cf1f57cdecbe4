"""Routes that ask a registry and store nothing: `/auth`, `/images/search`, `/distribution/{name}/json`.

Source: Engine API 1.51, sections "System" (auth), "Image" (search), "Distribution".
"""

from wherryd.api import params
from wherryd.errors import InvalidParameter
from wherryd.http import web
from wherryd.images import reference as references
from wherryd.registry import credentials
from wherryd.registry.credentials import Credentials
from wherryd.registry.service import Registry


def user(request: web.Request) -> Credentials:
    """Who the client says it is to the registry; nobody when it says nothing that can be read."""
    return credentials.from_header(request.headers.get("X-Registry-Auth", ""))


def routes(registry: Registry) -> list[web.RouteDef]:
    handlers = _Handlers(registry)
    return [
        web.post("/auth", handlers.auth),
        web.get("/images/search", handlers.search, allow_head=False),
        web.get("/distribution/{name:.+}/json", handlers.inspect, allow_head=False),
    ]


class _Handlers:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def auth(self, request: web.Request) -> web.Response:
        """POST /auth"""
        who = credentials.from_document(await params.json_object(request))
        token = await self._registry.login(who)
        return web.json_response({"Status": "Login Succeeded", "IdentityToken": token})

    async def search(self, request: web.Request) -> web.Response:
        """GET /images/search"""
        term = request.query.get("term", "")
        if not term:
            raise InvalidParameter("term is missing; say what to search for")
        found = await self._registry.search(
            term,
            limit=params.integer(request.query, "limit", 0) or 0,
            filters=params.filters(request.query),
            credentials=user(request),
        )
        return web.json_response(found)

    async def inspect(self, request: web.Request) -> web.Response:
        """GET /distribution/{name}/json"""
        name = references.parse(request.match_info["name"]).with_default_tag()
        document = await self._registry.inspect(
            name.domain, name.path, name.digest or name.tag, user(request)
        )
        return web.json_response(document)
