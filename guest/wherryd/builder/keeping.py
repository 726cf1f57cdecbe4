"""What builds leave for the next: its records, what a prune takes away, and the size it is kept to."""

import asyncio
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wherryd import clock
from wherryd.builder.cache import BuildCache
from wherryd.builder.contexts.blobs import BlobStore
from wherryd.builder.contexts.synced import SyncedContexts
from wherryd.builder.usage import Kind, Pruning, Record
from wherryd.errors import EngineError
from wherryd.images.service import ImageService

if TYPE_CHECKING:
    from wherryd.builder.cachemounts import CacheMounts

#: The default: this much, and no more than this part of the file system.
_MOST_BYTES = 20 * 1000**3
_PART = 4
#: What was looked at is not looked at again so soon: it takes a walk over all cache mounts.
_REST_SECONDS = 60.0
#: A context's contents go before what costs a step to make again.
_CONTEXTS_PART = 4
_CONTEXTS = "contexts"


class KeptCache:
    """held: ids of images that builds under way stand on."""

    def __init__(
        self,
        *,
        images: ImageService,
        cache: BuildCache,
        caches: "CacheMounts",
        blobs: BlobStore,
        contexts: SyncedContexts,
        held: Callable[[], Collection[str]],
    ) -> None:
        self._images = images
        self._cache = cache
        self._caches = caches
        self._blobs = blobs
        self._contexts = contexts
        self._held = held
        self._pruning = asyncio.Lock()
        self._looked = 0.0

    async def records(self) -> list[Record]:
        """Of everything, in no order."""
        mounts, (contexts, used_ns) = await asyncio.to_thread(
            lambda: (self._caches.records(), self._blobs.usage())
        )
        found = [*self._steps(), *mounts]
        if contexts:
            found.append(
                Record(
                    id=_CONTEXTS,
                    kind=Kind.CONTEXT,
                    description="files of build contexts",
                    size_bytes=contexts,
                    used_at=clock.from_nanoseconds(used_ns),
                )
            )
        return found

    def _steps(self) -> list[Record]:
        images = {each["Id"]: each for each in self._images.list(all_images=True)}
        named: set[str] = set()
        for image in images.values():
            if image["RepoTags"] or image["RepoDigests"]:
                while image and image["Id"] not in named:
                    named.add(image["Id"])
                    image = images.get(image["ParentId"], {})
        held = self._held()
        # Of several keys of one image the one that was used last comes last.
        used = {image_id: used_at for _, image_id, used_at in self._cache.entries()}
        return [
            Record(
                id=image_id,
                kind=Kind.STEP,
                description=self._made_by(image_id),
                size_bytes=max(0, images[image_id]["Size"] - images.get(parent, {"Size": 0})["Size"]),
                used_at=used_at,
                parent=parent,
                in_use=image_id in held,
                shared=image_id in named,
            )
            for image_id, used_at in used.items()
            if image_id in images
            for parent in (images[image_id]["ParentId"],)
        ]

    def _made_by(self, image_id: str) -> str:
        history = self._images.resolve(image_id).config.get("history") or [{}]
        return str(history[-1].get("created_by", ""))

    async def prune(self, pruning: Pruning) -> dict[str, Any]:
        """{"CachesDeleted": [...], "SpaceReclaimed": bytes}. Source: Engine API, BuildPrune."""
        async with self._pruning:
            chosen = pruning.chosen(await self.records())
            deleted: list[str] = []
            freed = 0
            steps = [record for record in chosen if record.kind is Kind.STEP]
            for record in chosen:
                if record.kind is Kind.CACHE_MOUNT:
                    size = await asyncio.to_thread(self._caches.remove, record.id)
                    if size is not None:
                        deleted.append(record.id)
                        freed += size
                elif record.kind is Kind.CONTEXT:
                    size = await asyncio.to_thread(self._blobs.shrink, 0, self._contexts.leased())
                    deleted += [record.id] if size else []
                    freed += size
            while steps:
                # A step that another stands on goes after it.
                left = []
                for record in steps:
                    size = await self._remove_image(record.id)
                    if size is None:
                        left.append(record)
                    else:
                        deleted.append(record.id)
                        freed += size
                if len(left) == len(steps):
                    break
                steps = left
            self._forget_lost()
            return {"CachesDeleted": deleted, "SpaceReclaimed": freed}

    def _forget_lost(self) -> None:
        """Entries whose image somebody else removed."""
        there = {each["Id"] for each in self._images.list(all_images=True)}
        for image_id in self._cache.image_ids() - there:
            self._cache.forget(image_id)

    async def _remove_image(self, image_id: str) -> int | None:
        """Bytes freed; None while something else needs the image."""
        try:
            freed = await self._images.remove_dangling(self._images.resolve(image_id))
        except EngineError:
            return None
        if freed is not None:
            self._cache.forget(image_id)
        return freed

    async def keep_to(self, most_bytes: int | None, data_root: Path) -> None:
        """After a build: what is above the limit goes, the longest unused first. None: the default limit."""
        if time.monotonic() < self._looked + _REST_SECONDS:
            return
        self._looked = time.monotonic()
        if most_bytes is None:
            system = os.statvfs(data_root)
            most_bytes = min(_MOST_BYTES, system.f_blocks * system.f_frsize // _PART)
        if not most_bytes:
            return
        await asyncio.to_thread(self._blobs.shrink, most_bytes // _CONTEXTS_PART, self._contexts.leased())
        await self.prune(Pruning({}, most_bytes))
