"""`POST /build?remote=`: a context that the engine fetches. Source: Engine API, ImageBuild, `remote`."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from wherryd.builder import context, download
from wherryd.builder.git import address
from wherryd.builder.git.process import archive
from wherryd.errors import InvalidParameter
from wherryd.images.unpack.reader import COMPRESSED

_HEAD_BYTES = 512
_CHUNK_BYTES = 1024 * 1024
#: Where the magic of a tar header lies.
_MAGIC = slice(257, 262)


async def receive(url: str, scratch: Path, folder: Path, *, keep_git_dir: bool = False) -> bool:
    """The context's files into folder. True: the URL was of a Dockerfile alone, now folder/Dockerfile.

    url: of a git repository, an archive, compressed or not, or a Dockerfile. scratch: for what is fetched.
    Raises InvalidParameter.
    """
    if url.startswith("github.com/"):
        url = f"https://{url}"
    if address.is_git(url) or url.startswith("https://github.com/"):
        async with aclosing(archive(address.parse(url, keep_git_dir=keep_git_dir), scratch)) as stream:
            await context.receive(stream, folder)
        return False
    if not url.startswith(download.SCHEMES):
        raise InvalidParameter(f"remote {url}: neither a git repository nor http(s)")
    found = scratch / "remote" / (await download.download(url, scratch / "remote", 0, "", "Dockerfile")).path
    with found.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(COMPRESSED) or head[_MAGIC] == b"ustar":
        await context.receive(_chunks(found), folder)
        await asyncio.to_thread(found.unlink)
        return False
    await asyncio.to_thread(shutil.move, found, folder / "Dockerfile")
    return True


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while data := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield data
