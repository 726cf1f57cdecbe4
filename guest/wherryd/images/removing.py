"""`rmi` and `prune`: Docker's rules for what may go, in its words.

Source: docker image rm and prune references; Engine API, DELETE /images/{name} and POST /images/prune.

Names go first. An image goes when its last name went, or when it is named by id; what refers to it stands
in the way: hard (a running container, an image made from it) or soft (a stopped container, more than one
name), and `force` overcomes the soft ones. Who names it by its last name has removed the name in any case:
what then stands in the way is no error, and the image stays without a name.

The images of an index are one image with several platforms: they go together with its last name, and what
uses one of them uses it. `platforms` takes single ones out of it, and so does the id of one that is not
shown.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wherryd.content.digest import short
from wherryd.errors import Conflict
from wherryd.images import reference as references
from wherryd.images.catalog import ImageCatalog
from wherryd.images.collecting import Collector
from wherryd.images.image import Image, ImageUse, InUse, Platform, Publish
from wherryd.images.reference import Reference

_HEX = re.compile(r"(?:sha256:)?[0-9a-f]{1,64}")


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
        by_id = self._is_id(text, image)
        if by_id and image.is_part:
            return await self._take_out(image, Removal([]), force=force)
        names = self._catalog.own_references(image.id)
        others = self._catalog.companions(image.id)
        removal = Removal([])
        if by_id:
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
            quiet = True
        if by_id or not self._catalog.references(image.id):
            await self._delete(image, removal, force=force, prune_parents=prune_parents, quiet=quiet)
        await self._delete_nameless(others, removal, force=force, prune_parents=prune_parents)
        return removal

    async def remove_platforms(self, text: str, wanted: Sequence[Platform], *, force: bool) -> Removal:
        """Of the image's index only these. Raises NotFound, Conflict."""
        image = self._catalog.resolve(text)
        removal = Removal([])
        chosen = [self._catalog.of_platform(image, platform, text, strict=True) for platform in wanted]
        if not image.index:
            return await self.remove(text, force=force, prune_parents=True)
        for each in {one.id: one for one in chosen}.values():
            await self._take_out(each, removal, force=force)
        return removal

    async def _take_out(self, image: Image, removal: Removal, *, force: bool) -> Removal:
        """One platform's image out of its index; with the last one goes the index."""
        names = self._catalog.references(image.id)
        last = [name for name in names if self._others(image, name) == set()]
        elsewhere = not _one_repository(last) or any(self._others(image, name) is None for name in names)
        obstacle = self._obstacle(image, names=elsewhere and not force, stopped=not force, companions=False)
        if obstacle:
            raise _conflict(image, obstacle)
        for name in last:
            self._untag(image, name, removal)
        await self._drop(image, removal)
        return removal

    def _others(self, image: Image, name: Reference) -> set[str] | None:
        """Images that the name stands for beside this one; None where it stands for no index."""
        found = self._catalog.index(self._catalog.resolve(name.canonical).index)
        return None if found is None else set(found.images.values()) - {image.id}

    async def _drop(self, image: Image, removal: Removal) -> None:
        self._catalog.delete(image.id)
        self._publish("image", "delete", image.id, {**image.labels, "name": image.id})
        removal.records.append({"Deleted": image.id})
        await self._collect(removal)

    async def _delete_nameless(
        self, image_ids: Sequence[str], removal: Removal, *, force: bool, prune_parents: bool
    ) -> None:
        """What was kept by the names that went, and by nothing else."""
        for image_id in image_ids:
            if image_id in self._catalog.ids() and not self._catalog.references(image_id):
                other = self._catalog.get(image_id)
                await self._delete(other, removal, force=force, prune_parents=prune_parents, quiet=True)

    def _is_id(self, text: str, image: Image) -> bool:
        """Whether the user meant the id, or the digest of a manifest. What could be both is a name if the
        image has that name."""
        if not _HEX.fullmatch(text):
            return False
        whole = text.startswith("sha256:") or len(text) == 64
        return whole or references.parse(text).with_default_tag().familiar not in image.tags

    def _remove_name(self, image: Image, name: Reference, removal: Removal) -> None:
        """With a repository's last tag go its digests."""
        self._untag(image, name, removal)
        if name.digest:
            return
        left = [other for other in self._catalog.own_references(image.id) if other.name == name.name]
        if all(other.digest for other in left):
            for other in left:
                self._untag(image, other, removal)

    def _refuse_last_name(self, text: str, image: Image) -> None:
        uses = self._uses(image)
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
        for name in self._catalog.own_references(image.id):
            self._untag(image, name, removal)
        await self._drop(image, removal)
        if prune_parents and image.parent in self._catalog.ids():
            parent = self._catalog.get(image.parent)
            await self._delete(parent, removal, force=False, prune_parents=True, quiet=True)

    async def _collect(self, removal: Removal) -> None:
        gone = await self._collector.collect()
        removal.records += [{"Deleted": layer.chain_id} for layer in gone.layers]
        removal.bytes_freed += gone.size_bytes

    def _uses(self, image: Image) -> list[ImageUse]:
        """Of the image, and of what is shown with it."""
        return [use for each in (image.id, *self._catalog.companions(image.id)) for use in self._in_use(each)]

    def _obstacle(
        self, image: Image, *, names: bool, stopped: bool, companions: bool = True
    ) -> _Obstacle | None:
        if self._catalog.children(image.id):
            return _Obstacle("image has dependent child images", hard=True)
        uses = self._uses(image) if companions else self._in_use(image.id)
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
            names = self._catalog.own_references(image.id)
            if image.is_part or (only_dangling and any(not name.digest for name in names)):
                continue
            used, others = bool(self._uses(image)), self._catalog.companions(image.id)
            while (names := self._catalog.own_references(image.id)) and not (used and _one_repository(names)):
                self._remove_name(image, names[0], removal)
            if self._catalog.references(image.id):
                continue
            if not used and not self._catalog.children(image.id):
                await self._delete(image, removal, force=False, prune_parents=True, quiet=True)
            await self._delete_nameless(others, removal, force=False, prune_parents=True)
        # Also what a failed pull left for the next one.
        await self._collect(removal)
        return removal


def _one_repository(names: Sequence[Reference]) -> bool:
    """At most one tag, and whatever else is a digest of the same repository."""
    return len({name.name for name in names}) <= 1 and sum(not name.digest for name in names) <= 1


def _conflict(image: Image, obstacle: _Obstacle) -> Conflict:
    forced = "cannot be forced" if obstacle.hard else "must be forced"
    return Conflict(f"conflict: unable to delete {short(image.id)} ({forced}) - {obstacle.reason}")
