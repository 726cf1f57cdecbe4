"""Uploads: whether a blob is there, mounted from a neighbour, or sent. Source: distribution-spec, "Push".

A small blob goes in one PUT, a large one in pieces by PATCH; after an interruption the registry is asked
how much it has, and the rest is sent.
"""

import asyncio
import functools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlencode, urljoin

import aiohttp.payload
from aiohttp.abc import AbstractStreamWriter

from wherryd.errors import Unavailable
from wherryd.registry.manifests import Descriptor, RawManifest
from wherryd.registry.refusals import Refusal
from wherryd.registry.remote import CHUNK_BYTES, Remote, Site
from wherryd.registry.transport import Interrupted, shown

log = logging.getLogger(__name__)

Report = Callable[[int], None]
"""Told how many bytes have been sent so far; after an interruption the number may go back."""

#: Up to this size in one request.
MONOLITHIC_BYTES = 8 * 1024 * 1024
_PIECE_BYTES = 32 * 1024 * 1024


class Source(Protocol):
    def read_at(self, offset: int, size: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class FileSource:
    """fd stays the caller's."""

    fd: int

    def read_at(self, offset: int, size: int) -> bytes:
        return os.pread(self.fd, size, offset)


@dataclass(frozen=True, slots=True)
class BytesSource:
    data: bytes

    def read_at(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]


class _Piece(aiohttp.payload.Payload):
    """A part of a source as a request's body, read anew each time it is sent.

    Not an async generator: aiohttp repeats a PUT by itself when a kept-alive connection turns out to be
    dead, and would send nothing of a generator that is used up (seen with 3.11: it waits for ever).
    """

    def __init__(self, source: Source, offset: int, size: int, report: Report) -> None:
        super().__init__(source, content_type="application/octet-stream")
        self._size = size
        self._source = source
        self._offset = offset
        self._report = report

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 - theirs
        raise TypeError("a piece of a blob is no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        offset, end = self._offset, self._offset + (self._size or 0)
        while offset < end:
            data = await asyncio.to_thread(self._source.read_at, offset, min(CHUNK_BYTES, end - offset))
            if not data:
                raise Unavailable("the layer became shorter while it was sent; push again")
            await writer.write(data)
            offset += len(data)
            self._report(offset)


@dataclass(slots=True)
class _Session:
    """url: where the next piece goes. piece_bytes: at least what the registry asks for."""

    url: str
    offset: int = 0
    piece_bytes: int = _PIECE_BYTES


class Uploader:
    """Into one repository. All methods raise Refusal, Unavailable, Unauthorized."""

    def __init__(self, remote: Remote) -> None:
        """remote: made with push=True."""
        self._remote = remote

    async def has(self, digest: str) -> int | None:
        """The blob's size when the repository has it."""

        async def ask(site: Site) -> int | None:
            url = self._remote.url(site, f"blobs/{digest}")
            try:
                async with self._remote.request(site, "HEAD", url) as response:
                    return int(response.headers.get("Content-Length") or 0)
            except Refusal as exc:
                if exc.is_missing:
                    return None
                raise

        return await self._remote.on_any_site(ask)

    async def mount(self, digest: str, from_path: str) -> bool:
        """Takes a blob over from another repository of the same registry, if it may and it is there."""
        scopes = self._remote.scopes | {f"repository:{from_path}:pull"}

        async def ask(site: Site) -> bool:
            query = urlencode([("mount", digest), ("from", from_path)])
            url = self._remote.url(site, f"blobs/uploads/?{query}")
            async with self._remote.request(site, "POST", url, scopes=scopes, data=bytes) as response:
                if response.status == 201:
                    return True
                location = urljoin(url, response.headers.get("Location", ""))
            await self._cancel(site, location)
            return False

        try:
            return await self._remote.on_any_site(ask)
        except Refusal as exc:
            # No right to read there, or no such thing as mounting: then it is sent.
            log.debug("mounting %s from %s: %s", digest, from_path, exc)
            return False

    async def _cancel(self, site: Site, url: str) -> None:
        try:
            async with self._remote.request(site, "DELETE", url):
                pass
        except (Refusal, Interrupted) as exc:
            log.debug("%s: %s", shown("DELETE", url), exc)  # the registry purges it in its own time

    async def send(self, blob: Descriptor, source: Source, report: Report) -> None:
        """Resumes and retries."""
        site = (await self._remote.sites())[0]
        retries = self._remote.transport.retries
        session: _Session | None = None
        for failures in range(1, retries.attempts + 1):
            try:
                session = await self._resume(site, session) if session else None
                session = session or await self._begin(site)
                await self._pieces(site, session, blob, source, report)
                return
            except Refusal as exc:
                # The session was lost with the connection, or the registry counts otherwise: begin anew.
                if failures == 1 or exc.status not in (404, 416) or failures == retries.attempts:
                    raise
                session = None
            except Interrupted as exc:
                if failures == retries.attempts:
                    raise Unavailable(str(exc)) from exc
                log.info("%s; trying again", exc)
                await asyncio.sleep(retries.pause(failures, exc.retry_after))

    async def _begin(self, site: Site) -> _Session:
        url = self._remote.url(site, "blobs/uploads/")
        async with self._remote.request(site, "POST", url, data=bytes) as response:
            smallest = response.headers.get("OCI-Chunk-Min-Length", "")
            piece = max(_PIECE_BYTES, int(smallest) if smallest.isdecimal() else 0)
            return _Session(_location(url, response.headers.get("Location")), 0, piece)

    async def _resume(self, site: Site, session: _Session) -> _Session | None:
        """The session with the registry's own count, or None when it is gone."""
        try:
            async with self._remote.request(site, "GET", session.url) as response:
                last = response.headers.get("Range", "").removeprefix("bytes=").partition("-")[2]
                # "0-0" is what registries say of an empty upload; one of a single byte then starts again.
                offset = int(last) + 1 if last.isdecimal() and last != "0" else 0
                url = _location(session.url, response.headers.get("Location", session.url))
                return _Session(url, offset, session.piece_bytes)
        except Refusal:
            return None

    async def _pieces(
        self, site: Site, session: _Session, blob: Descriptor, source: Source, report: Report
    ) -> None:
        small = blob.size <= MONOLITHIC_BYTES and not session.offset
        while not small and session.offset < blob.size:
            size = min(session.piece_bytes, blob.size - session.offset)
            headers = {"Content-Range": f"{session.offset}-{session.offset + size - 1}"}
            piece = functools.partial(_Piece, source, session.offset, size, report)
            async with self._remote.request(
                site, "PATCH", session.url, headers=headers, data=piece
            ) as response:
                session.url = _location(session.url, response.headers.get("Location", session.url))
            session.offset += size
        rest = blob.size if small else 0
        url = f"{session.url}{'&' if '?' in session.url else '?'}digest={quote(blob.digest, safe='')}"
        everything = functools.partial(_Piece, source, 0, rest, report)
        async with self._remote.request(site, "PUT", url, data=everything) as response:
            _check(response.headers.get("Docker-Content-Digest", ""), blob.digest)

    async def put_manifest(self, manifest: RawManifest, reference: str) -> None:
        """reference: tag or digest."""

        async def ask(site: Site) -> None:
            url = self._remote.url(site, f"manifests/{reference}")
            headers = {"Content-Type": manifest.media_type}
            async with self._remote.request(
                site, "PUT", url, headers=headers, data=lambda: manifest.body
            ) as response:
                _check(response.headers.get("Docker-Content-Digest", ""), manifest.digest)

        await self._remote.on_any_site(ask)


def _location(base: str, location: str | None) -> str:
    if not location:
        raise Unavailable(f"{shown('POST', base)}: the registry does not say where to upload to")
    return urljoin(base, location)


def _check(stated: str, digest: str) -> None:
    if stated and stated != digest:
        raise Unavailable(f"the registry stored {stated} instead of {digest}; push again")
