"""--cache-from: steps of an image that somebody built elsewhere, found by its history.

An image is believed only because the build names it. Each entry of the history that we write has a digest of
its step in the comment (of the instruction, its arguments, config, mounts and contents, but not of what is
below it), so that likeness of a command line counts nothing: this digest and all entries below must be equal.
What is found is in no local cache: the next build has to name the image again (CVE-2024-24557).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wherryd.errors import EngineError
from wherryd.images import document
from wherryd.images.image import Image
from wherryd.images.layers import Layer
from wherryd.images.service import ImageService

_COMMENT = "wherry.step "


def comment(step: str) -> str:
    """For the history. step: digest of the step alone."""
    return _COMMENT + step.removeprefix("sha256:")


@dataclass(frozen=True, slots=True)
class Hit:
    """image: the source. created_at: of its step. layer: None for a step that changed no file."""

    image: Image
    created_at: str
    layer: Layer | None


class CacheSources:
    def __init__(self, images: ImageService, names: Iterable[str]) -> None:
        """A name that is not here is none: as with docker, the build goes on without it."""
        self._images = images
        self._sources: list[Image] = []
        for name in names:
            try:
                self._sources.append(images.resolve(name))
            except EngineError:
                continue

    def find(self, parent: Image | None, step: str, created_by: str) -> Hit | None:
        """parent: the image so far. created_by: as our own history would have it."""
        below = document.history_of(parent)
        layers = diff_ids(parent)
        for source in self._sources:
            history = document.history_of(source)
            if len(history) <= len(below) or history[: len(below)] != below:
                continue
            entry: Mapping[str, Any] = history[len(below)]
            if diff_ids(source)[: len(layers)] != layers:
                continue
            if entry.get("comment") != comment(step) or entry.get("created_by") != created_by:
                continue
            layer = None if entry.get("empty_layer") else self._images.layer(source, len(layers))
            return Hit(source, str(entry.get("created", "")), layer)
        return None


def diff_ids(image: Image | None) -> Sequence[str]:
    return list((image.config.get("rootfs") or {}).get("diff_ids") or ()) if image else []
