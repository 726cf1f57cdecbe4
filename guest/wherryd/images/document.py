"""The config document of an image that stands on another: a build's step, a commit. Source: OCI image-spec,
config.md."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from wherryd import clock
from wherryd.images import platforms
from wherryd.images.image import Image, Platform

#: Copied from the base: what the image is made for.
_PLATFORM_KEYS = ("architecture", "variant", "os", "os.version", "os.features")


def created(epoch: int | None) -> str:
    """RFC 3339: now, or the time that SOURCE_DATE_EPOCH names."""
    if epoch is None:
        return clock.now()
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}"


def platform_of(image: Image | None, wanted: str) -> Platform:
    if image is None:
        return platforms.parse(wanted)
    config = image.config
    return Platform(
        str(config.get("os") or "linux"),
        str(config.get("architecture") or platforms.host().architecture),
        str(config.get("variant") or ""),
    )


def document(
    parent: Image | None,
    *,
    made_for: Platform,
    config: Mapping[str, Any],
    created_at: str,
    created_by: str,
    author: str,
    diff_id: str | None,
    comment: str = "",
) -> dict[str, Any]:
    """diff_id: of its own layer, None where no file changed. comment: for the history."""
    before: Mapping[str, Any] = parent.config if parent else {}
    found: dict[str, Any] = {key: before[key] for key in _PLATFORM_KEYS if before.get(key)}
    found.setdefault("os", made_for.os)
    found.setdefault("architecture", made_for.architecture)
    if made_for.variant:
        found.setdefault("variant", made_for.variant)
    if author or before.get("author"):
        found["author"] = author or before["author"]
    entry: dict[str, Any] = {"created": created_at, "created_by": created_by}
    if author:
        entry["author"] = author
    if comment:
        entry["comment"] = comment
    if diff_id is None:
        entry["empty_layer"] = True
    diff_ids = list((before.get("rootfs") or {}).get("diff_ids") or ())
    return {
        **found,
        "config": dict(config),
        "created": created_at,
        "history": [*history_of(parent), entry],
        "rootfs": {"type": "layers", "diff_ids": diff_ids if diff_id is None else [*diff_ids, diff_id]},
    }


def history_of(image: Image | None) -> list[Any]:
    """An image without one gets an entry per layer, so that those of what stands on it are in their place."""
    if image is None:
        return []
    layers = len((image.config.get("rootfs") or {}).get("diff_ids") or ())
    known = list(image.config.get("history") or ())
    missing = layers - sum(1 for entry in known if not entry.get("empty_layer"))
    return [*({"created_by": ""} for _ in range(max(0, missing))), *known]
