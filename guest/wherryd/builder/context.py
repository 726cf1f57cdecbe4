"""The build context: unpacked by the confined child while it arrives, then read below its root only."""

import asyncio
import errno
import os
import posixpath
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from tarfile import BLOCKSIZE

from wherryd.errors import InvalidParameter, KernelFault
from wherryd.images.unpack.process import Unpacking
from wherryd.images.unpack.reader import COMPRESSED
from wherryd.snapshots.protocol import UnpackTarget, Whiteouts
from wherryd.sys import paths
from wherrywire import dockerignore

MAX_DOCKERFILE_BYTES = 4 * 1024 * 1024
_IGNORE = ".dockerignore"


async def receive(stream: AsyncIterator[bytes], folder: Path) -> None:
    """The archive's files into folder. Raises InvalidParameter for what is no archive, SystemFault.

    It returns, and raises, as soon as no more is needed: a client may be at its upload still, and wait for
    words of the build.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        unpacking = await Unpacking.start(UnpackTarget(folder, Whiteouts.APPLY), nowhere)
    finally:
        os.close(nowhere)
    try:
        length, head = 0, b""
        async with aclosing(_until(unpacking.ended, stream)) as blocks:
            async for data in blocks:
                length, head = length + len(data), (head + data)[:6] if len(head) < 6 else head
                await unpacking.feed(data)
        if head and not head.startswith(COMPRESSED) and not unpacking.ended.is_set():
            # docker's own client ends an archive without padding and end mark when it was given -f -.
            await unpacking.feed(bytes(-length % BLOCKSIZE + 2 * BLOCKSIZE))
        await unpacking.finish()
    finally:
        await unpacking.abort()


async def _until(ended: asyncio.Event, stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The stream's blocks up to its end or the event."""
    over = asyncio.ensure_future(ended.wait())
    try:
        while not over.done():
            step = asyncio.ensure_future(anext(stream, None))
            try:
                await asyncio.wait({step, over}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                step.cancel()  # nothing happens to one that is done
            data = (await asyncio.gather(step, return_exceptions=True))[0]
            if isinstance(data, asyncio.CancelledError) or data is None:
                return
            if isinstance(data, BaseException):
                raise data
            yield data
    finally:
        over.cancel()


def names_of(name: str) -> tuple[str, ...]:
    """What `take_dockerfile` may look at."""
    path = _path(name)
    files = (path, "dockerfile") if path == "Dockerfile" else (path,)
    return (*files, *(f"{each}{_IGNORE}" for each in files), _IGNORE)


def _path(name: str) -> str:
    return posixpath.normpath(name.lstrip("/") or "Dockerfile")


def take_dockerfile(folder: Path, name: str) -> tuple[bytes, list[str]]:
    """The Dockerfile's bytes. What `.dockerignore` excludes of it and of itself then leaves the context, as
    clients send both in any case: those paths. Raises InvalidParameter."""
    path = _path(name)
    if path == ".." or path.startswith("../"):
        raise InvalidParameter(f"Forbidden path outside the build context: {name} ()")
    root = paths.open_root(str(folder))
    try:
        data = paths.read_small_file(root, path, limit_bytes=MAX_DOCKERFILE_BYTES)
        if data is None and path == "Dockerfile":
            path = "dockerfile"
            data = paths.read_small_file(root, path, limit_bytes=MAX_DOCKERFILE_BYTES)
        if data is None:
            raise InvalidParameter(f"Cannot locate specified Dockerfile: {name} (hint: name it with -f)")
        if not data:
            raise InvalidParameter(f"The Dockerfile ({name}) cannot be empty")
        return data, _apply_ignore_file(root, path)
    finally:
        os.close(root)


def _apply_ignore_file(root: int, dockerfile: str) -> list[str]:
    for ignore in (f"{dockerfile}{_IGNORE}", _IGNORE):
        data = paths.read_small_file(root, ignore, limit_bytes=MAX_DOCKERFILE_BYTES)
        if data is None:
            continue
        try:
            matcher = dockerignore.Matcher(dockerignore.read(data))
        except dockerignore.BadPattern as exc:
            raise InvalidParameter(f"error reading {ignore}: {exc}") from exc
        gone = [each for each in (dockerfile, ignore) if matcher.excludes(each)]
        for each in gone:
            _unlink(root, each)
        return gone
    return []


def _unlink(root: int, path: str) -> None:
    folder, name = posixpath.split(path)
    try:
        with paths.opened(root, folder) as fd:
            os.unlink(name, dir_fd=fd)  # noqa: PTH108 - relative to a descriptor
    except FileNotFoundError:
        return
    except KernelFault as exc:
        if exc.errno != errno.ENOENT:
            raise
