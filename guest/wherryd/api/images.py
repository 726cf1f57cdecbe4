"""Routes of images. Engine API 1.51, section "Image", except build and search."""

from wherryd.api import gates, history, imageversions, params, progress
from wherryd.api.registry import user
from wherryd.errors import InvalidParameter
from wherryd.http import web
from wherryd.images import reference as references
from wherryd.images.filters import LIST_KEYS, PRUNE_KEYS
from wherryd.images.image import Image
from wherryd.images.service import ImageService


def routes(service: ImageService) -> list[web.RouteDef]:
    """Names in paths hold "/", ":" and "@", so a name matches greedily and its suffix decides."""
    handlers = Handlers(service)
    return [
        web.get("/images/json", handlers.list_images),
        web.post("/images/create", handlers.create),
        web.post("/images/load", handlers.load),
        web.post("/images/prune", handlers.prune),
        web.get("/images/get", handlers.save_several),
        web.get("/images/{name:.+}/json", handlers.inspect),
        web.get("/images/{name:.+}/history", handlers.history),
        web.get("/images/{name:.+}/get", handlers.save_one),
        web.post("/images/{name:.+}/tag", handlers.tag),
        web.post("/images/{name:.+}/push", handlers.push),
        web.delete("/images/{name:.+}", handlers.remove),
    ]


class Handlers:
    def __init__(self, service: ImageService) -> None:
        self._service = service

    async def list_images(self, request: web.Request) -> web.Response:
        """GET /images/json"""
        version = request["api_version"]
        filters = params.filters(request.query, LIST_KEYS)
        if request.query.get("filter"):
            filters.setdefault("reference", []).append(request.query["filter"])
        documents = self._service.list(
            all_images=params.boolean(request.query, "all"),
            filters=filters,
            shared_size=params.boolean(request.query, "shared-size"),
            containers=True,
            with_manifests=params.boolean(request.query, "manifests"),
            with_descriptors=True,
        )
        return web.json_response([gates.fit(each, history.IMAGES, version) for each in documents])

    async def create(self, request: web.Request) -> web.StreamResponse:
        """POST /images/create: pull with fromImage, import with fromSrc."""
        query = request.query
        if query.get("fromImage"):
            pulled = self._service.pull(
                query["fromImage"],
                tag=query.get("tag", ""),
                platform=query.get("platform", ""),
                credentials=user(request),
            )
            return await progress.respond(request, pulled)
        source = query.get("fromSrc", "")
        if not source:
            raise InvalidParameter("fromImage or fromSrc is missing; say where the image comes from")
        name = references.from_query(query.get("repo", ""), query.get("tag", ""))
        lines = self._service.import_tar(
            request.blocks() if source == "-" else source,
            reference=name.canonical if name else None,
            message=query.get("message", ""),
            changes=query.getall("changes", []),
            platform=query.get("platform", ""),
        )
        return await progress.respond(request, lines)

    async def load(self, request: web.Request) -> web.StreamResponse:
        """POST /images/load"""
        lines = self._service.load(
            request.blocks(),
            params.boolean(request.query, "quiet"),
            _one_platform(request),
        )
        # docker-py looks for the error there, and nowhere else.
        return await progress.respond(request, lines, always_in_band=True)

    async def save_several(self, request: web.Request) -> web.StreamResponse:
        """GET /images/get?names=a&names=b; docker-py sends one list with commas."""
        names = [name for value in request.query.getall("names", []) for name in value.split(",") if name]
        return await self._save(request, names)

    async def save_one(self, request: web.Request) -> web.StreamResponse:
        """GET /images/{name}/get"""
        return await self._save(request, [request.match_info["name"]])

    async def _save(self, request: web.Request, names: list[str]) -> web.StreamResponse:
        archive = self._service.save(names, _one_platform(request))
        response = web.StreamResponse(headers={"Content-Type": "application/x-tar"})
        await response.prepare(request)
        # An error from here on breaks the connection off: an archive has no place for a message.
        async for data in archive:
            await response.write(data)
        await response.write_eof()
        return response

    def _of_platform(self, request: web.Request) -> Image:
        """The image that the path names, of the platform that the query does. Raises NotFound,
        InvalidParameter."""
        return self._service.resolve(request.match_info["name"], _platform(request.query.get("platform", "")))

    async def inspect(self, request: web.Request) -> web.Response:
        """GET /images/{name}/json"""
        manifests = params.boolean(request.query, "manifests")
        if manifests and request.query.get("platform"):
            raise InvalidParameter("conflicting options: manifests and platform options cannot both be set")
        image = self._of_platform(request)
        document = self._service.inspect(image) | {"Descriptor": self._service.descriptor(image)}
        if manifests:
            document["Manifests"] = self._service.manifests(image)
        version = imageversions.read_by(request.headers.get("User-Agent", ""), request["api_version"])
        document = imageversions.with_container(document, image.config)
        return web.json_response(gates.fit(document, history.IMAGE, version))

    async def history(self, request: web.Request) -> web.Response:
        """GET /images/{name}/history"""
        return web.json_response(self._service.history(self._of_platform(request)))

    async def tag(self, request: web.Request) -> web.Response:
        """POST /images/{name}/tag"""
        image = self._service.resolve(request.match_info["name"])
        name = references.from_query(request.query.get("repo", ""), request.query.get("tag", ""))
        if name is None:
            raise InvalidParameter("repo is missing; give the new name")
        self._service.tag(image, name.canonical)
        return web.Response(status=201)

    async def remove(self, request: web.Request) -> web.Response:
        """DELETE /images/{name}; platforms say what of an index goes."""
        name, force = request.match_info["name"], params.boolean(request.query, "force")
        if "platforms" in request.query:
            wanted = [_platform(each) for each in request.query.getall("platforms", [])]
            return web.json_response(await self._service.remove_platforms(name, wanted, force=force))
        records = await self._service.remove(
            name,
            force=force,
            noprune=params.boolean(request.query, "noprune"),
        )
        return web.json_response(records)

    async def prune(self, request: web.Request) -> web.Response:
        """POST /images/prune"""
        return web.json_response(await self._service.prune(params.filters(request.query, PRUNE_KEYS)))

    async def push(self, request: web.Request) -> web.StreamResponse:
        """POST /images/{name}/push"""
        lines = self._service.push(
            request.match_info["name"],
            tag=request.query.get("tag", ""),
            platform=_platform(request.query.get("platform", "")),
            credentials=user(request),
        )
        return await progress.respond(request, lines)


def _one_platform(request: web.Request) -> str:
    if len(request.query.getall("platform", [])) > 1:
        raise InvalidParameter("multiple platform parameters not supported")
    return _platform(request.query.get("platform", ""))


def _platform(text: str) -> str:
    """Push, load and save name a platform as a JSON object. Raises InvalidParameter."""
    if not text.startswith("{"):
        return text
    document = params.parse_object(text.encode(), "application/json")
    parts = (str(document.get(key) or "") for key in ("os", "architecture", "variant"))
    return "/".join(part for part in parts if part)
