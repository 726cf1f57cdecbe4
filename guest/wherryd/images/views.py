"""Images as the Engine API shows them. Field names: Engine API 1.51, ImageInspect, ImageSummary,
HistoryResponseItem. What other versions of the API want different is done in `api/images.py`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wherryd import clock
from wherryd.images.image import Image
from wherryd.images.layers import Layer

Document = dict[str, Any]


def inspect(
    image: Image, layers: Sequence[Layer], driver: str, directories: Sequence[Path], tagged_at: str
) -> Document:
    """layers and their directories: lowest first."""
    config = image.config
    document: Document = {
        "Id": image.id,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Parent": image.parent,
        "Comment": config.get("comment") or _last_comment(config),
        "Created": image.created,
        "DockerVersion": config.get("docker_version", ""),
        "Author": config.get("author", ""),
        "Config": dict(image.runtime_config),
        "Architecture": config.get("architecture", ""),
        "Os": config.get("os", ""),
        "Size": image.size_bytes,
        "GraphDriver": {"Name": driver, "Data": _directories(directories)},
        "RootFS": {"Type": "layers"},
        "Metadata": {"LastTagTime": tagged_at or "0001-01-01T00:00:00Z"},
    }
    if layers:
        document["RootFS"]["Layers"] = [layer.diff_id for layer in layers]
    if config.get("variant"):
        document["Variant"] = config["variant"]
    if config.get("os.version"):
        document["OsVersion"] = config["os.version"]
    return document


def _last_comment(config: Mapping[str, Any]) -> str:
    """A commit's message stands in the history alone."""
    history = config.get("history") or [{}]
    return str(history[-1].get("comment") or "")


def _directories(directories: Sequence[Path]) -> dict[str, str]:
    """For people who look at the disk; nothing in the engine reads it."""
    if not directories:
        return {}
    *lower, upper = (str(directory) for directory in directories)
    data = {"UpperDir": upper}
    if lower:
        data["LowerDir"] = ":".join(reversed(lower))
    return data


def history(image: Image, layers: Sequence[Layer], tags_by_id: Mapping[str, Sequence[str]]) -> list[Document]:
    """Newest step first. Only the image itself has an id: the steps before it are no images here."""
    sizes = [layer.size_bytes for layer in layers]
    steps: list[Document] = []
    for entry in image.config.get("history") or [{} for _ in layers]:
        size = 0
        if not entry.get("empty_layer") and sizes:
            size = sizes.pop(0)
        steps.append(
            {
                "Id": "<missing>",
                "Created": _unix_seconds(entry.get("created") or ""),
                "CreatedBy": entry.get("created_by", ""),
                "Tags": None,
                "Size": size,
                "Comment": entry.get("comment", ""),
            }
        )
    steps.reverse()
    if steps:
        steps[0]["Id"] = image.id
        steps[0]["Tags"] = list(tags_by_id.get(image.id, ())) or None
    return steps


def summary(image: Image, *, shared_bytes: int = -1, containers: int = -1) -> Document:
    return {
        "Containers": containers,
        "Created": _unix_seconds(image.created),
        "Id": image.id,
        "Labels": dict(image.labels) or None,
        "ParentId": image.parent,
        "RepoDigests": list(image.digests),
        "RepoTags": list(image.tags),
        "SharedSize": shared_bytes,
        "Size": image.size_bytes,
    }


def shared_bytes(stacks: Mapping[str, Iterable[Layer]]) -> dict[str, int]:
    """Per image id, the bytes of layers that another of these images has too."""
    users = Counter(layer.chain_id for stack in stacks.values() for layer in stack)
    return {
        image_id: sum(layer.size_bytes for layer in stack if users[layer.chain_id] > 1)
        for image_id, stack in stacks.items()
    }


def _unix_seconds(text: str) -> int:
    """As image lists show it; an absent or unreadable time of a foreign image is 0001-01-01, as in Docker."""
    try:
        return clock.to_seconds(text)
    except ValueError:
        return clock.to_seconds(clock.ZERO)
