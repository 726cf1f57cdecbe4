"""What the rest of the engine knows of an image: values, no behaviour."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Progress = dict[str, Any]
"""One line of the Engine API's progress stream: status, id, progressDetail, stream, aux, errorDetail."""

Publish = Callable[[str, str, str, Mapping[str, str]], None]
"""(type, action, actor id, attributes): how events leave this package."""


@dataclass(frozen=True, slots=True)
class ImageUse:
    """A container that was made from an image."""

    container_id: str
    running: bool


InUse = Callable[[str], Sequence[ImageUse]]
"""Image id -> the containers made from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One stored image.

    id: "sha256:..." of the config document. config: the OCI image config as stored. chain_id: name of the
    uppermost layer's snapshot, "" for an image without layers. size_bytes: unpacked size of all layers.
    created: RFC 3339 from the config, or when this engine first stored it. parent: image id, or "".
    tags: familiar names ("mysql:demo"). digests: familiar names with a digest ("mysql@sha256:...").
    index: digest of the image index that it was found by, or is shown for; "" for none. is_part: it is only
    shown as a part of an index, for which another platform's image stands.
    """

    id: str
    config: Mapping[str, Any]
    chain_id: str
    size_bytes: int
    created: str
    parent: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    index: str = ""
    is_part: bool = False

    @property
    def runtime_config(self) -> Mapping[str, Any]:
        """The "config" section: Env, Cmd, Entrypoint, ... as Docker spells them. May be empty."""
        section = self.config.get("config")
        return section if isinstance(section, Mapping) else {}

    @property
    def labels(self) -> Mapping[str, str]:
        return self.runtime_config.get("Labels") or {}


@dataclass(frozen=True, slots=True)
class Platform:
    """OCI platform. Docker writes it os[/architecture[/variant]]."""

    os: str
    architecture: str
    variant: str = ""
