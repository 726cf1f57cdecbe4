"""ADD of a URL: a file from the network, in a folder of the build's own.

Source: Dockerfile reference, "ADD": mode 0600, the time of Last-Modified, a name from the URL.
"""

import asyncio
import hashlib
import os
import posixpath
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from wherryd import later
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter

if TYPE_CHECKING:
    import aiohttp
else:
    aiohttp = later.module("aiohttp")  # a build without downloads does without it

SCHEMES = ("http://", "https://")
#: A silent server is given up after this; a slow one is not.
_SECONDS_OF_SILENCE = 60
_CHUNK_BYTES = 1024 * 1024
_MAX_BYTES = 64 * 1024**3
_MAX_REDIRECTS = 10


@dataclass(frozen=True, slots=True)
class Downloaded:
    """path: below the folder, "<number>/<name>"."""

    path: str
    digest: str


async def download(url: str, folder: Path, number: int, checksum: str, name: str = "") -> Downloaded:
    """checksum: "sha256:<hex>" the file must have, or "". name: instead of the one in the URL.

    Raises DockerfileError, InvalidParameter.
    """
    if checksum and not digests.is_digest(checksum):
        raise DockerfileError(
            f'invalid checksum "{checksum}"', "--checksum=sha256: and 64 hexadecimal digits"
        )
    name = name or posixpath.basename(unquote(urlsplit(url).path))
    if name in ("", ".", ".."):
        raise DockerfileError(
            f"cannot determine filename for source {url}", "give a URL that ends in a file's name"
        )
    target = folder / str(number) / name.replace("\0", "")
    target.parent.mkdir(parents=True)
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=_SECONDS_OF_SILENCE, sock_read=_SECONDS_OF_SILENCE
    )
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False, trust_env=True) as session,
            session.get(url, max_redirects=_MAX_REDIRECTS) as answer,
        ):
            if answer.status != 200:
                raise InvalidParameter(f"{url}: the server answers {answer.status} {answer.reason}")
            digest = await _store(answer.content, target)
            modified = answer.headers.get("Last-Modified", "")
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        raise InvalidParameter(f"cannot download {url}: {exc or type(exc).__name__}") from exc
    if checksum and digest != checksum:
        raise InvalidParameter(f"{url} has digest {digest}, expected {checksum}")
    when = seconds_of(modified)
    target.chmod(0o600)
    os.utime(target, (when, when))
    return Downloaded(f"{number}/{target.name}", digest)


async def _store(content: "aiohttp.StreamReader", target: Path) -> str:
    found, length = hashlib.sha256(), 0
    with target.open("xb") as file:
        async for data in content.iter_chunked(_CHUNK_BYTES):
            length += len(data)
            if length > _MAX_BYTES:
                raise InvalidParameter(f"the download has more than {_MAX_BYTES} bytes")
            found.update(data)
            await asyncio.to_thread(file.write, data)
    return "sha256:" + found.hexdigest()


def seconds_of(modified: str) -> int:
    """Of a Last-Modified header; 0 for none, and for one that nobody can read."""
    try:
        return max(0, int(parsedate_to_datetime(modified).timestamp()))
    except (ValueError, OverflowError):
        return 0
