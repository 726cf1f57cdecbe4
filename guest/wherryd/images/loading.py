"""`load`: images out of a saved archive.

The archive is put on disk first, since its table of contents may stand at its end, in a nameless file
that goes with the process. Layers are then unpacked straight from there.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import BinaryIO

from wherryd.content import digest as digests
from wherryd.content.store import ContentStore
from wherryd.errors import InvalidParameter
from wherryd.images import imageconfig
from wherryd.images import reference as references
from wherryd.images.archive import SavedArchive, SavedImage
from wherryd.images.catalog import ImageCatalog
from wherryd.images.image import Progress, Publish
from wherryd.images.layers import LayerStore, chain_id
from wherryd.images.progress import bar
from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.extract import Limits
from wherryd.images.unpack.reader import CHUNK_BYTES, is_compressed, open_stream

_BYTES_BETWEEN_LINES = 8 * 1024 * 1024


class Loader:
    def __init__(
        self, catalog: ImageCatalog, layers: LayerStore, content: ContentStore, publish: Publish
    ) -> None:
        self._catalog = catalog
        self._layers = layers
        self._content = content
        self._publish = publish

    async def load(self, stream: AsyncIterator[bytes], quiet: bool) -> AsyncIterator[Progress]:
        """Progress lines. Raises InvalidParameter, before the first line when the archive is no archive."""
        with self._content.scratch() as staged, self._content.scratch() as plain:
            await _stage(stream, staged)
            file = staged
            if await asyncio.to_thread(is_compressed, staged.fileno()):
                await asyncio.to_thread(_decompress, staged, plain)
                file = plain
            archive = await asyncio.to_thread(SavedArchive, file)
            for saved in archive.images():
                async for line in self._load_image(archive, saved):
                    if not quiet or "stream" in line:
                        yield line

    async def _load_image(self, archive: SavedArchive, saved: SavedImage) -> AsyncIterator[Progress]:
        config = imageconfig.parse(saved.config, len(saved.layers), "save the image again")
        names = [references.parse(name).with_default_tag() for name in saved.names]
        parent, size = "", 0
        with self._layers.pinned() as pins:
            for member, diff_id in zip(saved.layers, config.diff_ids, strict=True):
                chain = chain_id(parent, diff_id)
                if not await self._layers.reuse(chain, pins):
                    async with self._layers.unpacking(parent, pins) as job:
                        total, sent, shown = archive.size(member), 0, 0
                        for data in archive.chunks(member):
                            await job.feed(data)
                            sent += len(data)
                            if sent - shown >= _BYTES_BETWEEN_LINES or sent == total:
                                shown = sent
                                yield bar("Loading layer", sent, total, digests.short(diff_id))
                        await job.commit(diff_id)
                size += self._layers.get(chain).size_bytes
                parent = chain
            image_id = self._catalog.add(saved.config, top_layer=parent, size_bytes=size)
            for name in names:
                before = self._catalog.lookup(name)
                if before not in (None, image_id):
                    yield {
                        "stream": f"The image {name.familiar} already exists, renaming the old one with ID "
                        f"{before} to empty string\n"
                    }
                self._catalog.tag(name, image_id)
        self._publish("image", "load", image_id, {**config.labels, "name": image_id})
        for name in names:
            yield {"stream": f"Loaded image: {name.familiar}\n"}
        if not names:
            yield {"stream": f"Loaded image ID: {image_id}\n"}


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
    except ArchiveError as exc:
        raise InvalidParameter(str(exc)) from exc
