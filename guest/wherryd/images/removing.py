"""`rmi` and `prune`: Docker's rules for what may go, in its words.

Source: docker image rm and prune references; Engine API, DELETE /images/{name} and POST /images/prune.

Names go first. An image goes when its last name went, or when it is named by id; what refers to it stands
in the way: hard (a running container, an image made from it) or soft (a stopped container, more than one
name), and `force` overcomes the soft ones. Who names it by its last name has removed the name in any case:
what then stands in the way is no error, and the image stays without a name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wherryd.content.digest import short
from wherryd.errors import Conflict
from wherryd.images import reference as references
from wherryd.images.catalog import ImageCatalog
from wherryd.images.collecting import Collector
from wherryd.images.image import Image, InUse, Publish
from wherryd.images.reference import Reference


@dataclass(slots=True)
class Removal:
    """What a removal did: Docker's list of {"Untagged": name} and {"Deleted": digest}, and the space."""

    records: list[dict[str, str]]
    bytes_freed: int = 0


@dataclass(frozen=True, slots=True)
class _Obstacle:
    reason: str
    hard: bool
    used: bool = False  # by a container


class ImageRemover:
    def __init__(self, catalog: ImageCatalog, collector: Collector, publish: Publish, in_use: InUse) -> None:
        self._catalog = catalog
        self._collector = collector
        self._publish = publish
        self._in_use = in_use

    async def remove(self, text: str, *, force: bool, prune_parents: bool) -> Removal:
        """text: what the user wrote. Raises NotFound, Conflict."""
        image = self._catalog.resolve(text)
        names = self._catalog.references(image.id)
        removal = Removal([])
        if _is_id(text, image):
            if _one_repository(names):
                if obstacle := self._obstacle(image, names=False, stopped=not force):
                    raise _conflict(image, obstacle)
                for name in names:
                    self._untag(image, name, removal)
            quiet = False
        else:
            if not force and _one_repository(names):
                self._refuse_last_name(text, image)
            self._remove_name(image, references.parse(text).with_default_tag(), removal)
            if self._catalog.references(image.id):
                return removal
            quiet = True
        await self._delete(image, removal, force=force, prune_parents=prune_parents, quiet=quiet)
        return removal

    def _remove_name(self, image: Image, name: Reference, removal: Removal) -> None:
        """With a repository's last tag go its digests."""
        self._untag(image, name, removal)
        if name.digest:
            return
        left = [other for other in self._catalog.references(image.id) if other.name == name.name]
        if all(other.digest for other in left):
            for other in left:
                self._untag(image, other, removal)

    def _refuse_last_name(self, text: str, image: Image) -> None:
        uses = self._in_use(image.id)
        if uses:
            raise Conflict(
                f'conflict: unable to remove repository reference "{text}" (must force) - container '
                f"{uses[0].container_id[:12]} is using its referenced image {short(image.id)}"
            )

    def _untag(self, image: Image, name: Reference, removal: Removal) -> None:
        self._catalog.untag(name)
        removal.records.append({"Untagged": name.familiar})
        self._publish("image", "untag", image.id, {**image.labels, "name": image.id})

    async def _delete(
        self, image: Image, removal: Removal, *, force: bool, prune_parents: bool, quiet: bool
    ) -> None:
        obstacle = self._obstacle(image, names=not force, stopped=not force)
        if obstacle:
            # One that others are made from is a step on the way, which may well stay.
            dangling = not self._catalog.references(image.id) and not self._catalog.children(image.id)
            if quiet and (not dangling or obstacle.used):
                return
            raise _conflict(image, obstacle)
        for name in self._catalog.references(image.id):
            self._untag(image, name, removal)
        self._catalog.delete(image.id)
        self._publish("image", "delete", image.id, {**image.labels, "name": image.id})
        removal.records.append({"Deleted": image.id})
        await self._collect(removal)
        if prune_parents and image.parent in self._catalog.ids():
            parent = self._catalog.get(image.parent)
            await self._delete(parent, removal, force=False, prune_parents=True, quiet=True)

    async def _collect(self, removal: Removal) -> None:
        gone = await self._collector.collect()
        removal.records += [{"Deleted": layer.chain_id} for layer in gone.layers]
        removal.bytes_freed += gone.size_bytes

    def _obstacle(self, image: Image, *, names: bool, stopped: bool) -> _Obstacle | None:
        if self._catalog.children(image.id):
            return _Obstacle("image has dependent child images", hard=True)
        uses = self._in_use(image.id)
        for use in uses:
            if use.running:
                reason = f"image is being used by running container {use.container_id[:12]}"
                return _Obstacle(reason, hard=True, used=True)
        if names and self._catalog.references(image.id):
            return _Obstacle("image is referenced in multiple repositories", hard=False)
        if stopped and uses:
            reason = f"image is being used by stopped container {uses[0].container_id[:12]}"
            return _Obstacle(reason, hard=False, used=True)
        return None

    async def prune(self, candidates: Sequence[Image], *, only_dangling: bool) -> Removal:
        """Removes those candidates that no container uses; with tags too unless only_dangling. Of one that is
        used, all names but the last go, as with Docker."""
        removal = Removal([])
        for image in candidates:
            names = self._catalog.references(image.id)
            if only_dangling and any(not name.digest for name in names):
                continue
            used = bool(self._in_use(image.id))
            while (names := self._catalog.references(image.id)) and not (used and _one_repository(names)):
                self._remove_name(image, names[0], removal)
            if not used and not self._catalog.children(image.id):
                await self._delete(image, removal, force=False, prune_parents=True, quiet=True)
        # Also what a failed pull left for the next one.
        await self._collect(removal)
        return removal


def _is_id(text: str, image: Image) -> bool:
    """Whether the user meant the id. What could be both is a name if the image has that name."""
    written = text.removeprefix("sha256:")
    if not written or not image.id.removeprefix("sha256:").startswith(written):
        return False
    whole = text != written or len(text) == 64
    return whole or references.parse(text).with_default_tag().familiar not in image.tags


def _one_repository(names: Sequence[Reference]) -> bool:
    """At most one tag, and whatever else is a digest of the same repository."""
    return len({name.name for name in names}) <= 1 and sum(not name.digest for name in names) <= 1


def _conflict(image: Image, obstacle: _Obstacle) -> Conflict:
    forced = "cannot be forced" if obstacle.hard else "must be forced"
    return Conflict(f"conflict: unable to delete {short(image.id)} ({forced}) - {obstacle.reason}")
