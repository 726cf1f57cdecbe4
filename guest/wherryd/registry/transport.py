"""HTTP to registries: one session, redirects followed by hand, retries with back-off.

Redirects are followed here and not by aiohttp because a redirect leads to another host as a rule (a
registry's storage), which must never see the user's credentials; and never from HTTPS to HTTP.
"""

import asyncio
import logging
import os
import random
import ssl
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from wherryd.errors import Unavailable
from wherryd.registry import refusals
from wherryd.registry.hosts import Endpoint, Hosts
from wherryd.registry.refusals import Refusal
from wherrywire import __version__

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
_MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_ERROR_BYTES = 64 * 1024
_CONNECT_SECONDS = 30.0
#: Between two reads. A registry that copies a large blob inside its storage is silent for a while.
_SILENCE_SECONDS = 120.0
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """attempts: all of them. Waits first_seconds, then twice as long each time, at most max_seconds, with a
    random quarter off so that parallel downloads do not come back together. Retry-After wins if longer."""

    attempts: int = 5
    first_seconds: float = 0.5
    max_seconds: float = 10.0
    max_retry_after_seconds: float = 60.0

    def pause(self, failures: int, retry_after: float) -> float:
        """Seconds to wait after so many failures (from 1)."""
        backoff = min(self.max_seconds, self.first_seconds * 2.0 ** (failures - 1))
        wait = backoff * random.uniform(0.75, 1)  # noqa: S311 - no secret
        return max(wait, min(retry_after, self.max_retry_after_seconds))


class Interrupted(Exception):  # noqa: N818 - named for what happened
    """Worth another try: the connection broke, or the registry asks to come back later."""

    def __init__(self, message: str, *, refused: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.refused = refused
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Answer:
    """A small answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Transport:
    """Owns the session; `close` may come twice."""

    def __init__(self, hosts: Hosts, retries: Retries | None = None) -> None:
        self._hosts = hosts
        self.retries = retries or Retries()
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        # Made at the first use: a session belongs to a running loop.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,  # digests are of the bytes as they lie in the registry
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=16),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS
                ),
                headers={"User-Agent": f"wherry/{__version__}"},
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def stream(
        self,
        endpoint: Endpoint,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request to its last redirect; the body is the caller's to read, errors included.

        url: absolute, its escapes left alone. Raises Interrupted for broken connections, also from within
        the `async with`, and Unavailable for what trying again does not mend.
        """
        what = shown(method, url)
        try:
            response = await self._follow(endpoint, method, URL(url, encoded=True), dict(headers or {}), data)
            async with response:
                yield response
        except aiohttp.ClientSSLError as exc:
            raise Unavailable(f"{what}: {_tls_problem(exc, endpoint)}") from exc
        except ssl.SSLError as exc:
            raise Interrupted(f"{what}: the connection broke: {exc}") from exc
        except aiohttp.ClientConnectorDNSError as exc:
            raise Interrupted(f"{what}: no such host; check the name and the network", refused=True) from exc
        except aiohttp.ClientConnectorError as exc:
            number = exc.os_error.errno
            reason = os.strerror(number) if number else str(exc.os_error)
            raise Interrupted(f"{what}: {reason}; is the registry running there?", refused=True) from exc
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError) as exc:
            raise Interrupted(f"{what}: the connection broke: {exc}") from exc
        except TimeoutError as exc:
            raise Interrupted(f"{what}: no answer for {_SILENCE_SECONDS:.0f} s") from exc
        except aiohttp.ClientError as exc:
            raise Interrupted(f"{what}: {exc}") from exc

    async def _follow(
        self, endpoint: Endpoint, method: str, url: URL, headers: dict[str, str], data: Any
    ) -> aiohttp.ClientResponse:
        for _ in range(_MAX_REDIRECTS):
            response = await self._open().request(
                method,
                url,
                headers=headers,
                data=data,
                allow_redirects=False,
                ssl=self._tls(endpoint, url),
                proxy=proxy_for(url),
            )
            location = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or method not in ("GET", "HEAD") or not location:
                return response
            response.release()
            target = _target(url, location)
            if target is None:
                raise Unavailable(f"{shown(method, str(url))}: the registry points to what is no address")
            if target.scheme not in ("http", "https") or (url.scheme, target.scheme) == ("https", "http"):
                raise Unavailable(
                    f"{shown(method, str(url))}: the registry points to {shown('', str(target)).strip()}, "
                    "which is less safe than itself; tell its administrator"
                )
            if target.origin() != url.origin():
                headers.pop("Authorization", None)
            url = target
        raise Unavailable(f"{shown(method, str(url))}: more than {_MAX_REDIRECTS} redirects")

    def _tls(self, endpoint: Endpoint, url: URL) -> ssl.SSLContext:
        """An unverified certificate is accepted from an insecure registry, not from where it points."""
        host = url.raw_authority.rpartition("@")[2]
        return self._hosts.tls(endpoint if host == endpoint.host else Endpoint(f"https://{host}"))

    async def fetch(
        self,
        endpoint: Endpoint,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        max_bytes: int = MAX_DOCUMENT_BYTES,
    ) -> Answer:
        """The answer whole, whatever its status; 429 and 5xx raise Interrupted.

        Raises Interrupted, Unavailable (also for a body larger than max_bytes).
        """
        async with self.stream(endpoint, method, url, headers=headers, data=data) as response:
            if response.status >= 400:
                max_bytes = _MAX_ERROR_BYTES
            body = await response.content.read(max_bytes + 1) if method != "HEAD" else b""
            while 0 < len(body) <= max_bytes and (more := await response.content.read(max_bytes + 1)):
                body += more
            if len(body) > max_bytes and response.status < 400:
                raise Unavailable(f"{shown(method, url)}: the answer has more than {max_bytes} bytes")
            raise_if_transient(response, method, url, body)
            return Answer(response.status, response.headers, body, str(response.url))

    async def retry(self, work: Callable[[], Awaitable[T]], *, first: bool = False) -> T:
        """work's result, tried again as `retries` says. Raises Unavailable with the last interruption.

        first: the first request to this host. If nobody listens there at all, that is said at once: a user
        who mistyped a name should not wait for it.
        """
        for failures in range(1, self.retries.attempts + 1):
            try:
                return await work()
            except Interrupted as exc:
                if (first and exc.refused) or failures == self.retries.attempts:
                    raise Unavailable(str(exc)) from exc
                pause = self.retries.pause(failures, exc.retry_after)
                log.info("%s; trying again in %.1f s", exc, pause)
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")


def _target(url: URL, location: str) -> URL | None:
    """Where a redirect leads; None for what nobody can connect to."""
    try:
        target = url.join(URL(location, encoded=True))
        # Both are worked out late, and raise late.
        return target if target.host and target.port else None
    except ValueError:
        return None


def raise_if_transient(response: aiohttp.ClientResponse, method: str, url: str, body: bytes) -> None:
    if response.status in _TRANSIENT:
        after = response.headers.get("Retry-After", "")
        raise Interrupted(
            f"{shown(method, url)}: {refusals.parse(response.status, body)}",
            retry_after=float(after) if after.isdecimal() and after.isascii() else 0.0,
        )


async def refusal_of(response: aiohttp.ClientResponse, method: str, url: str) -> Refusal:
    """The error in a streamed answer. Raises Interrupted when it is worth another try."""
    body = await response.content.read(_MAX_ERROR_BYTES)
    raise_if_transient(response, method, url, body)
    return refusals.parse(response.status, body)


def shown(method: str, url: str) -> str:
    """A request for messages. Without its query: that of a redirect may be a key to the storage."""
    parts = urlsplit(url)
    return f'{method.capitalize()} "{parts.scheme}://{parts.hostname or ""}{_port(parts.port)}{parts.path}"'


def _port(port: int | None) -> str:
    return f":{port}" if port else ""


def _tls_problem(exc: aiohttp.ClientSSLError, endpoint: Endpoint) -> str:
    text = str(exc)
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER" in text or "HTTP_REQUEST" in text:
        return (
            f"http: server gave HTTP response to HTTPS client "
            f"(hint: start wherryd with --insecure-registry {endpoint.host})"
        )
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return (
            f"tls: failed to verify certificate: {exc.certificate_error} "
            f"(hint: put the registry's CA in certs.d/{endpoint.host}/ca.crt)"
        )
    return f"tls: {text}"


def proxy_for(url: URL) -> str | None:
    """HTTP_PROXY and friends. aiohttp's own trust_env would also read ~/.netrc, which is not ours."""
    host = url.host or ""
    if host in ("localhost", "127.0.0.1", "::1"):
        return None
    found = urllib.request.getproxies()
    if urllib.request.proxy_bypass(f"{host}:{url.port}", found):
        return None
    return found.get(url.scheme)
