"""--squash: the layers above the base become one; the image is otherwise the same.

Source: docker build reference (classic), "--squash": the history keeps every step, each without a layer, and
ends with an entry that says what was merged.
"""

import asyncio
import secrets
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from wherryd.builder import cache as caching
from wherryd.builder.copying import merging
from wherryd.builder.copying.order import CopyOrder
from wherryd.builder.stage import Tools
from wherryd.errors import NotFound
from wherryd.images import document
from wherryd.images.image import Image
from wherryd.images.layers import BUILDING, VIEWING, Layer


async def squash(tools: Tools, image: Image, base: Image | None) -> Image:
    """base: what the image's last stage stands on, None on scratch. Raises SystemFault."""
    key = caching.key(image.id, {"op": "squash", "base": base.id if base else "", "epoch": tools.epoch})
    if not tools.options.no_cache and (known := tools.cache.find(key)):
        tools.used.append(key)
        try:
            return tools.images.resolve(known)
        except NotFound:
            tools.cache.forget(known)
    layer = await _merged(tools, image, base)
    made = tools.images.add(_document(tools, image, base, layer), layer=layer, parent=base)
    tools.held.add(made.id)
    tools.cache.store(key, made.id)
    return made


async def _merged(tools: Tools, image: Image, base: Image | None) -> Layer | None:
    number = secrets.token_hex(8)
    key, view = f"{BUILDING}{number}", f"{VIEWING}{number}"
    names = await asyncio.to_thread(tools.images.changed_paths, image, base)
    listed = tools.folder / f"merge-{number}"
    await asyncio.to_thread(listed.write_bytes, merging.write_list(names))
    mount_point = tools.folder / "root"
    mount_point.mkdir(exist_ok=True)
    async with AsyncExitStack() as undo:
        await undo.enter_async_context(tools.slots)
        root = await tools.images.prepare_rootfs(key, base)
        undo.push_async_callback(tools.images.remove_rootfs, key)
        source = await tools.images.view_rootfs(view, image)
        undo.push_async_callback(tools.images.remove_rootfs, view)
        await tools.copiers.carry_out(
            CopyOrder(
                mount_point=str(mount_point),
                root=root,
                source_mounts=source,
                destination="/",
                keep_owner=True,
                keyword="squash",
                merge=str(listed),
            )
        )
        layer = await tools.images.commit_rootfs(key, tools.pins, newest_seconds=tools.epoch)
    return layer  # noqa: RET504 - the stack could swallow an error, as far as the type checker knows


def _document(tools: Tools, image: Image, base: Image | None, layer: Layer | None) -> dict[str, Any]:
    old = document.history_of(base)
    steps = [{**entry, "empty_layer": True} for entry in document.history_of(image)[len(old) :]]
    # The last entry is ours; those of the steps stand below it.
    below = replace(base, config={**base.config, "history": [*old, *steps]}) if base else None
    made = document.document(
        below,
        made_for=document.platform_of(image, ""),
        config=image.runtime_config,
        created_at=document.created(tools.epoch),
        created_by="",
        author=str(image.config.get("author") or ""),
        diff_id=layer.diff_id if layer else None,
        comment=f"merge {image.id} to {base.id}" if base else f"create new from {image.id}",
    )
    if base is None:
        made["history"] = [*steps, *made["history"]]
    return made
