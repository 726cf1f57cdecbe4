"""One repository on one registry: manifests, tags and blobs. Source: OCI distribution-spec 1.1.

Reading may go to a mirror first; one that fails is not asked again by this object. Uploads are in
`upload.py`.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import aiohttp

from wherryd.content import digest as digests
from wherryd.errors import EngineError, InvalidParameter, Unavailable
from wherryd.registry import challenge
from wherryd.registry.credentials import ANONYMOUS, Credentials
from wherryd.registry.hosts import Endpoint, Hosts
from wherryd.registry.manifests import ACCEPTED, SCHEMA_1, Descriptor, RawManifest
from wherryd.registry.refusals import Refusal
from wherryd.registry.tokens import Authorizer
from wherryd.registry.transport import (
    MAX_DOCUMENT_BYTES,
    Interrupted,
    Transport,
    raise_if_transient,
    refusal_of,
    shown,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

CHUNK_BYTES = 256 * 1024
_MAX_TAG_PAGES = 1000
#: A download that came this far since it was last interrupted has earned all its attempts again.
_PROGRESS_BYTES = 1024 * 1024
#: Sent last, so that a registry which still has such an image sends it and we can say what is wrong.
_ACCEPT = ", ".join([*ACCEPTED, *(f"{media_type};q=0.1" for media_type in sorted(SCHEMA_1))])


class Damaged(InvalidParameter):
    """The bytes are not those that the digest names. Raised at their end, when they are out already."""


@dataclass(frozen=True, slots=True)
class Site:
    """An endpoint with who we are there."""

    endpoint: Endpoint
    authorizer: Authorizer


class Beginning:
    """How much of a blob somebody has already: `add` its bytes in order."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.size = 0

    def add(self, data: bytes) -> None:
        self.digest.update(data)
        self.size += len(data)


class Remote:
    """path: of the repository ("library/mysql"). push: asks for that right too, and never uses a mirror."""

    def __init__(
        self,
        transport: Transport,
        hosts: Hosts,
        domain: str,
        path: str,
        credentials: Credentials,
        *,
        push: bool = False,
    ) -> None:
        self.domain = domain
        self.path = path
        self.transport = transport
        self.scopes = frozenset({f"repository:{path}:{'pull,push' if push else 'pull'}"})
        self._hosts = hosts
        self._credentials = credentials.for_domain(domain)
        self._push = push
        self._sites: list[Site] | None = None
        self._finding = asyncio.Lock()

    # reading. All of them raise Refusal for what the registry refuses, Unavailable for what does not answer.

    async def manifest(self, reference: str) -> RawManifest:
        """reference: tag or digest. The digest is verified, whoever states it. Raises InvalidParameter."""

        async def ask(site: Site) -> RawManifest:
            url = self.url(site, f"manifests/{reference}")
            async with self.request(site, "GET", url, headers={"Accept": _ACCEPT}) as response:
                body = await _whole(response, url)
                media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
                stated = response.headers.get("Docker-Content-Digest", "")
            digest = digests.of(body)
            for expected in (reference, stated):
                if digests.is_digest(expected) and expected != digest:
                    raise Damaged(
                        f"{shown('GET', url)}: the manifest has digest {digest}, not {expected}; "
                        "try again, or push the image again"
                    )
            return RawManifest(body, media_type, digest)

        return await self.on_any_site(ask)

    async def document(self, descriptor: Descriptor) -> bytes:
        """A small blob whole. Raises InvalidParameter when it is larger than a document can be."""
        if descriptor.size > MAX_DOCUMENT_BYTES:
            raise InvalidParameter(
                f"{descriptor.digest} has {descriptor.size} bytes, a document at most {MAX_DOCUMENT_BYTES}"
            )
        return b"".join([data async for data in self.blob(descriptor)])

    async def blob(
        self, descriptor: Descriptor, have: "Beginning | None" = None
    ) -> AsyncGenerator[bytes, None]:
        """The blob's bytes behind its beginning that the caller has, over as many connections as it takes:
        an interrupted download is resumed.

        Raises Damaged behind the last byte when all of them are not what the digest says.
        """
        have = have or Beginning()
        digest, received = have.digest.copy(), have.size
        failures, resumed_at = 0, received
        retries = self.transport.retries
        while received != descriptor.size or not received:
            try:
                async for data in self._blob_from(descriptor, received):
                    received += len(data)
                    if received > descriptor.size:
                        raise Damaged(_wrong(descriptor, f"has more than {descriptor.size} bytes"))
                    digest.update(data)
                    yield data
                if received < descriptor.size:
                    raise Interrupted(
                        f"{descriptor.digest} ended after {received} of {descriptor.size} bytes"
                    )
                break
            except Interrupted as exc:
                if received == descriptor.size:
                    break  # cut behind the last byte: the digest will tell
                if received - resumed_at >= _PROGRESS_BYTES:
                    failures = 0
                failures, resumed_at = failures + 1, received
                if failures >= retries.attempts:
                    raise Unavailable(str(exc)) from exc
                log.info("%s; going on at byte %d", exc, received)
                await asyncio.sleep(retries.pause(failures, exc.retry_after))
        if "sha256:" + digest.hexdigest() != descriptor.digest:
            raise Damaged(_wrong(descriptor, f"has digest sha256:{digest.hexdigest()}"))

    async def _blob_from(self, descriptor: Descriptor, offset: int) -> AsyncGenerator[bytes, None]:
        """What one connection gives of the blob from offset on. A mirror that refuses gives way at once."""
        while True:
            site = (await self.sites())[0]
            try:
                async for data in self._blob_at(site, descriptor, offset):
                    offset += len(data)
                    yield data
                return
            except (Refusal, EngineError, Interrupted) as exc:
                if isinstance(exc, Damaged) or not self._give_up(site, exc):
                    raise

    async def _blob_at(self, site: Site, descriptor: Descriptor, offset: int) -> AsyncGenerator[bytes, None]:
        url = self.url(site, f"blobs/{descriptor.digest}")
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        async with self.request(site, "GET", url, headers=headers) as response:
            # A server that does not know ranges sends everything again; the digest covers all of it.
            skip = offset if response.status == 200 else 0
            if response.status == 206:
                begins = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
                if begins != str(offset):
                    raise Interrupted(f"{shown('GET', url)}: got bytes from {begins}, asked from {offset}")
            async for data in response.content.iter_chunked(CHUNK_BYTES):
                if skip >= len(data):
                    skip -= len(data)
                    continue
                yield data[skip:]
                skip = 0

    async def tags(self) -> list[str]:
        """All tags, over all pages."""

        async def ask(site: Site) -> list[str]:
            url = self.url(site, "tags/list")
            found: list[str] = []
            for _ in range(_MAX_TAG_PAGES):
                async with self.request(site, "GET", url) as response:
                    body = await _whole(response, url)
                    following = _next_page(response)
                found += _tag_names(body, url)
                if following is None:
                    return found
                url = urljoin(url, following)
            raise Unavailable(f"{shown('GET', url)}: the list of tags does not end")

        return await self.on_any_site(ask)

    # the machinery

    async def sites(self) -> list[Site]:
        """Where this registry answers, best first; found out once. Raises Unavailable, InvalidParameter."""
        async with self._finding:
            if self._sites is None:
                self._sites = await self._find()
            return list(self._sites)

    async def _find(self) -> list[Site]:
        found: list[Site] = []
        problem: EngineError | None = None
        for endpoint in await self._hosts.endpoints(self.domain, mirrors=not self._push):
            # Docker Hub's credentials are not for its mirrors.
            user = ANONYMOUS if endpoint.mirror else self._credentials
            site = Site(endpoint, Authorizer(self.transport, endpoint, user))
            try:
                await self.ping(site)
            except Unavailable as exc:
                # Over HTTPS it was the registry's own problem; "no HTTP either" says less.
                problem = problem or exc
                continue
            found.append(site)
            if not endpoint.mirror:
                return found
        if found:
            return found
        raise problem or Unavailable(f"{self.domain}: no address to ask")

    async def ping(self, site: Site) -> None:
        """Asks whether there is a registry, and learns how it wants to be asked. Raises Unavailable."""
        url = f"{site.endpoint.url}/v2/"
        answer = await self.transport.retry(
            lambda: self.transport.fetch(site.endpoint, "GET", url), first=True
        )
        if answer.status == 401:
            site.authorizer.challenged(
                challenge.parse(answer.headers.getall("WWW-Authenticate", [])),  # type: ignore[attr-defined]
                self.scopes,
            )

    def url(self, site: Site, rest: str) -> str:
        return f"{site.endpoint.url}/v2/{self.path}/{rest}"

    async def on_any_site(self, work: Callable[[Site], Awaitable[T]]) -> T:
        """work on the best site, with retries; on the next one when it was a mirror that failed."""
        while True:
            site = (await self.sites())[0]
            try:
                return await self.transport.retry(lambda site=site: work(site))  # type: ignore[misc]
            except (Refusal, EngineError) as exc:
                if not self._give_up(site, exc):
                    raise

    def _give_up(self, site: Site, exc: Exception) -> bool:
        """Whether there is another site instead."""
        if not site.endpoint.mirror or self._sites is None:
            return False
        if site in self._sites and len(self._sites) > 1:
            log.info("mirror %s: %s; asking %s itself", site.endpoint.host, exc, self.domain)
            self._sites.remove(site)
        return site not in self._sites

    @asynccontextmanager
    async def request(
        self,
        site: Site,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Callable[[], Any] | None = None,
        scopes: frozenset[str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer below 400. data: makes the body, again for every attempt. Answers the site's challenge
        once, and sends credentials to the site's own address only, wherever url points.

        Raises Refusal, Interrupted, Unauthorized, Unavailable.
        """
        scopes = self.scopes if scopes is None else scopes
        ours = urlsplit(url)[:2] == urlsplit(site.endpoint.url)[:2]
        for last in (False, True):
            sent = dict(headers or {})
            if ours:
                sent |= await site.authorizer.header(scopes)
            body = data() if data else None
            async with self.transport.stream(site.endpoint, method, url, headers=sent, data=body) as response:
                if response.status == 401 and ours and not last:
                    challenges = challenge.parse(response.headers.getall("WWW-Authenticate", []))
                    if site.authorizer.challenged(challenges, scopes):
                        continue
                if response.status >= 400:
                    raise await refusal_of(response, method, url)
                yield response
                return


async def _whole(response: aiohttp.ClientResponse, url: str) -> bytes:
    """Raises InvalidParameter when there is more than a document can have, Interrupted when there is less
    than was announced."""
    body = b""
    async for data in response.content.iter_chunked(CHUNK_BYTES):
        body += data
        if len(body) > MAX_DOCUMENT_BYTES:
            raise InvalidParameter(f"{shown('GET', url)}: more than {MAX_DOCUMENT_BYTES} bytes")
    raise_if_transient(response, "GET", url, body)
    return body


def _tag_names(body: bytes, url: str) -> list[str]:
    try:
        tags = json.loads(body).get("tags") or []
    except (ValueError, AttributeError, RecursionError) as exc:
        raise Unavailable(f"{shown('GET', url)}: the answer is no list of tags") from exc
    return [tag for tag in tags if isinstance(tag, str)]


def _next_page(response: aiohttp.ClientResponse) -> str | None:
    """Of a `Link: <...>; rel="next"` header (RFC 8288)."""
    for relation, link in response.links.items():
        if relation == "next":
            return str(link["url"])
    return None


def _wrong(descriptor: Descriptor, what: str) -> str:
    return (
        f"filesystem layer verification failed for digest {descriptor.digest}: what the registry sent "
        f"{what}; try again, or push the image again"
    )
