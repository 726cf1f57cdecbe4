"""`insert`: a file from the network as a new layer on an image.

Source: Docker Remote API 1.11, `POST /images/(name)/insert`, the last that had it, and `docker insert IMAGE
URL PATH` of that time. The file is put into place by the child that carries out COPY, so a link of the image
leads nowhere but into the image.
"""

import asyncio
import os
import posixpath
import re
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from wherryd.builder.copying.order import CopyOrder, Part
from wherryd.builder.copying.process import Copiers
from wherryd.builder.download import seconds_of
from wherryd.errors import InvalidParameter
from wherryd.images import document, fetching
from wherryd.images.image import Image, Progress
from wherryd.images.layers import Layer
from wherryd.images.progress import bar
from wherryd.images.service import ImageService

_SECONDS_BETWEEN_LINES = 0.1
#: What a program of an image may read, and only its owner write: as Docker's insert left it.
_MODE = "644"


async def insert(
    copiers: Copiers, images: ImageService, image: Image, url: str, path: str, folder: Path
) -> AsyncGenerator[Progress, None]:
    """Progress lines, the last one {"status": new image's id}; it has no name.

    path: of the file in the image; below it, under the URL's own name, when it is a folder there or ends
    in "/". folder: empty, of this insertion alone, removed by the caller.
    Raises before the first line InvalidParameter, NotFound (no such file), Unavailable; later SystemFault.
    """
    url = fetching.url_of(url, "insert", "")
    name = _file_name(url)
    destination = _destination(path, name)
    source = folder / "file"
    source.mkdir(parents=True)
    async with fetching.fetched(url) as found, aclosing(_store(found, source / name)) as lines:
        async for line in lines:
            yield line
    with images.pinned() as pins:
        layer = await _layer(copiers, images, image, folder, name, destination, pins)
        yield {"status": _add(images, image, layer, f"insert {_public(url)} {destination}").id}


def _file_name(url: str) -> str:
    """One that a path in the image may end in; "file" where the URL has none: PATH may name it."""
    name = posixpath.basename(unquote(urlsplit(url).path)).replace("\0", "")
    return name if name not in ("", ".", "..") and len(os.fsencode(name)) <= 255 else "file"


def _destination(path: str, name: str) -> str:
    """Absolute and clean; still with its "/" at the end. Raises InvalidParameter."""
    if not path.strip("/") and not path.endswith("/"):
        raise InvalidParameter("path is missing; say where in the image the file goes")
    if "\0" in path:
        raise InvalidParameter("path: a name has no zero byte")
    clean = "/" + posixpath.normpath(f"/{path}").lstrip("/")
    into_folder = path.endswith("/") or posixpath.basename(path) in (".", "..")
    if into_folder and name == "file":
        raise InvalidParameter(f"{path} is a folder and the URL ends in no file's name; give the whole path")
    return clean.rstrip("/") + "/" if into_folder else clean


async def _store(found: fetching.Fetched, target: Path) -> AsyncGenerator[Progress, None]:
    received, last_line = 0, time.monotonic()
    yield {"status": "Inserting", "progressDetail": {}}
    with target.open("xb") as file:
        async for data in found.pieces:
            await asyncio.to_thread(file.write, data)
            received += len(data)
            if time.monotonic() - last_line > _SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                yield bar("Inserting", received, found.size_bytes)
    yield bar("Inserting", received, found.size_bytes)
    # The file's time is the server's, or 1970: the same file makes the same layer.
    when = seconds_of(found.modified)
    os.utime(target, (when, when))


async def _layer(
    copiers: Copiers,
    images: ImageService,
    image: Image,
    folder: Path,
    name: str,
    destination: str,
    pins: set[str],
) -> Layer | None:
    key = f"insert-{secrets.token_hex(8)}"
    mount_point = folder / "root"
    mount_point.mkdir()
    async with AsyncExitStack() as undo:
        root = await images.prepare_rootfs(key, image)
        undo.push_async_callback(images.remove_rootfs, key)
        await copiers.carry_out(
            CopyOrder(
                mount_point=str(mount_point),
                root=root,
                # A name is a pattern to COPY.
                parts=(Part(directory=str(folder / "file"), patterns=(_as_pattern(name),)),),
                destination=destination,
                chmod=_MODE,
                keyword="insert",
            )
        )
        layer = await images.commit_rootfs(key, pins)
    return layer  # noqa: RET504 - the stack could swallow an error, as far as the type checker knows


def _as_pattern(name: str) -> str:
    return re.sub(r"([*?\[\]\\])", r"\\\1", name)


def _add(images: ImageService, image: Image, layer: Layer | None, created_by: str) -> Image:
    made: dict[str, Any] = document.document(
        image,
        made_for=document.platform_of(image, ""),
        config=image.runtime_config,
        created_at=document.created(None),
        created_by=created_by,
        author="",
        diff_id=layer.diff_id if layer else None,
    )
    return images.add(made, layer=layer, parent=image)


def _public(url: str) -> str:
    """For the history, which everybody can read: without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
