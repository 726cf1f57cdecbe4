"""A registry in this process, over HTTP on loopback, with faults to order."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from wherryd.registry.manifests import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST

Hook = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Cut:
    """Breaks the connection behind so many bytes of a body."""

    after: int


@dataclass
class FakeRegistry:
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    #: Asked first, in order; one that answers ends the request.
    hooks: list[Hook] = field(default_factory=list)
    #: Used up from the front, one per blob that is read.
    cuts: list[Cut] = field(default_factory=list)
    ranges: bool = True
    uploads: dict[str, bytearray] = field(default_factory=dict)
    #: Breaks uploads off behind so many bytes; used up.
    upload_cuts: list[int] = field(default_factory=list)
    host: str = "127.0.0.1:0"
    runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Again on the same port, if it ran before."""
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self.answer)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", int(self.host.rpartition(":")[2]), reuse_address=True)
        await site.start()
        self.host = f"127.0.0.1:{self.runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
        self.runner = None

    def add_blob(self, data: bytes) -> str:
        self.blobs[sha256(data)] = data
        return sha256(data)

    def add_manifest(self, path: str, tag: str, body: bytes, media_type: str = DOCKER_MANIFEST) -> str:
        for reference in (tag, sha256(body)):
            self.manifests[path, reference] = (media_type, body)
        return sha256(body)

    def add_image(self, path: str, tag: str, config: bytes, layers: list[bytes]) -> str:
        document = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "size": len(config), "digest": self.add_blob(config)},
            "layers": [
                {"mediaType": DOCKER_LAYER, "size": len(layer), "digest": self.add_blob(layer)}
                for layer in layers
            ],
        }
        return self.add_manifest(path, tag, json.dumps(document).encode())

    def asked(self, method: str, pattern: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == method and re.search(pattern, seen.path)]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await self._body(request)
        except ConnectionResetError:
            return web.Response(status=500)
        headers = {key.lower(): value for key, value in request.headers.items()}
        self.seen.append(Seen(request.method, request.path, dict(request.query), headers, body))
        for hook in list(self.hooks):
            if (answer := await hook(request)) is not None:
                return answer
        if request.path == "/v2/":
            return web.json_response({})
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(?!uploads)([^/]+)", request.path)
        if match and match[2] == "manifests":
            return self._manifest(request, match[1], match[3], body)
        if match:
            return await self._blob(request, match[3])
        if match := re.fullmatch(r"/v2/(.+)/blobs/uploads/(.*)", request.path):
            return self._upload(request, match[1], match[2], body)
        return refuse(404, "NAME_UNKNOWN", "repository name not known to registry")

    async def _body(self, request: web.Request) -> bytes:
        body = bytearray()
        limit = self.upload_cuts[0] if self.upload_cuts and request.method in ("PATCH", "PUT") else None
        async for data in request.content.iter_chunked(1024):
            body += data
            if limit is not None and len(body) > limit:
                self.upload_cuts.pop(0)
                upload = request.path.rpartition("/")[2]
                if request.method == "PATCH":
                    self.uploads[upload] += body[:limit]
                assert request.transport is not None
                request.transport.abort()
                raise ConnectionResetError
        return bytes(body)

    def _manifest(self, request: web.Request, path: str, reference: str, body: bytes) -> web.Response:
        if request.method == "PUT":
            self.add_manifest(path, reference, body, request.headers["Content-Type"])
            return web.Response(status=201, headers={"Docker-Content-Digest": sha256(body)})
        if (path, reference) not in self.manifests:
            return refuse(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, data = self.manifests[path, reference]
        return web.Response(
            body=data, headers={"Content-Type": media_type, "Docker-Content-Digest": sha256(data)}
        )

    async def _blob(self, request: web.Request, digest: str) -> web.StreamResponse:
        if digest not in self.blobs:
            return refuse(404, "BLOB_UNKNOWN", "blob unknown to registry")
        data = self.blobs[digest]
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": str(len(data))})
        response = web.StreamResponse()
        if self.ranges and (wanted := request.headers.get("Range")):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            response.set_status(206)
            response.headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data = data[start:]
        response.content_length = len(data)
        await response.prepare(request)
        if self.cuts:
            cut = self.cuts.pop(0)
            await response.write(data[: cut.after])
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(data)
        await response.write_eof()
        return response

    def _upload(self, request: web.Request, path: str, upload: str, body: bytes) -> web.Response:
        headers = {"Location": f"/v2/{path}/blobs/uploads/{upload}?state=opaque%2Fvalue"}
        if request.method == "POST":
            mounted = request.query.get("mount", "")
            if mounted in self.blobs:
                return web.Response(status=201, headers={"Docker-Content-Digest": mounted})
            upload = str(len(self.uploads) + 1)
            self.uploads[upload] = bytearray()
            headers = {"Location": f"/v2/{path}/blobs/uploads/{upload}?state=opaque%2Fvalue"}
            return web.Response(status=202, headers=headers)
        if upload not in self.uploads:
            return refuse(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")
        assert request.query.get("state") == "opaque/value"
        stored = self.uploads[upload]
        if request.method == "DELETE":
            del self.uploads[upload]
            return web.Response(status=204)
        wanted = request.headers.get("Content-Range", str(len(stored)))
        if request.method == "PATCH" and int(wanted.partition("-")[0]) != len(stored):
            return refuse(416, "RANGE_INVALID", "out of order")
        stored += body
        headers["Range"] = f"0-{max(len(stored) - 1, 0)}"
        if request.method == "PUT":
            digest = request.query["digest"]
            if sha256(bytes(stored)) != digest:
                return refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            self.blobs[digest] = bytes(stored)
            return web.Response(status=201, headers={"Docker-Content-Digest": digest})
        return web.Response(status=204 if request.method == "GET" else 202, headers=headers)


def refuse(status: int, code: str, message: str, **headers: str) -> web.Response:
    document: Any = {"errors": [{"code": code, "message": message}]}
    return web.json_response(document, status=status, headers=headers)


@asynccontextmanager
async def fake_registry() -> AsyncIterator[FakeRegistry]:
    fake = FakeRegistry()
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()
