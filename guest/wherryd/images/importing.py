"""`import`: a root file system's archive becomes an image of one layer.

Source: Engine API, POST /images/create?fromSrc=-; the config document: OCI image-spec, config.md.
"""

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from wherryd import clock, later
from wherryd.images import changes as instructions
from wherryd.images import platforms
from wherryd.images.catalog import ImageCatalog
from wherryd.images.image import Platform, Progress, Publish
from wherryd.images.layers import Layer, LayerStore
from wherryd.images.progress import bar
from wherryd.images.reference import Reference

if TYPE_CHECKING:
    from wherryd.images import fetching
else:
    fetching = later.module("wherryd.images.fetching")

_SECONDS_BETWEEN_LINES = 0.5


async def import_tar(
    source: AsyncIterator[bytes] | str,
    *,
    catalog: ImageCatalog,
    layers: LayerStore,
    publish: Publish,
    reference: Reference | None,
    message: str,
    changes: Sequence[str],
    platform: str,
) -> AsyncIterator[Progress]:
    """Progress lines, the last one with the image's id. Raises before the first line what it can see then.

    source: the archive, or a URL.
    """
    config = instructions.apply(changes)
    made_for = platforms.parse(platform)
    received, last_line = 0, time.monotonic()
    origin = fetching.url_of(source) if isinstance(source, str) else "-"
    with layers.pinned() as pins:
        async with AsyncExitStack() as stack:
            if isinstance(source, str):
                stream = (await stack.enter_async_context(fetching.fetched(origin))).pieces
            else:
                stream = source
            job = await stack.enter_async_context(layers.unpacking("", pins))
            async for data in stream:
                await job.feed(data)
                received += len(data)
                if time.monotonic() - last_line > _SECONDS_BETWEEN_LINES:
                    last_line = time.monotonic()
                    yield bar("Importing", received)
            layer = await job.commit()
        document = _document(layer, config, made_for, message or f"Imported from {origin}")
        image_id = catalog.add(document, top_layer=layer.chain_id, size_bytes=layer.size_bytes)
        if reference is not None:
            catalog.tag(reference, image_id)
    name = reference.familiar if reference else image_id
    publish("image", "import", image_id, {**config.get("Labels", {}), "name": name})
    if reference is not None:
        publish("image", "tag", image_id, {**config.get("Labels", {}), "name": name})
    yield {"status": image_id}


def _document(layer: Layer, config: dict[str, Any], made_for: Platform, message: str) -> bytes:
    created = clock.now()
    document: dict[str, Any] = {
        "architecture": made_for.architecture,
        "comment": message,
        "config": config,
        "created": created,
        "history": [{"created": created, "comment": message}],
        "os": made_for.os,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    }
    if made_for.variant:
        document["variant"] = made_for.variant
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
