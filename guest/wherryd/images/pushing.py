"""`push`: an image into a registry. Source: Engine API, POST /images/{name}/push.

For each layer, in this order: an archive that the repository has already, one that it can take over from a
repository beside it, and only then the layer compressed anew. The compression gives the same bytes for
the same layer, so that a second push finds the first one's blobs.
"""

import asyncio
import functools
import hashlib
import logging
import shutil
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import BinaryIO

from isal import isal_zlib

from wherryd.content.digest import short
from wherryd.content.store import ContentStore
from wherryd.errors import Conflict, EngineError, Forbidden, Unauthorized
from wherryd.images import indexes, summaries
from wherryd.images.catalog import ImageCatalog
from wherryd.images.image import Image, Platform, Progress, Publish
from wherryd.images.indexes import NewIndex, StoredIndex
from wherryd.images.layers import Layer, LayerStore
from wherryd.images.origins import Origins
from wherryd.images.progress import bar
from wherryd.images.reference import Reference
from wherryd.images.threads import iterate
from wherryd.images.together import Report, reported, together
from wherryd.registry import manifests
from wherryd.registry.credentials import ANONYMOUS, Credentials
from wherryd.registry.manifests import DOCKER_CONFIG, DOCKER_LAYER, Descriptor, Entry, Manifest, RawManifest
from wherryd.registry.refusals import Refusal
from wherryd.registry.service import Registry
from wherryd.registry.upload import BytesSource, FileSource, Uploader

log = logging.getLogger(__name__)

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
        self, images: Sequence[tuple[Reference, Image]], credentials: Credentials, wanted: Platform | None
    ) -> AsyncGenerator[Progress, None]:
        """Progress lines. images: of one repository, each under a tag. wanted: of an index, only this
        platform's image. Raises EngineError."""
        name = images[0][0]
        uploader = self._registry.uploader(name.domain, name.path, credentials)
        chosen = [self._choose(tagged, image, wanted) for tagged, image in images]
        yield {"status": f"The push refers to repository [{name.name}]"}
        for (tagged, _), (image, stored) in zip(images, chosen, strict=True):
            push = _Push(uploader, tagged, credentials)
            if stored is not None and stored.is_whole:
                work = functools.partial(self._index, push, stored, image)
            else:
                work = functools.partial(self._single, push, image, stored)
            try:
                async with aclosing(reported(work)) as lines:
                    async for line in lines:
                        yield line
            except Refusal as exc:
                raise _problem(tagged, exc) from exc

    def _choose(
        self, name: Reference, image: Image, wanted: Platform | None
    ) -> tuple[Image, StoredIndex | None]:
        """What is pushed: an image, and its index when that was meant. Raises NotFound, Conflict."""
        if wanted is not None:
            return self._catalog.of_platform(image, wanted, name.familiar), None
        stored = self._catalog.index(image.index)
        if stored is None or stored.is_whole or len(stored.here) == 1 or stored.best(indexes.host()):
            return image, stored
        here = ", ".join(str(entry.platform) for entry in stored.here)
        raise Conflict(
            f"{name.familiar}: multiple matching manifests found but no specific platform requested: its "
            f"index lists more than is here (hint: --platform with one of {here}, or pull the others first)"
        )

    async def _single(
        self, push: "_Push", image: Image, instead_of: StoredIndex | None, report: Report
    ) -> None:
        """instead_of: the index, of which not everything is here."""
        name = push.name
        manifest = await self._image(push, image, name.tag, report)
        if not self._catalog.index(image.index) and not image.is_part:
            self._catalog.tag(Reference(name.domain, name.path, "", manifest.digest), image.id)
        self._done(push, image, manifest, report)
        if instead_of is not None:
            report(
                {
                    "progressDetail": {},
                    "aux": {
                        "manifestPushedInsteadOfIndex": True,
                        "originalIndex": instead_of.raw.descriptor.document(),
                        "selectedManifest": {
                            **manifest.descriptor.document(),
                            "platform": summaries.platform(image),
                        },
                    },
                }
            )

    def _done(self, push: "_Push", image: Image, manifest: RawManifest, report: Report) -> None:
        name, size = push.name, len(manifest.body)
        self._publish("image", "push", name.familiar, {**image.labels, "name": name.familiar_name})
        report({"status": f"{name.tag}: digest: {manifest.digest} size: {size}"})
        report({"progressDetail": {}, "aux": {"Tag": name.tag, "Digest": manifest.digest, "Size": size}})

    async def _index(self, push: "_Push", stored: StoredIndex, image: Image, report: Report) -> None:
        """Everything it lists, and then the index. image: that it is shown as."""
        became: dict[str, RawManifest] = {}
        for entry in stored.index.images:
            part = self._catalog.get(stored.image_of(entry))
            became[entry.descriptor.digest] = await self._image(
                push, part, "", report, entry.descriptor.digest
            )
        changed = {digest: raw for digest, raw in became.items() if raw.digest != digest}
        raw = indexes.rewritten(stored, changed) if changed else stored.raw
        documents: list[bytes] = []
        for entry in indexes.parsed(raw).entries:
            if entry.descriptor.digest in stored.documents:
                documents += await self._document(push, entry)
        if changed:
            report({"status": f"{stored.digest} has other archives of its layers there: {raw.digest}"})
        await push.uploader.put_manifest(raw, push.name.tag)
        pinned = Reference(push.name.domain, push.name.path, "", raw.digest)
        self._catalog.tag(pinned, image.id, NewIndex(raw, documents))
        self._done(push, image, raw, report)

    async def _document(self, push: "_Push", entry: Entry) -> list[bytes]:
        """An attestation, as it was pulled; what it is made of."""
        body = self._content.read(entry.descriptor.digest)
        raw = RawManifest(body, entry.descriptor.media_type, entry.descriptor.digest)
        documents = [body]
        for part in manifests.parts(raw):
            data = self._content.read(part.digest)
            documents.append(data)
            if await push.uploader.has(part.digest) is None:
                await push.uploader.send(part, BytesSource(data), lambda _sent: None)
        await push.uploader.put_manifest(raw, raw.digest)
        return documents

    async def _image(
        self, push: "_Push", image: Image, tag: str, report: Report, wanted: str = ""
    ) -> RawManifest:
        """Its layers, its config and its manifest. tag: "" puts it under its digest alone. wanted: the digest
        that it has in an index, and gets if that can be."""
        with self._layers.pinned() as pins:
            pins.add(image.chain_id)
            stack = self._layers.stack(image.chain_id)
            known = _parsed(self._origins.manifests(image.id), len(stack))
            known.sort(key=lambda pair: pair[0].digest != wanted)
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
                hint = hints[layer.diff_id]
                async with self._slots:
                    placed[layer.diff_id] = await self._place(
                        push, layer, hint, report, hint[0] if wanted and hint else None
                    )

            await together(place(layer) for layer in layers)
        config = self._content.read(image.id)
        if await push.uploader.has(image.id) is None:
            blob = Descriptor(DOCKER_CONFIG, image.id, len(config))
            await push.uploader.send(blob, BytesSource(config), lambda _sent: None)
        manifest = _manifest(image.id, len(config), [placed[layer.diff_id] for layer in stack], known)
        await push.uploader.put_manifest(manifest, tag or manifest.digest)
        self._origins.saw_manifest(image.id, manifest)
        return manifest

    async def _place(
        self,
        push: "_Push",
        layer: Layer,
        hints: Iterable[Descriptor],
        report: Report,
        exactly: Descriptor | None = None,
    ) -> Descriptor:
        """Sees to it that the repository has the layer; under which digest and type.

        exactly: the archive that an index stands on. What another compressor made cannot be made again, and
        is fetched from where it was seen, if it is still there for everybody.
        """
        name = push.name
        candidates = (
            [exactly]
            if exactly
            else list(dict.fromkeys([*hints, *self._origins.blobs(layer.diff_id)]))[:_MAX_HINTS]
        )
        for blob in candidates:
            if await push.uploader.has(blob.digest) is not None:
                return self._placed(push, layer, blob, "Layer already exists", report)
        for blob in candidates:
            for path in self._origins.repositories(blob.digest, name.domain)[:_MAX_HINTS]:
                if path != name.path and await push.uploader.mount(blob.digest, path):
                    return self._placed(push, layer, blob, f"Mounted from {path}", report)
        with self._content.scratch() as file:
            blob = await self._compress(layer, file)
            if exactly and blob.digest != exactly.digest and await self._fetch(push, exactly, file):
                blob = exactly
            if await push.uploader.has(blob.digest) is not None:
                return self._placed(push, layer, blob, "Layer already exists", report)
            progress = _Throttle(layer, blob.size, report)
            await push.uploader.send(blob, FileSource(file.fileno()), progress.sent)
        return self._placed(push, layer, blob, "Pushed", report)

    async def _fetch(self, push: "_Push", blob: Descriptor, file: BinaryIO) -> bool:
        """From another registry into file; without a password, for those we have are not that one's."""
        for domain, path in self._origins.places(blob.digest)[:_MAX_HINTS]:
            credentials = push.credentials if domain == push.name.domain else ANONYMOUS
            remote = self._registry.repository(domain, path, credentials)
            with self._content.scratch() as fetched:
                try:
                    async with aclosing(remote.blob(blob)) as pieces:
                        async for data in pieces:
                            await asyncio.to_thread(_write, fetched, data)
                except (EngineError, Refusal) as exc:
                    log.info("layer %s is not to be had from %s/%s: %s", blob.digest, domain, path, exc)
                    continue
                await asyncio.to_thread(_copy, fetched, file)
                return True
        return False

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
    credentials: Credentials


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


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    """In place of what target had."""
    source.seek(0)
    target.seek(0)
    target.truncate()
    shutil.copyfileobj(source, target)
    target.flush()


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
