"""The door to images. Everything else in this package is behind it.

<data root>/content/     configs and layer recipes by digest (content/store.py)
<data root>/<driver>/    file systems of layers and containers (snapshots/index.py)
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wherryd import later
from wherryd.content.store import ContentStore
from wherryd.errors import Conflict, EngineError, InvalidParameter, NotFound
from wherryd.images import changed, platforms, views
from wherryd.images import filters as selection
from wherryd.images import reference as references
from wherryd.images.catalog import ImageCatalog
from wherryd.images.collecting import Collector
from wherryd.images.compare import Changes, compare
from wherryd.images.filters import Filters
from wherryd.images.image import Image, ImageUse, InUse, Progress, Publish
from wherryd.images.importing import import_tar
from wherryd.images.layers import Layer, LayerStore
from wherryd.images.leases import Expiry, Leases
from wherryd.images.origins import Origins
from wherryd.images.removing import ImageRemover
from wherryd.images.stubs import ENGINE_MOUNT_POINTS, find_stubs
from wherryd.images.threads import iterate
from wherryd.images.together import uninterrupted
from wherryd.metadata.database import Database
from wherryd.registry.credentials import ANONYMOUS, Credentials
from wherryd.registry.service import Registry
from wherryd.snapshots.drivers import open_driver
from wherryd.snapshots.protocol import Kind
from wherryd.spec.mount import Mount

if TYPE_CHECKING:
    from wherryd.images import loading, pulling, pushing, saving, summaries
else:
    loading = later.module("wherryd.images.loading")
    pulling = later.module("wherryd.images.pulling")
    pushing = later.module("wherryd.images.pushing")
    saving = later.module("wherryd.images.saving")
    summaries = later.module("wherryd.images.summaries")

log = logging.getLogger(__name__)

Document = dict[str, Any]
Documents = list[Document]
NO_FILTERS: Filters = {}


def _nobody(_image_id: str) -> Sequence[ImageUse]:
    return ()


class ImageService:
    """Construct, then `await open()`. `in_use` is set later, by who knows the containers."""

    def __init__(
        self,
        *,
        data_root: Path,
        database: Database,
        storage_driver: str = "",
        storage_options: Sequence[str] = (),
        publish: Publish,
        registry: Registry | None = None,
    ) -> None:
        """storage_driver, storage_options: see snapshots/drivers.py; "" is the best that works here.

        Raises InvalidParameter.
        """
        self._content = ContentStore(data_root / "content")
        self._snapshotter = open_driver(data_root, storage_driver, storage_options)
        self._catalog = ImageCatalog(database, self._content)
        self._layers = LayerStore(database, self._content, self._snapshotter)
        self._origins = Origins(database)
        self._registry = registry or Registry()
        self._publish = publish
        self.in_use: InUse = _nobody
        self._freeing: set[asyncio.Task[None]] = set()
        self._pruning = asyncio.Lock()
        self._leases = Leases(database)
        self._collector = Collector(
            database, self._content, self._snapshotter, self._catalog, self._layers, self._leases
        )
        self._expiry = Expiry(self._leases, self._collector.collect_expired)
        self._remover = ImageRemover(
            self._catalog, self._collector, publish, lambda image_id: self.in_use(image_id)
        )

    @cached_property
    def _puller(self) -> "pulling.Puller":
        return pulling.Puller(
            self._catalog,
            self._layers,
            self._content,
            self._origins,
            self._leases,
            self._registry,
            self._publish,
        )

    @cached_property
    def _pusher(self) -> "pushing.Pusher":
        return pushing.Pusher(
            self._catalog, self._layers, self._content, self._origins, self._registry, self._publish
        )

    @cached_property
    def _summaries(self) -> "summaries.Summaries":
        def containers(image_id: str) -> list[str]:
            return [use.container_id for use in self.in_use(image_id)]

        return summaries.Summaries(self._catalog, self._layers, self._content, self._origins, containers)

    @property
    def storage_driver(self) -> str:
        return self._snapshotter.name

    async def open(self) -> None:
        """Sweeps what an earlier process left and neither an image nor a container refers to."""
        await self._collector.open()
        self._expiry.start()

    async def close(self) -> None:
        """Nothing is held open; imports under way end with the requests they belong to."""
        await self._expiry.stop()
        await asyncio.gather(*self._freeing)

    # archives

    def import_tar(
        self,
        source: AsyncIterator[bytes] | str,
        *,
        reference: str | None,
        message: str = "",
        changes: Sequence[str] = (),
        platform: str = "",
    ) -> AsyncIterator[Progress]:
        """Progress lines, the last one {"status": image id}. source: the archive, or a URL of one.

        Raises InvalidParameter, SystemFault; with a URL also NotFound, Unavailable.
        """
        return import_tar(
            source,
            catalog=self._catalog,
            layers=self._layers,
            publish=self._publish,
            reference=references.from_query(reference or "", ""),
            message=message,
            changes=changes,
            platform=platform,
        )

    def load(
        self, stream: AsyncIterator[bytes], quiet: bool = False, platform: str = ""
    ) -> AsyncIterator[Progress]:
        """Progress lines. Raises InvalidParameter, NotFound, SystemFault."""
        return loading.Loader(self._catalog, self._layers, self._content, self._origins, self._publish).load(
            stream, quiet, platform
        )

    def pull(
        self, reference: str, *, tag: str = "", platform: str = "", credentials: Credentials = ANONYMOUS
    ) -> AsyncIterator[Progress]:
        """Progress lines. tag: or digest; without any, here or in the reference, all tags are pulled.

        Raises InvalidParameter, NotFound, Unauthorized, Unavailable, NotSupported, SystemFault.
        """
        name = references.parse(reference)
        if tag.startswith("sha256:"):
            name = references.parse(f"{name.name}@{tag}")
        elif tag:
            name = name.with_tag(tag)
        return self._puller.pull(name, platform, credentials)

    def push(
        self, reference: str, *, tag: str = "", platform: str = "", credentials: Credentials = ANONYMOUS
    ) -> AsyncIterator[Progress]:
        """Progress lines. Without a tag, here or in the reference, all tags of the repository are pushed.

        Raises InvalidParameter, NotFound, Unauthorized, Forbidden, Unavailable, SystemFault.
        """
        name = references.parse(reference)
        if name.digest:
            raise InvalidParameter("cannot push a digest reference; give a name and a tag")
        if tag:
            name = name.with_tag(tag)
        found = [
            (tagged, self._catalog.resolve(tagged.canonical))
            for tagged, _ in self._catalog.repository(name)
            if tagged.tag and name.tag in ("", tagged.tag)
        ]
        if not found:
            raise NotFound(f"An image does not exist locally with the tag: {name.familiar}")
        return self._pusher.push(found, credentials, platforms.parse(platform) if platform else None)

    def save(self, wanted: Sequence[str], platform: str = "") -> AsyncIterator[bytes]:
        """The archive. Every name is looked up at the call: NotFound comes before the first byte.

        platform: which the images must be for, and of an index the one to take; "" takes all that is here.
        """
        only = platforms.parse(platform) if platform else None
        chosen = saving.choose(self._catalog, wanted, only)
        for entry in chosen:
            image_id = entry.image.id
            self._publish("image", "save", image_id, {**entry.image.labels, "name": image_id})
        return iterate(saving.Saver(self._catalog, self._layers, self._content, self._origins).save(chosen))

    # names

    def resolve(self, reference_or_id: str, platform: str = "") -> Image:
        """platform: os[/architecture[/variant]] that the image must be for, and of an index the one to take;
        "" is what runs here best of what is here.

        Raises NotFound "No such image: mysql:demo", InvalidParameter "invalid reference format".
        """
        wanted = platforms.parse(platform) if platform else None
        return self._catalog.resolve(reference_or_id, wanted)

    def platform_ids(self, image: Image) -> set[str]:
        """Ids of the image and of the other platforms of its index that are here."""
        stored = self._catalog.index(image.index)
        return {image.id, *(stored.images.values() if stored else ())}

    def descriptor(self, image: Image) -> Document:
        """Of the index or the manifest that the image's name stands for. OCI descriptor."""
        return self._summaries.descriptor(image)

    def manifest_descriptor(self, image: Image) -> Document:
        """Of the image's own manifest, with its platform."""
        return self._summaries.manifest_descriptor(image)

    def manifests(self, image: Image) -> Documents:
        """Engine API, ImageManifestSummary: of an index all that it lists, also what is not here."""
        return self._summaries.manifests(image)

    def inspect(self, image: Image) -> Document:
        stack = self._layers.stack(image.chain_id)
        directories = [self._snapshotter.place(layer.chain_id) for layer in stack]
        tagged_at = self._catalog.last_tagged(image.id)
        return views.inspect(image, stack, self.storage_driver, directories, tagged_at)

    def history(self, image: Image) -> Documents:
        return views.history(image, self._layers.stack(image.chain_id), {image.id: image.tags})

    def tag(self, image: Image, reference: str) -> None:
        """Raises InvalidParameter."""
        name = references.from_query(reference, "")
        if name is None:
            raise InvalidParameter("invalid reference format; give the new name")
        # With its index, of which the image may be another platform's.
        self._catalog.tag(name, image.id, image.index)
        self._publish("image", "tag", image.id, {**image.labels, "name": name.familiar})

    async def remove(
        self, reference: str, *, force: bool = False, noprune: bool = False
    ) -> list[dict[str, str]]:
        """Docker's list of Untagged and Deleted. Raises NotFound, Conflict."""
        removal = await self._remover.remove(reference, force=force, prune_parents=not noprune)
        return removal.records

    async def remove_platforms(
        self, reference: str, wanted: Sequence[str], *, force: bool = False
    ) -> list[dict[str, str]]:
        """Of an index only these platforms. Raises NotFound, Conflict, InvalidParameter."""
        parsed = [platforms.parse(each) for each in wanted]
        return (await self._remover.remove_platforms(reference, parsed, force=force)).records

    async def prune(self, filters: Filters = NO_FILTERS) -> Document:
        """{"ImagesDeleted": [...], "SpaceReclaimed": bytes}. Raises InvalidParameter, and Conflict while
        another one is at it."""
        selection.check_keys(filters, selection.PRUNE_KEYS)
        if len(filters.get("until", ())) > 1:
            raise InvalidParameter("more than one until filter specified")
        if self._pruning.locked():
            raise Conflict("a prune operation is already running")
        async with self._pruning:
            return await self._prune(filters)

    async def _prune(self, filters: Filters) -> Document:
        only_dangling = selection.flag(filters, "dangling") is not False
        others = {key: values for key, values in filters.items() if key != "dangling"}
        if not others:
            self._leases.release_abandoned()
        candidates = selection.select(self._catalog.all(), others, self.resolve)
        removal = await self._remover.prune(candidates, only_dangling=only_dangling)
        self._publish("image", "prune", "", {"reclaimed": str(removal.bytes_freed)})
        return {"ImagesDeleted": removal.records or None, "SpaceReclaimed": removal.bytes_freed}

    async def remove_dangling(self, image: Image) -> int | None:
        """Bytes freed; None when it has a name, a container or an image on it, and stays."""
        if self._catalog.references(image.id):
            return None
        removal = await self._remover.prune([image], only_dangling=True)
        return removal.bytes_freed if removal.records else None

    def disk_usage(self) -> tuple[Documents, int]:
        """(image summaries with SharedSize and Containers, bytes of all layers)."""
        return self.list(shared_size=True, containers=True), self._layers.total_bytes()

    def count(self) -> int:
        return self._catalog.count()

    def list(
        self,
        *,
        all_images: bool = False,
        filters: Filters = NO_FILTERS,
        shared_size: bool = False,
        containers: bool = False,
        with_manifests: bool = False,
        with_descriptors: bool = False,
    ) -> Documents:
        """Docker's image summaries, newest first; those of an index are one. Raises InvalidParameter,
        NotFound."""
        selection.check_keys(filters, selection.LIST_KEYS)
        everything = self._catalog.all()
        parents = {image.parent for image in everything}
        stacks = {image.id: self._stacks(image) for image in everything if not image.is_part}
        shared: dict[str, int] = {}
        if shared_size:
            shared = views.shared_bytes(stacks)
        documents = []
        for image in sorted(
            selection.select(everything, filters, self.resolve), key=selection.age_ns, reverse=True
        ):
            if image.is_part:
                continue
            if not all_images and not image.tags and not image.digests and image.id in parents:
                continue  # a step on the way to another image
            shown = replace(
                image,
                tags=selection.matching_names(image, filters),
                size_bytes=sum(layer.size_bytes for layer in stacks[image.id]),
            )
            used_by = len(self._uses(image)) if containers else -1
            document = views.summary(shown, shared_bytes=shared.get(image.id, -1), containers=used_by)
            if with_manifests:
                document["Manifests"] = self.manifests(image)
            if with_descriptors:
                document["Descriptor"] = self.descriptor(image)
            documents.append(document)
        return documents

    def _uses(self, image: Image) -> Sequence[ImageUse]:
        """Also of the other platforms of its index."""
        return [use for each in (image.id, *self._catalog.companions(image.id)) for use in self.in_use(each)]

    def _stack(self, image: Image) -> Sequence[Layer]:
        return self._layers.stack(image.chain_id)

    def _stacks(self, image: Image) -> Sequence[Layer]:
        """Layers of the image and of the other platforms of its index, each once."""
        found = {layer.chain_id: layer for layer in self._stack(image)}
        for other in self._catalog.companions(image.id):
            found |= {layer.chain_id: layer for layer in self._stack(self._catalog.get(other))}
        return list(found.values())

    def layer(self, image: Image, number: int) -> Layer:
        """number: from 0, the lowest. Raises NotFound."""
        return self._stack(image)[number]

    def changed_paths(self, image: Image, base: Image | None) -> set[str]:
        """Paths, without a leading slash, that layers above the base name, also those that they take away.
        For a thread: it reads those layers. Raises SystemFault for a damaged one."""
        found: set[str] = set()
        for layer in self._stack(image)[len(self._stack(base)) if base else 0 :]:
            found |= changed.paths(self._layers.archive(layer))
        return found

    # root file systems of containers

    async def prepare_rootfs(self, container_id: str, image: Image | None) -> tuple[Mount, ...]:
        """A writable file system on the image's layers, None: an empty one. Raises Conflict when the
        container has one."""
        return await self._made(self._snapshotter.prepare, container_id, image.chain_id if image else "")

    async def view_rootfs(self, key: str, image: Image) -> tuple[Mount, ...]:
        """The image's files to read from, until `remove_rootfs(key)`."""
        return await self._made(self._snapshotter.view, key, image.chain_id)

    async def _made(
        self, make: Callable[[str, str], tuple[Mount, ...]], key: str, parent: str
    ) -> tuple[Mount, ...]:
        async with self._layers.sweeping:
            if self._snapshotter.prepares_at_once:
                return make(key, parent)
            try:
                return await uninterrupted(asyncio.to_thread(make, key, parent))
            except asyncio.CancelledError:
                # Whoever asked has gone without it.
                await uninterrupted(asyncio.to_thread(self._snapshotter.remove, key))
                raise

    async def rootfs_mounts(self, container_id: str) -> tuple[Mount, ...]:
        """Raises NotFound."""
        return self._snapshotter.mounts(container_id)

    async def rootfs_view(self, container_id: str) -> tuple[Mount, ...]:
        """The same files, only to be read; also while the container runs. Raises NotFound."""
        return tuple(map(_read_only, self._snapshotter.mounts(container_id)))

    async def remove_rootfs(self, container_id: str) -> None:
        """Idempotent. Layers of an image that was removed while the container lived go with it."""
        try:
            parent = self._snapshotter.stat(container_id).parent
        except NotFound:
            return
        free = self._snapshotter.set_aside(container_id)
        if free is None:
            await uninterrupted(asyncio.to_thread(self._snapshotter.remove, container_id))
        else:
            self._free_later(free)
        if parent and not self._collector.is_live(parent):
            await self._collector.collect()

    def _free_later(self, free: Callable[[], None]) -> None:
        """Deleting many files takes a while; whoever removes a container need not wait for it."""

        async def work() -> None:
            try:
                await asyncio.to_thread(free)
            except (EngineError, OSError) as exc:
                log.warning("a removed container's files stay until the next start: %s", exc)

        task = asyncio.create_task(work())
        self._freeing.add(task)
        task.add_done_callback(self._freeing.discard)

    def pinned(self) -> AbstractContextManager[set[str]]:
        """For `commit_rootfs`: its layers stay until the end, also before an image has them."""
        return self._layers.pinned()

    async def commit_rootfs(
        self,
        container_id: str,
        pins: set[str],
        *,
        newest_seconds: int | None = None,
        mount_points: Collection[str] = (),
    ) -> Layer | None:
        """What was written becomes a layer, None when nothing was. Nothing runs in it any more;
        `remove_rootfs` is still due.

        mount_points: paths that were mounted on; what was made for that alone goes.
        """
        return await self._layers.commit_snapshot(
            container_id, pins, newest_seconds=newest_seconds, mount_points=mount_points
        )

    async def copy_rootfs(self, container_id: str, pins: set[str]) -> Layer | None:
        """What was written, without what was made for the engine's own mounts, becomes a layer of its own;
        None when nothing was. The container goes on."""
        return await self._layers.copy_snapshot(container_id, pins, mount_points=ENGINE_MOUNT_POINTS)

    async def rootfs_changes(self, container_id: str) -> Changes:
        """What was written, path by path. Raises NotFound."""
        written = self._layers.written(container_id)
        left_out = await asyncio.to_thread(find_stubs, written.directory, written.below, ENGINE_MOUNT_POINTS)
        return await asyncio.to_thread(
            compare, written.directory, written.whiteouts, written.below, frozenset(left_out)
        )

    def add(self, config: Document, *, layer: Layer | None, parent: Image | None) -> Image:
        """Stores an image on its uppermost layer; on the parent's where it has no layer of its own."""
        top = layer.chain_id if layer else parent.chain_id if parent else ""
        data = json.dumps(config, separators=(",", ":"), sort_keys=True).encode()
        image_id = self._catalog.add(
            data,
            top_layer=top,
            size_bytes=(parent.size_bytes if parent else 0) + (layer.size_bytes if layer else 0),
            parent=parent.id if parent else "",
        )
        return self._catalog.get(image_id)

    async def keep_rootfs(self, container_ids: Collection[str]) -> None:
        """At start only: removes the file systems of containers that are not among these."""
        for info in list(self._snapshotter.walk()):
            if info.kind is not Kind.COMMITTED and info.key not in container_ids:
                await self.remove_rootfs(info.key)
        await asyncio.gather(*self._freeing)

    async def rootfs_usage(self, container_id: str) -> int:
        """Bytes the container wrote (SizeRw). Raises NotFound."""
        usage = await asyncio.to_thread(self._snapshotter.usage, container_id)
        return usage.size_bytes


def _read_only(mount: Mount) -> Mount:
    """An overlay whose upper layer is the uppermost of the lower ones: it is written to elsewhere."""
    if mount.type != "overlay":
        return replace(mount, options=("rbind", "ro"))
    given = dict(option.partition("=")[::2] for option in mount.options)
    lower = ":".join(filter(None, (given.get("upperdir", ""), given["lowerdir"])))
    kept = [option for option in mount.options if option.partition("=")[2] == "off"]
    return replace(mount, options=(f"lowerdir={lower}", *kept))
