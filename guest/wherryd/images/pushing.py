"""`push`: an image into a registry. Source: Engine API, POST /images/{name}/push.

For each layer, in this order: an archive that the repository has already, one that it can take over from a
repository beside it, and only then the layer compressed anew. The compression gives the same bytes for
the same layer, so that a second push finds the first one's blobs.
"""

import asyncio
import functools
import hashlib
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import BinaryIO

from isal import isal_zlib

from wherryd.content.digest import short
from wherryd.content.store import ContentStore
from wherryd.errors import EngineError, Forbidden, Unauthorized
from wherryd.images.catalog import ImageCatalog
from wherryd.images.image import Image, Progress, Publish
from wherryd.images.layers import Layer, LayerStore
from wherryd.images.origins import Origins
from wherryd.images.progress import bar
from wherryd.images.reference import Reference
from wherryd.images.threads import iterate
from wherryd.images.together import Report, reported, together
from wherryd.registry import manifests
from wherryd.registry.credentials import Credentials
from wherryd.registry.manifests import DOCKER_CONFIG, DOCKER_LAYER, Descriptor, Manifest, RawManifest
from wherryd.registry.refusals import Refusal
from wherryd.registry.service import Registry
from wherryd.registry.upload import BytesSource, FileSource, Uploader

#: As dockerd's --max-concurrent-uploads, over all pushes.
PARALLEL_UPLOADS = 5
#: isal's own middle: half of zlib's time at its fastest, and about its size.
_LEVEL = 2
_GZIP = 31  # window bits: 15, with gzip's head and tail; the head has no name and no time
_MAX_HINTS = 8
_SECONDS_BETWEEN_LINES = 0.1


class Pusher:
    def __init__(
        self,
        catalog: ImageCatalog,
        layers: LayerStore,
        content: ContentStore,
        origins: Origins,
        registry: Registry,
        publish: Publish,
    ) -> None:
        self._catalog = catalog
        self._layers = layers
        self._content = content
        self._origins = origins
        self._registry = registry
        self._publish = publish
        self._slots = asyncio.Semaphore(PARALLEL_UPLOADS)

    async def push(
        self, images: Sequence[tuple[Reference, Image]], credentials: Credentials
    ) -> AsyncGenerator[Progress, None]:
        """Progress lines. images: of one repository, each under a tag. Raises EngineError."""
        name = images[0][0]
        uploader = self._registry.uploader(name.domain, name.path, credentials)
        yield {"status": f"The push refers to repository [{name.name}]"}
        for tagged, image in images:
            push = _Push(uploader, tagged)
            work = functools.partial(self._one, push, image)
            try:
                async with aclosing(reported(work)) as lines:
                    async for line in lines:
                        yield line
            except Refusal as exc:
                raise _problem(tagged, exc) from exc

    async def _one(self, push: "_Push", image: Image, report: Report) -> None:
        name = push.name
        with self._layers.pinned() as pins:
            pins.add(image.chain_id)
            stack = self._layers.stack(image.chain_id)
            known = _parsed(self._origins.manifests(image.id), len(stack))
            for layer in reversed(stack):
                report(_line("Preparing", layer))
            placed: dict[str, Descriptor] = {}
            hints = {
                layer.diff_id: [manifest.layers[number] for _, manifest in known]
                for number, layer in enumerate(stack)
            }
            layers = {layer.diff_id: layer for layer in stack}.values()
            for layer in list(layers)[PARALLEL_UPLOADS:]:
                report(_line("Waiting", layer))

            async def place(layer: Layer) -> None:
                async with self._slots:
                    placed[layer.diff_id] = await self._place(push, layer, hints[layer.diff_id], report)

            await together(place(layer) for layer in layers)
        config = self._content.read(image.id)
        if await push.uploader.has(image.id) is None:
            blob = Descriptor(DOCKER_CONFIG, image.id, len(config))
            await push.uploader.send(blob, BytesSource(config), lambda _sent: None)
        manifest = _manifest(image.id, len(config), [placed[layer.diff_id] for layer in stack], known)
        await push.uploader.put_manifest(manifest, name.tag)
        self._origins.saw_manifest(image.id, manifest)
        self._catalog.tag(Reference(name.domain, name.path, "", manifest.digest), image.id)
        self._publish("image", "push", name.familiar, {**image.labels, "name": name.familiar_name})
        size = len(manifest.body)
        report({"status": f"{name.tag}: digest: {manifest.digest} size: {size}"})
        report({"progressDetail": {}, "aux": {"Tag": name.tag, "Digest": manifest.digest, "Size": size}})

    async def _place(
        self, push: "_Push", layer: Layer, hints: Iterable[Descriptor], report: Report
    ) -> Descriptor:
        """Sees to it that the repository has the layer; under which digest and type."""
        name = push.name
        candidates = list(dict.fromkeys([*hints, *self._origins.blobs(layer.diff_id)]))[:_MAX_HINTS]
        for blob in candidates:
            if await push.uploader.has(blob.digest) is not None:
                return self._placed(push, layer, blob, "Layer already exists", report)
        for blob in candidates:
            for path in self._origins.repositories(blob.digest, name.domain)[:_MAX_HINTS]:
                if path != name.path and await push.uploader.mount(blob.digest, path):
                    return self._placed(push, layer, blob, f"Mounted from {path}", report)
        with self._content.scratch() as file:
            blob = await self._compress(layer, file)
            if await push.uploader.has(blob.digest) is not None:
                return self._placed(push, layer, blob, "Layer already exists", report)
            progress = _Throttle(layer, blob.size, report)
            await push.uploader.send(blob, FileSource(file.fileno()), progress.sent)
        return self._placed(push, layer, blob, "Pushed", report)

    def _placed(
        self, push: "_Push", layer: Layer, blob: Descriptor, status: str, report: Report
    ) -> Descriptor:
        self._origins.saw_layer(layer.diff_id, blob, push.name.domain, push.name.path)
        report(_line(status, layer))
        return blob

    async def _compress(self, layer: Layer, file: BinaryIO) -> Descriptor:
        """The layer's archive as gzip into file. Raises SystemFault when the layer was damaged on disk."""
        digest, size = hashlib.sha256(), 0
        async with aclosing(iterate(_gzip(self._layers.archive(layer)))) as pieces:
            async for data in pieces:
                digest.update(data)
                size += len(data)
                await asyncio.to_thread(_write, file, data)
        return Descriptor(DOCKER_LAYER, "sha256:" + digest.hexdigest(), size)


@dataclass(frozen=True, slots=True)
class _Push:
    uploader: Uploader
    name: Reference


class _Throttle:
    """Bars of one layer, not more often than anybody can see."""

    def __init__(self, layer: Layer, total: int, report: Report) -> None:
        self._layer = layer
        self._total = total
        self._report = report
        self._last = 0.0

    def sent(self, size: int) -> None:
        if size >= self._total or time.monotonic() - self._last > _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            self._report(bar("Pushing", size, self._total, short(self._layer.diff_id)))


def _line(status: str, layer: Layer) -> Progress:
    return {"status": status, "progressDetail": {}, "id": short(layer.diff_id)}


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()


def _gzip(pieces: Iterable[bytes]) -> Generator[bytes, None, None]:
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
    for piece in pieces:
        if data := compressor.compress(piece):
            yield data
    yield compressor.flush()


def _parsed(known: Iterable[RawManifest], layers: int) -> list[tuple[RawManifest, Manifest]]:
    """Those that fit the image as it is stored."""
    found = []
    for raw in known:
        parsed = manifests.parse(raw)
        if isinstance(parsed, Manifest) and len(parsed.layers) == layers:
            found.append((raw, parsed))
    return found


def _manifest(
    config_digest: str,
    config_size: int,
    layers: Sequence[Descriptor],
    known: Iterable[tuple[RawManifest, Manifest]],
) -> RawManifest:
    """One that the image came with if it names exactly these blobs: then its digest stays the same."""
    digests = [layer.digest for layer in layers]
    for raw, parsed in known:
        if [layer.digest for layer in parsed.layers] == digests:
            return raw
    return manifests.build(Descriptor(DOCKER_CONFIG, config_digest, config_size), layers)


def _problem(name: Reference, refusal: Refusal) -> EngineError:
    if refusal.is_denied:
        kind = Unauthorized if refusal.status == 401 else Forbidden
        return kind(f"{refusal}: log in to {name.domain} as somebody who may push to {name.path}")
    return refusal.as_engine_error(f"pushing {name.familiar}")
