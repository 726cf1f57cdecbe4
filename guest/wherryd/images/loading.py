"""`load`: images out of a saved archive.

The archive is put on disk first, since its table of contents may stand at its end, in a nameless file
that goes with the process. Layers are then unpacked straight from there, several at once where a driver
keeps each in a directory of its own.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import BinaryIO

from wherryd.content import digest as digests
from wherryd.content.store import ContentStore
from wherryd.errors import InvalidParameter
from wherryd.images import imageconfig, platforms
from wherryd.images import reference as references
from wherryd.images.archive import SavedArchive
from wherryd.images.catalog import ImageCatalog
from wherryd.images.image import Platform, Progress, Publish
from wherryd.images.imageconfig import ImageConfig
from wherryd.images.indexes import NewIndex
from wherryd.images.layers import LayerStore, chain_ids
from wherryd.images.layout import SavedImage
from wherryd.images.origins import Origins
from wherryd.images.progress import bar
from wherryd.images.together import Report, reported, taken, together
from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.order import Limits
from wherryd.images.unpack.reader import CHUNK_BYTES, is_compressed, open_stream

_BYTES_BETWEEN_LINES = 8 * 1024 * 1024


@dataclass(slots=True)
class _Step:
    """One layer of one image. below, done: set when the layers up to there are committed."""

    member: str
    diff_id: str
    chain: str
    parent: str
    pins: set[str]
    report: Report
    below: asyncio.Event
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Loader:
    def __init__(
        self,
        catalog: ImageCatalog,
        layers: LayerStore,
        content: ContentStore,
        origins: Origins,
        publish: Publish,
    ) -> None:
        self._catalog = catalog
        self._layers = layers
        self._content = content
        self._origins = origins
        self._publish = publish
        # One unpacker keeps one processor busy; over all loads.
        self._slots = asyncio.Semaphore(max(2, os.cpu_count() or 1))

    async def load(
        self, stream: AsyncIterator[bytes], quiet: bool, platform: str = ""
    ) -> AsyncGenerator[Progress, None]:
        """Progress lines. platform: the one to take of a multi-platform archive; "" is all that it has.

        Raises InvalidParameter, NotFound, before the first line when the archive is no archive.
        """
        wanted = platforms.parse(platform)
        with self._content.scratch() as staged, self._content.scratch() as plain:
            await _stage(stream, staged)
            file = staged
            if await asyncio.to_thread(is_compressed, staged.fileno()):
                await asyncio.to_thread(_decompress, staged, plain)
                file = plain
            archive = await asyncio.to_thread(SavedArchive, file)
            told: set[str] = set()
            for saved in await asyncio.to_thread(archive.images, wanted, explicit=bool(platform)):
                only = wanted if platform else None
                async with aclosing(self._load_image(archive, saved, only, told)) as lines:
                    async for line in lines:
                        if not quiet or "stream" in line:
                            yield line

    async def _load_image(
        self, archive: SavedArchive, saved: SavedImage, wanted: Platform | None, told: set[str]
    ) -> AsyncGenerator[Progress, None]:
        """told: names that were said to be loaded, which of an index is once for all its images."""
        config = imageconfig.parse(saved.config, len(saved.layers), "save the image again")
        if wanted is not None:
            platforms.check(config.document, wanted, (saved.names or ("the archive's image",))[0])
        names = [references.parse(name).with_default_tag() for name in saved.names]
        with self._layers.pinned() as pins:

            async def work(report: Report) -> None:
                await self._load_layers(archive, saved.layers, config, pins, report)

            async with aclosing(reported(work)) as lines:
                async for line in lines:
                    yield line
            chains = chain_ids(config.diff_ids)
            size = sum(self._layers.get(chain).size_bytes for chain in chains)
            image_id = self._catalog.add(
                saved.config, top_layer=chains[-1] if chains else "", size_bytes=size
            )
            if saved.manifest is not None and saved.index is not None:
                self._origins.saw_manifest(image_id, saved.manifest)
            index = NewIndex(saved.index, saved.documents) if saved.index else None
            for name in names:
                before = self._catalog.lookup(name)
                known = self._catalog.stands_for(name, image_id, index.raw.digest if index else "")
                if before is not None and not known:
                    yield {
                        "stream": f"The image {name.familiar} already exists, renaming the old one with ID "
                        f"{before} to empty string\n"
                    }
                self._catalog.tag(name, image_id, index)
        self._publish("image", "load", image_id, {**config.labels, "name": image_id})
        for name in names:
            if not (saved.index and name.familiar in told):
                yield {"stream": f"Loaded image: {name.familiar}\n"}
            told.add(name.familiar)
        if not names:
            yield {"stream": f"Loaded image ID: {image_id}\n"}

    async def _load_layers(
        self,
        archive: SavedArchive,
        members: Sequence[str],
        config: ImageConfig,
        pins: set[str],
        report: Report,
    ) -> None:
        steps: list[_Step] = []
        below, parent = asyncio.Event(), ""
        below.set()
        for member, diff_id, chain in zip(members, config.diff_ids, chain_ids(config.diff_ids), strict=True):
            step = _Step(member, diff_id, chain, parent, pins, report, below)
            below, parent = step.done, chain
            steps.append(step)
        await together(self._layer(archive, step) for step in steps)

    async def _layer(self, archive: SavedArchive, step: _Step) -> None:
        # Two loads, or a load and a pull, that share a layer unpack it once.
        async with self._layers.turns.turn(step.chain):
            if not await self._layers.reuse(step.chain, step.pins):
                if not self._layers.independent:
                    await step.below.wait()
                await self._unpack(archive, step)
        step.done.set()

    async def _unpack(self, archive: SavedArchive, step: _Step) -> None:
        async with AsyncExitStack() as stack:
            # Only for the work itself: who waits for the layers below must not keep them from it.
            slot = await stack.enter_async_context(taken(self._slots))
            job = await stack.enter_async_context(self._layers.unpacking(step.parent, step.pins))
            total, sent, shown = archive.size(step.member), 0, 0
            while data := await asyncio.to_thread(archive.piece, step.member, sent):
                await job.feed(data)
                sent += len(data)
                if sent - shown >= _BYTES_BETWEEN_LINES or sent == total:
                    shown = sent
                    step.report(bar("Loading layer", sent, total, digests.short(step.diff_id)))
            await job.finish()
            slot.release()
            await step.below.wait()
            await job.commit(step.diff_id)


async def _stage(stream: AsyncIterator[bytes], file: BinaryIO) -> None:
    waiting = bytearray()
    async for data in stream:
        waiting += data
        if len(waiting) >= CHUNK_BYTES:
            await asyncio.to_thread(file.write, bytes(waiting))
            waiting.clear()
    file.write(waiting)
    file.flush()
    if not file.tell():
        raise InvalidParameter("the archive is empty; send what `save` wrote")
    file.seek(0)


def _decompress(compressed: BinaryIO, plain: BinaryIO) -> None:
    limit = Limits().bytes
    try:
        stream = open_stream(compressed.fileno())
        while data := stream.read(CHUNK_BYTES):
            plain.write(data)
            if plain.tell() > limit:
                raise InvalidParameter(f"the archive has more than {limit} bytes, which is the limit")
        plain.flush()
    except ArchiveError as exc:
        raise InvalidParameter(str(exc)) from exc
