"""Contexts that wait for their build: announced by a client, completed by what was missing, taken once."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from wherryd.builder.contexts.blobs import BlobStore
from wherryd.builder.contexts.files import ContextFiles
from wherryd.builder.contexts.manifest import Manifest, Manifests, read_changes
from wherryd.errors import InvalidParameter, NotFound
from wherrywire.contextsync import Kind

#: Contexts that no build has taken yet, and how long one waits for its build or for more of its contents.
_MAX_WAITING = 64
_PATIENCE_SECONDS = 600.0


@dataclass(slots=True)
class _Waiting:
    manifest: Manifest
    missing: tuple[tuple[str, int], ...] = ()
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    busy: bool = False


class SyncedContexts:
    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        #: By token: what waits for its build, and what builds under way have taken.
        self._waiting: dict[str, _Waiting] = {}
        self._manifests = Manifests()

    def leased(self) -> set[str]:
        """Digests that a build uses, or is about to."""
        return set().union(*(each.manifest.contents for each in self._waiting.values()))

    async def announce(self, stream: AsyncIterator[bytes]) -> tuple[str, list[str]]:
        """(token, digests that are to be sent, in order). stream: the list. Raises InvalidParameter."""
        manifest = await self._manifests.read(stream)
        self._check_waiting()
        token = secrets.token_urlsafe(24)
        # Leased before it is looked for: what is there now must not go before the build comes.
        self._waiting[token] = waiting = _Waiting(manifest)
        try:
            waiting.missing = await asyncio.to_thread(self._missing, manifest)
        except BaseException:
            del self._waiting[token]
            raise
        self._wait(token)
        return token, [digest for digest, _ in waiting.missing]

    def _check_waiting(self) -> None:
        if sum(not each.busy for each in self._waiting.values()) >= _MAX_WAITING:
            raise InvalidParameter("too many contexts wait for their build; try again in a minute")

    def _missing(self, manifest: Manifest) -> tuple[tuple[str, int], ...]:
        return tuple(each for each in manifest.contents.items() if not self._blobs.has(*each))

    def _wait(self, token: str) -> None:
        waiting = self._waiting[token]
        waiting.busy = False
        loop = asyncio.get_running_loop()
        waiting.timer = loop.call_later(_PATIENCE_SECONDS, self.forget, token)

    def _begin(self, token: str) -> _Waiting:
        waiting = self._waiting.get(token)
        if waiting is None or waiting.busy:
            raise NotFound("context: it was taken, is too old or never was (hint: build again)")
        waiting.busy = True
        if waiting.timer is not None:
            waiting.timer.cancel()
        return waiting

    def forget(self, token: str) -> None:
        """Also a token that is not known."""
        if (waiting := self._waiting.pop(token, None)) and waiting.timer is not None:
            waiting.timer.cancel()

    async def receive(self, token: str, stream: AsyncIterator[bytes]) -> None:
        """What was missing. Raises NotFound, InvalidParameter, SystemFault."""
        waiting = self._begin(token)
        try:
            await self._blobs.receive(waiting.missing, stream)
            waiting.missing = ()
        finally:
            self._wait(token)

    def take(self, token: str, folder: Path) -> ContextFiles:
        """The context's files, in folder, an empty one of ours; its contents stay until `forget`.

        Raises NotFound, InvalidParameter."""
        waiting = self._begin(token)
        if not all(self._blobs.has(*each) for each in waiting.missing):
            raise InvalidParameter("context: some of its contents were not sent; build again")
        return ContextFiles(folder, waiting.manifest, self._blobs)

    async def recall(self, digest: str, base: str, stream: AsyncIterator[bytes]) -> str:
        """The token of a list that is remembered, or that differs from one at base by what stream says: both
        are digests, and no context of that token waits for long.

        Raises NotFound for what is not known or lacks a content, InvalidParameter, SystemFault."""
        manifest = await self._changed(base, stream) if base else self._manifests.get(digest)
        missing = manifest is None or bool(await asyncio.to_thread(self._missing, manifest))
        if manifest is None or missing:
            raise NotFound("context: it is not known, or lacks a content; tell its files")
        if manifest.digest != digest:
            raise InvalidParameter("context: the list is another one than its digest says; build again")
        self._check_waiting()
        token = secrets.token_urlsafe(24)
        self._waiting[token] = _Waiting(manifest)
        self._wait(token)
        return token

    async def _changed(self, base: str, stream: AsyncIterator[bytes]) -> Manifest | None:
        before = self._manifests.get(base)
        if before is None:
            return None
        changes, contents = await read_changes(stream)
        manifest = self._manifests.change(before, changes)
        new = [entry for line in changes if (entry := manifest.lines.get(line)) is not None]
        wanted = {each.value: each.size for each in new if each.kind is Kind.FILE and each.size}
        await self._blobs.receive(list(wanted.items()), contents)
        return manifest
