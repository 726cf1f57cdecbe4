"""`pull`: an image out of a registry. Source: Engine API, POST /images/create?fromImage=.

A layer goes from the network straight into its unpacker, and its digest is known with its last byte: an
unpacker is confined as if every archive were hostile, and what it made is thrown away if the digest is
wrong. Where a driver's layers are independent of each other they are unpacked at the same time and only
committed in order; elsewhere a layer is put aside until those below it are there.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from wherryd.content.digest import short
from wherryd.content.partial import Partial
from wherryd.content.store import ContentStore
from wherryd.errors import EngineError, InvalidParameter, NotFound
from wherryd.images import imageconfig, platforms
from wherryd.images.catalog import ImageCatalog
from wherryd.images.image import Platform, Progress, Publish
from wherryd.images.imageconfig import ImageConfig
from wherryd.images.indexes import NewIndex
from wherryd.images.layers import LayerStore, chain_ids
from wherryd.images.leases import Leases
from wherryd.images.origins import Origins
from wherryd.images.progress import bar
from wherryd.images.reference import Reference
from wherryd.images.together import Report, reported, taken, together
from wherryd.images.unpack.reader import CHUNK_BYTES
from wherryd.registry import manifests
from wherryd.registry.credentials import Credentials
from wherryd.registry.manifests import Descriptor, Index, Manifest, RawManifest
from wherryd.registry.refusals import Refusal
from wherryd.registry.remote import Beginning, Damaged, Remote
from wherryd.registry.service import Registry

log = logging.getLogger(__name__)

#: As dockerd's --max-concurrent-downloads, over all pulls.
PARALLEL_DOWNLOADS = 3
_SECONDS_BETWEEN_LINES = 0.1
_ADVICE = "push the image again"


@dataclass(slots=True)
class _Step:
    """One layer of one pull. below, done: set when the layers up to there are committed."""

    blob: Descriptor
    diff_id: str
    chain: str
    parent: str
    pins: set[str]
    report: Report
    below: asyncio.Event
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, status: str) -> None:
        self.report({"status": status, "progressDetail": {}, "id": short(self.blob.digest)})


class Puller:
    def __init__(
        self,
        catalog: ImageCatalog,
        layers: LayerStore,
        content: ContentStore,
        origins: Origins,
        leases: Leases,
        registry: Registry,
        publish: Publish,
    ) -> None:
        self._catalog = catalog
        self._layers = layers
        self._content = content
        self._origins = origins
        self._leases = leases
        self._registry = registry
        self._publish = publish
        self._slots = asyncio.Semaphore(PARALLEL_DOWNLOADS)

    async def pull(
        self, name: Reference, platform: str, credentials: Credentials
    ) -> AsyncGenerator[Progress, None]:
        """Progress lines. name: without tag and digest, all its tags are pulled.

        Raises before the first line what the registry says to the first manifest: NotFound, Unauthorized,
        InvalidParameter, NotSupported, Unavailable.
        """
        wanted = platforms.parse(platform)
        remote = self._registry.repository(name.domain, name.path, credentials)
        everything = [name]
        if not name.tag and not name.digest:
            everything = [name.with_tag(tag) for tag in await _tags(remote, name)]
        news = False
        for one in everything:
            pull = _Pull(remote, one, wanted, bool(platform))
            async with aclosing(self._one(pull)) as lines:
                async for line in lines:
                    yield line
            news = news or pull.news
        what = "Downloaded newer image for" if news else "Image is up to date for"
        yield {"status": f"Status: {what} {name.familiar}"}

    async def _one(self, pull: "_Pull") -> AsyncGenerator[Progress, None]:
        name = pull.name
        try:
            found = await _find(pull, self._catalog.indexes.documents_of)
            manifest, image_id = found.manifest, found.manifest.config.digest
            stored = image_id in self._catalog.ids()
            data = self._content.read(image_id) if stored else await pull.remote.document(manifest.config)
            config = imageconfig.parse(data, len(manifest.layers), _ADVICE)
            pull.check_platform(config)
            yield {"status": f"Pulling from {name.path}", "id": name.digest or name.tag}
            documents = await self._attestations(pull, found)
            if not stored:
                async with aclosing(self._leased(pull, manifest, data, config)) as lines:
                    async for line in lines:
                        yield line
        except Refusal as exc:
            raise _problem(name, exc) from exc
        self._origins.saw_manifest(image_id, found.raw)
        self._name(pull, image_id, found, documents)
        yield {"status": f"Digest: {found.top.digest}"}

    async def _attestations(self, pull: "_Pull", found: "_Found") -> list[bytes]:
        """What the index says about the chosen manifest: it is kept with it, so that the index can be pushed
        whole. What of it cannot be had is left out, for nothing runs from it."""
        documents: list[bytes] = []
        for entry in found.attestations:
            if entry.descriptor.digest in found.stored:
                continue
            try:
                raw = await pull.remote.manifest(entry.descriptor.digest)
                parts = [await pull.remote.document(part) for part in manifests.parts(raw)]
                documents += [raw.body, *parts]
            except (Refusal, InvalidParameter) as exc:
                digest = entry.descriptor.digest
                log.warning("%s: attestation %s is left out: %s", pull.name.familiar, digest, exc)
        return documents

    def _name(self, pull: "_Pull", image_id: str, found: "_Found", documents: Sequence[bytes]) -> None:
        name = pull.name
        index = NewIndex(found.top, documents) if found.index else None
        names = [Reference(name.domain, name.path, "", found.top.digest)]
        if not name.digest:
            names.append(name)
        stale = [
            one
            for one in names
            if not self._catalog.stands_for(one, image_id, found.top.digest if index else "")
        ]
        if stale or index:
            self._catalog.tag_all(stale, image_id, index)
        pull.news = pull.news or bool(stale)
        labels = self._catalog.get(image_id).labels
        self._publish("image", "pull", name.familiar, {**labels, "name": name.familiar_name})

    async def _leased(
        self, pull: "_Pull", manifest: Manifest, data: bytes, config: ImageConfig
    ) -> AsyncGenerator[Progress, None]:
        """Interrupted, it leaves what it has to the next pull of the same image."""
        chains = chain_ids(config.diff_ids)
        blobs = [layer.digest for layer in manifest.layers]
        name = f"pull {pull.name.name} {manifest.config.digest}"
        with self._leases.held(name, layers=chains, partials=blobs):
            async with aclosing(self._install(pull, manifest, data, config)) as lines:
                async for line in lines:
                    yield line

    async def _install(
        self, pull: "_Pull", manifest: Manifest, data: bytes, config: ImageConfig
    ) -> AsyncGenerator[Progress, None]:
        pull.news = True
        with self._layers.pinned() as pins:

            async def work(report: Report) -> None:
                await self._fetch_layers(pull.remote, manifest, config, pins, report)

            async with aclosing(reported(work)) as lines:
                async for line in lines:
                    yield line
            chains = chain_ids(config.diff_ids)
            size = sum(self._layers.get(chain).size_bytes for chain in chains)
            self._catalog.add(data, top_layer=chains[-1] if chains else "", size_bytes=size)
            for blob, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
                self._origins.saw_layer(diff_id, blob, pull.name.domain, pull.name.path)

    async def _fetch_layers(
        self, remote: Remote, manifest: Manifest, config: ImageConfig, pins: set[str], report: Report
    ) -> None:
        steps: list[_Step] = []
        below, parent = asyncio.Event(), ""
        below.set()
        chains = chain_ids(config.diff_ids)
        for blob, diff_id, chain in zip(manifest.layers, config.diff_ids, chains, strict=True):
            step = _Step(blob, diff_id, chain, parent, pins, report, below)
            below, parent = step.done, chain
            if not steps and await self._layers.reuse(chain, pins):
                step.say("Already exists")
                step.done.set()
            else:
                step.say("Pulling fs layer")
                steps.append(step)
        for step in steps[PARALLEL_DOWNLOADS:]:
            step.say("Waiting")
        await together(self._layer(remote, step) for step in steps)

    async def _layer(self, remote: Remote, step: _Step) -> None:
        # Two pulls that share a layer fetch it once: the second finds it there.
        async with self._layers.turns.turn(step.chain):
            if await self._layers.reuse(step.chain, step.pins):
                step.say("Already exists")
            else:
                with _kept(self._content.partial(step.blob.digest)) as kept:
                    await self._fetch(remote, step, kept)
                step.say("Pull complete")
        step.done.set()

    async def _fetch(self, remote: Remote, step: _Step, kept: Partial | None) -> None:
        fetch = self._stream if self._layers.independent else self._stage
        try:
            await fetch(remote, step, kept)
        except Damaged:
            # Once more, from the first byte: what was kept may have suffered in a power cut, and a broken
            # proxy's cache is not always asked again.
            if kept is not None:
                await asyncio.to_thread(kept.empty)
            await fetch(remote, step, kept)

    async def _stream(self, remote: Remote, step: _Step, kept: Partial | None) -> None:
        """From the network into the unpacker; the commit waits for the layers below."""
        async with AsyncExitStack() as stack:
            # The slot is for the download alone, and so is given back before the job's own end.
            slot = await stack.enter_async_context(taken(self._slots))
            job = await stack.enter_async_context(self._layers.unpacking(step.parent, step.pins))
            problem: InvalidParameter | None = None
            async with aclosing(_download(remote, step, kept)) as pieces:
                async for data in pieces:
                    if problem is None:
                        try:
                            await job.feed(data)
                        except InvalidParameter as exc:
                            problem = exc  # or only a wrong digest, which the end of the download tells
            slot.release()
            if problem is not None:
                raise problem
            step.say("Download complete")
            step.report(bar("Extracting", step.blob.size, step.blob.size, short(step.blob.digest)))
            await job.finish()
            await step.below.wait()
            await job.commit(step.diff_id)

    async def _stage(self, remote: Remote, step: _Step, kept: Partial | None) -> None:
        """Onto the disk first, and unpacked when the layers below are there."""
        with ExitStack() as stack:
            # Once: it is there already when it is kept for the case that the pull is interrupted.
            scratch = stack.enter_context(self._content.scratch()) if kept is None else None
            async with self._slots, aclosing(_download(remote, step, kept)) as pieces:
                async for data in pieces:
                    if scratch is not None:
                        await asyncio.to_thread(scratch.write, data)
            if kept is not None:
                kept.check()
            step.say("Download complete")
            await step.below.wait()
            async with self._layers.unpacking(step.parent, step.pins) as job:
                progress = _Throttle("Extracting", step)
                sent = 0
                while data := await asyncio.to_thread(_piece, kept or scratch, sent):
                    await job.feed(data)
                    sent += len(data)
                    progress.add(len(data))
                await job.commit(step.diff_id)


@dataclass(slots=True)
class _Pull:
    """One name being pulled. explicit: the user asked for this platform. news: something changed here."""

    remote: Remote
    name: Reference
    wanted: Platform
    explicit: bool
    news: bool = False

    @property
    def platform(self) -> manifests.Platform:
        return manifests.Platform(self.wanted.os, self.wanted.architecture, self.wanted.variant)

    def check_platform(self, config: ImageConfig) -> None:
        """An image without an index is taken as it is, unless the user asked for another platform."""
        if self.explicit:
            platforms.check(config.document, self.wanted, self.name.familiar)


class _Throttle:
    """Bars of one layer, not more often than anybody can see."""

    def __init__(self, status: str, step: _Step) -> None:
        self._status = status
        self._step = step
        self._current = 0
        self._last = 0.0

    def add(self, size: int) -> None:
        self._current += size
        total = self._step.blob.size
        if self._current >= total or time.monotonic() - self._last > _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            self._step.report(bar(self._status, self._current, total, short(self._step.blob.digest)))


@contextmanager
def _kept(partial: Partial | None) -> Iterator[Partial | None]:
    """What came of a blob stays when the body is interrupted; not when it is done, or the blob is bad."""
    try:
        yield partial
    except InvalidParameter:
        if partial is not None:
            partial.discard()
        raise
    else:
        if partial is not None:
            partial.discard()
    finally:
        if partial is not None:
            partial.close()


def _piece(file: Partial | BinaryIO | None, offset: int) -> bytes:
    """What follows there; b"" at the end."""
    assert file is not None, "a layer that is staged lies somewhere"  # noqa: S101
    if isinstance(file, Partial):
        return file.read(offset)
    file.seek(offset)
    return file.read(CHUNK_BYTES)


async def _download(remote: Remote, step: _Step, kept: Partial | None) -> AsyncGenerator[bytes, None]:
    """The blob, with its bars; its beginning as far as it was kept. Raises Damaged at the end."""
    progress = _Throttle("Downloading", step)
    beginning = Beginning()
    while kept is not None and (data := await asyncio.to_thread(kept.read, beginning.size)):
        beginning.add(data)
        yield data
        progress.add(len(data))
    try:
        async with aclosing(remote.blob(step.blob, beginning)) as pieces:
            async for data in pieces:
                yield data
                if kept is not None and kept.add(data):
                    await asyncio.to_thread(kept.flush)
                progress.add(len(data))
    except Refusal as exc:
        raise exc.as_engine_error(f"layer {step.blob.digest}") from exc
    step.say("Verifying Checksum")


@dataclass(frozen=True, slots=True)
class _Found:
    """top: what the name stands for. raw, manifest: for the platform. index: top, where it is one. stored:
    digests of attestations that are here."""

    top: RawManifest
    raw: RawManifest
    manifest: Manifest
    index: Index | None
    stored: frozenset[str]

    @property
    def attestations(self) -> list[manifests.Entry]:
        entries = self.index.entries if self.index else ()
        return [entry for entry in entries if entry.attests == self.raw.digest]


async def _find(pull: _Pull, stored: Callable[[str], frozenset[str]]) -> _Found:
    top = raw = await pull.remote.manifest(pull.name.digest or pull.name.tag)
    parsed = manifests.parse(raw)
    index = parsed if isinstance(parsed, Index) else None
    if isinstance(parsed, Index):
        raw = await pull.remote.manifest(manifests.choose(parsed, pull.platform).descriptor.digest)
        parsed = manifests.parse(raw)
    if isinstance(parsed, Index):
        raise InvalidParameter(
            f"{pull.name.familiar} is an index of indexes; pull one of its parts by digest"
        )
    return _Found(top, raw, parsed, index, stored(top.digest) if index else frozenset())


async def _tags(remote: Remote, name: Reference) -> list[str]:
    try:
        tags = await remote.tags()
    except Refusal as exc:
        raise _problem(name, exc) from exc
    if not tags:
        raise NotFound(f"{name.familiar_name} has no tags; give a digest to pull by")
    return tags


def _problem(name: Reference, refusal: Refusal) -> EngineError:
    """In Docker's words."""
    if refusal.is_denied:
        return NotFound(
            f"pull access denied for {name.familiar_name}, repository does not exist or may require "
            f"'docker login': {refusal}"
        )
    if refusal.is_missing:
        return NotFound(f"manifest for {name.familiar} not found: {refusal}")
    return refusal.as_engine_error(f"pulling {name.familiar}")
