"""A stage under way: the image so far, its config, its ARGs; and how a step becomes the next image."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wherryd.builder import cache as caching
from wherryd.builder import metadata
from wherryd.builder.cache import BuildCache, StepKey
from wherryd.builder.cachemounts import CacheMounts
from wherryd.builder.cachesources import CacheSources, comment
from wherryd.builder.contexts.files import ContextFiles
from wherryd.builder.copying.process import Copiers
from wherryd.builder.dockerfile.shell import Lexer
from wherryd.builder.lint.findings import Finding
from wherryd.builder.named import NamedContexts
from wherryd.builder.offers import Offer
from wherryd.builder.options import BuildOptions
from wherryd.builder.output import Output
from wherryd.builder.variables import Scope
from wherryd.containers.service import ContainerService
from wherryd.errors import NotFound
from wherryd.images import document
from wherryd.images.image import Image, Platform
from wherryd.images.layers import Layer
from wherryd.images.service import ImageService


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What all steps of a build share. folder: of this build alone. run_folder: of this
    build too, gone with a reboot. offer: what the client lends.
    epoch: SOURCE_DATE_EPOCH or None. pins: keeps layers until an image has them. slots: how many steps
    may work at once; one that waits for another stage holds none."""

    build_id: str
    images: ImageService
    containers: ContainerService
    cache: BuildCache
    #: Images of --cache-from; with any, `cache` is not asked.
    sources: CacheSources
    named: NamedContexts
    options: BuildOptions
    output: Output
    folder: Path
    context: ContextFiles
    run_folder: Path
    offer: Offer
    caches: CacheMounts
    copiers: Copiers
    epoch: int | None
    pins: set[str]
    slots: asyncio.Semaphore
    #: What could be written better in the Dockerfile.
    findings: Sequence[Finding] = ()
    #: Ids of images that steps of this build stand on: nobody may remove them meanwhile.
    held: set[str] = field(default_factory=set)
    #: Keys of the cache that were found.
    used: list[str] = field(default_factory=list)
    #: The images of finished stages, by number.
    finished: dict[int, Image] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class StageState:
    """image: None on scratch before the first step."""

    tools: Tools
    lexer: Lexer
    image: Image | None
    made_for: Platform
    config: metadata.Config
    scope: Scope
    author: str = ""
    cmd_is_ours: bool = False

    @property
    def environment(self) -> dict[str, str]:
        return metadata.environment(self.config)

    def variables(self) -> dict[str, str]:
        return self.scope.variables(self.environment)

    def expand(self, word: str) -> str:
        return self.lexer.expand(word, self.variables())

    def expand_heredoc(self, text: str) -> str:
        return replace(self.lexer, ignore_quotes=True).expand(text, self.variables())

    def split(self, word: str) -> list[str]:
        return self.lexer.split(word, self.variables())

    def key(self, step: Mapping[str, Any]) -> StepKey:
        start = self.image.id if self.image else f"scratch {self.made_for}"
        counted = {**step, "config": self.config, "author": self.author, "epoch": self.tools.epoch}
        return StepKey(caching.key(start, counted), caching.key("", counted))

    async def cached(self, key: StepKey, created_by: str) -> bool:
        """Takes the step's image out of the cache, if it is there. created_by: as `commit` gets it."""
        if self.tools.options.no_cache:
            return False
        found = self._from_source(key, created_by) if self.tools.options.cache_from else self._from_cache(key)
        if found is None:
            return False
        self.image = found
        self.tools.held.add(found.id)
        await self.tools.output.say(" ---> Using cache\n")
        return True

    def _from_cache(self, key: StepKey) -> Image | None:
        image_id = self.tools.cache.find(key.whole)
        if image_id is None:
            return None
        self.tools.used.append(key.whole)
        try:
            return self.tools.images.resolve(image_id)
        except NotFound:
            self.tools.cache.forget(image_id)
            return None

    def _from_source(self, key: StepKey, created_by: str) -> Image | None:
        hit = self.tools.sources.find(self.image, key.step, created_by)
        if hit is None:
            return None
        # Its layers stay while the step's image is made of them.
        self.tools.held.add(hit.image.id)
        return self._add(key, created_by, hit.layer, hit.created_at)

    def knows(self, key: StepKey) -> bool:
        """Whether something was made under a key; its image may be gone."""
        return not self.tools.options.no_cache and self.tools.cache.find(key.whole) is not None

    def remember(self, key: StepKey) -> None:
        """One more key for the image of the step that was just taken from the cache, or made."""
        assert self.image is not None, "the caller has it"  # noqa: S101
        self.tools.cache.store(key.whole, self.image.id)

    def commit(self, key: StepKey, created_by: str, layer: Layer | None) -> None:
        """The step's image: stored, and in the cache under key."""
        self.image = self._add(key, created_by, layer, document.created(self.tools.epoch))
        self.tools.held.add(self.image.id)
        self.tools.cache.store(key.whole, self.image.id)

    def _add(self, key: StepKey, created_by: str, layer: Layer | None, created_at: str) -> Image:
        made = document.document(
            self.image,
            made_for=self.made_for,
            config=self.config,
            created_at=created_at,
            created_by=created_by,
            author=self.author,
            diff_id=layer.diff_id if layer else None,
            comment=comment(key.step),
        )
        return self.tools.images.add(made, layer=layer, parent=self.image)
