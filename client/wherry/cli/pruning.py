"""What the prune verbs share: one call per kind of object, and Docker's words for what went."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from wherry.engine.client import EngineClient

Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Pruned:
    """lines: one per object that is gone. reclaimed: bytes. title: stands above the lines."""

    title: str
    lines: tuple[str, ...]
    reclaimed: int

    def show(self) -> None:
        if self.lines:
            click.echo(f"{self.title}:\n" + "\n".join(self.lines) + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """path: of the prune call. names: the answer -> what it removed."""

    path: str
    title: str
    names: Callable[[Mapping[str, Any]], Iterable[str]]

    def prune(
        self, client: "EngineClient", filters: Pairs, params: Mapping[str, str | bool | None] | None = None
    ) -> Pruned:
        """Source: Engine API, POST /{containers,images,networks,volumes,build}/prune."""
        from wherry.cli import preferences
        from wherry.engine.client import filters as encoded

        wanted = encoded(preferences.prune_filters(filters))
        report = client.post(self.path, {"filters": wanted, **(params or {})}) or {}
        return Pruned(self.title, tuple(self.names(report)), int(report.get("SpaceReclaimed") or 0))


def _images(report: Mapping[str, Any]) -> Iterable[str]:
    for item in report.get("ImagesDeleted") or []:
        yield f"untagged: {item['Untagged']}" if item.get("Untagged") else f"deleted: {item['Deleted']}"


CONTAINERS = Kind(
    path="/containers/prune",
    title="Deleted Containers",
    names=lambda report: report.get("ContainersDeleted") or [],
)
IMAGES = Kind(path="/images/prune", title="Deleted Images", names=_images)
NETWORKS = Kind(
    path="/networks/prune",
    title="Deleted Networks",
    names=lambda report: report.get("NetworksDeleted") or [],
)
VOLUMES = Kind(
    path="/volumes/prune",
    title="Deleted Volumes",
    names=lambda report: report.get("VolumesDeleted") or [],
)
BUILD_CACHE = Kind(
    path="/build/prune",
    title="Deleted build cache objects",
    names=lambda report: report.get("CachesDeleted") or [],
)


def dangling(every: bool) -> tuple[str, str]:
    """The filter of an image prune: also tagged images, or only those without a name."""
    return "dangling", "false" if every else "true"


def show_total(reclaimed: int) -> None:
    from wherry.cli.output import units

    click.echo(f"Total reclaimed space: {units.size(reclaimed)}")
