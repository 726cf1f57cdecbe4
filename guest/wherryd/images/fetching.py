"""`import` and `insert` of a URL: the file as it comes over the network.

Source: Engine API, POST /images/create?fromSrc=URL.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from wherryd.errors import InvalidParameter, NotFound, Unavailable
from wherryd.registry.transport import proxy_for, shown
from wherrywire import __version__

_SECONDS_OF_SILENCE = 60
_MAX_REDIRECTS = 10
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Fetched:
    """size_bytes: 0 when the server does not say. modified: its Last-Modified, or ""."""

    pieces: AsyncIterator[bytes]
    size_bytes: int
    modified: str


def url_of(source: str, what: str = "import from", advice: str = "; send a file with fromSrc=-") -> str:
    """As Docker reads it: without a scheme it is http. Raises InvalidParameter, in words for what is done."""
    url = source if "://" in source else f"http://{source}"
    try:
        parsed = URL(url)
    except ValueError as exc:
        raise InvalidParameter(f'cannot {what} "{source}": {exc}') from exc
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidParameter(f'cannot {what} "{source}": only http and https URLs{advice}')
    return url


@asynccontextmanager
async def fetched(url: str) -> AsyncIterator[Fetched]:
    """The body, whose status was looked at already. Raises NotFound, Unavailable, InvalidParameter; its
    pieces raise Unavailable when the connection breaks."""
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=_SECONDS_OF_SILENCE, sock_read=_SECONDS_OF_SILENCE
    )
    headers = {"User-Agent": f"wherry/{__version__}", "Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False, headers=headers) as session:
        try:
            answer = await session.get(url, max_redirects=_MAX_REDIRECTS, proxy=proxy_for(URL(url)))
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise Unavailable(f"{shown('GET', url)}: {exc or type(exc).__name__}; check the address") from exc
        async with answer:
            if answer.status == 404:
                raise NotFound(f"{shown('GET', url)}: the server has no such file (404)")
            if answer.status != 200:
                raise Unavailable(f"{shown('GET', url)}: the server answers {answer.status} {answer.reason}")
            yield Fetched(
                _pieces(answer, url), answer.content_length or 0, answer.headers.get("Last-Modified", "")
            )


async def _pieces(answer: aiohttp.ClientResponse, url: str) -> AsyncIterator[bytes]:
    try:
        async for data in answer.content.iter_chunked(_CHUNK_BYTES):
            yield data
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise Unavailable(f"{shown('GET', url)}: the download broke off: {exc}; try again") from exc
