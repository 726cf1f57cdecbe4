"""An image's config document, read with suspicion. Source: OCI image-spec, config.md."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter
from wherryd.registry import shapes

MAX_LAYERS = 127


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """document: as it is. diff_ids: lowest first."""

    document: Mapping[str, Any]
    diff_ids: tuple[str, ...]

    @property
    def labels(self) -> Mapping[str, str]:
        return (self.document.get("config") or {}).get("Labels") or {}


def parse(data: bytes, layers: int, advice: str) -> ImageConfig:
    """layers: how many its manifest has. advice: the next step when it is broken ("pull the image again").

    Raises InvalidParameter.
    """
    try:
        document = json.loads(data)
        shapes.check(document, shapes.CONFIG, "the image's config")
        diff_ids = tuple(digests.check(str(digest)) for digest in document["rootfs"].get("diff_ids") or [])
        system = document.get("os") or "linux"
        section = document.get("config") or {}
        section.get("Labels")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise InvalidParameter(f"the image's config is broken: {exc!r}; {advice}") from exc
    if system != "linux":
        raise InvalidParameter(f"cannot load {system} image on linux")
    if len(diff_ids) != layers:
        raise InvalidParameter(
            f"invalid manifest, layers length mismatch: expected {len(diff_ids)}, got {layers}"
        )
    if len(diff_ids) > MAX_LAYERS:
        raise InvalidParameter(f"the image has {len(diff_ids)} layers, the limit is {MAX_LAYERS}")
    return ImageConfig(document, diff_ids)
