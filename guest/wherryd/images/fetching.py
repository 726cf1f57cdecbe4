"""`import` of a URL: the archive as it comes over the network.

Source: Engine API, POST /images/create?fromSrc=URL.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from wherryd.errors import InvalidParameter, NotFound, Unavailable
from wherryd.registry.transport import proxy_for, shown
from wherrywire import __version__

_SECONDS_OF_SILENCE = 60
_MAX_REDIRECTS = 10
_CHUNK_BYTES = 1024 * 1024


def url_of(source: str) -> str:
    """As Docker reads it: without a scheme it is http. Raises InvalidParameter."""
    url = source if "://" in source else f"http://{source}"
    try:
        parsed = URL(url)
    except ValueError as exc:
        raise InvalidParameter(f'cannot import from "{source}": {exc}') from exc
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidParameter(
            f'cannot import from "{source}": only http and https URLs; send a file with fromSrc=-'
        )
    return url


@asynccontextmanager
async def fetched(url: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """The body, whose status was looked at already. Raises NotFound, Unavailable, InvalidParameter; the
    iterator raises Unavailable when the connection breaks."""
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
            yield _pieces(answer, url)


async def _pieces(answer: aiohttp.ClientResponse, url: str) -> AsyncIterator[bytes]:
    try:
        async for data in answer.content.iter_chunked(_CHUNK_BYTES):
            yield data
    except (aiohttp.ClientError, TimeoutError) as exc:
        raise Unavailable(f"{shown('GET', url)}: the download broke off: {exc}; try again") from exc
