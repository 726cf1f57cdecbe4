"""What a container changed, and an image of it. Source: Engine API 1.51, ContainerChanges, ImageCommit."""

from typing import Any

from wherryd.api import params
from wherryd.api.app import require
from wherryd.containers.commit import CommitWish
from wherryd.containers.service import ContainerService
from wherryd.errors import InvalidParameter
from wherryd.http import web
from wherryd.images import reference as references


class _Handlers:
    def __init__(self, service: ContainerService) -> None:
        self._service = service

    async def changes(self, request: web.Request) -> web.Response:
        """GET /containers/{id}/changes"""
        found = await self._service.changes(require(request, "id"))
        document = [{"Path": _text(path), "Kind": int(kind)} for path, kind in found]
        # dockerd says null where there are none.
        return web.json_response(document or None)

    async def commit(self, request: web.Request) -> web.Response:
        """POST /commit"""
        query = request.query
        container = query.get("container", "")
        if not container:
            raise InvalidParameter("container is missing; say which one to make an image of")
        config = await params.json_object(request)
        wish = CommitWish(
            name=references.from_query(query.get("repo", ""), query.get("tag", "")),
            author=query.get("author", ""),
            comment=query.get("comment", ""),
            pause=params.boolean(query, "pause", default=True),
            changes=query.getall("changes", []),
            config=self._service.checked_config(config) if any(config.values()) else None,
        )
        image = await self._service.commit(container, wish)
        return web.json_response({"Id": image.id}, status=201)


def _text(path: str) -> str:
    """A name that is no text becomes one, as Go's JSON does it."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def routes(service: ContainerService) -> list[web.RouteDef]:
    handlers: Any = _Handlers(service)
    return [
        web.get("/containers/{id}/changes", handlers.changes, allow_head=False),
        web.post("/commit", handlers.commit),
    ]
