"""Collection: what no image, container or piece of work under way refers to goes. Mark and sweep.

    roots    images (their config, their layers), indexes (their attestations), containers' snapshots
             (their parents), and leases: what `LayerStore.pinned` holds while an import, a pull or a build
             has no image yet, and what an interrupted pull left for the next one (leases.py)
    marked   every layer below a root, with its recipe
    swept    rows, snapshots, blobs and beginnings of blobs that were not marked

What a killed engine was making for anything else than a pull is nobody's when the next one opens, and goes.

Rows go first, and durably: a power cut must not bring back a row whose files are gone, while files without
a row are found again by the next collection.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wherryd.content.store import ContentStore
from wherryd.errors import EngineError
from wherryd.images.catalog import ImageCatalog
from wherryd.images.layers import PASSING, Layer, LayerStore
from wherryd.images.leases import Kind as Leased
from wherryd.images.leases import Leases
from wherryd.images.origins import Origins
from wherryd.metadata.database import Database
from wherryd.snapshots.protocol import Kind, Snapshotter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Collected:
    """What went. partial_bytes: of beginnings of blobs."""

    layers: list[Layer]
    partial_bytes: int

    @property
    def size_bytes(self) -> int:
        return sum(layer.size_bytes for layer in self.layers) + self.partial_bytes


class Collector:
    def __init__(
        self,
        database: Database,
        content: ContentStore,
        snapshotter: Snapshotter,
        catalog: ImageCatalog,
        layers: LayerStore,
        leases: Leases,
    ) -> None:
        self._database = database
        self._content = content
        self._snapshotter = snapshotter
        self._catalog = catalog
        self._layers = layers
        self._leases = leases
        self._origins = Origins(database)

    async def open(self) -> None:
        """At start, before anything is made: what an earlier process was unpacking or building, images that
        are not whole any more, and then a collection."""
        for info in list(self._snapshotter.walk()):
            if info.kind is not Kind.COMMITTED and info.key.startswith(PASSING):
                await asyncio.to_thread(self._snapshotter.remove, info.key)
        self._drop_broken()
        self._leases.expire()
        await self.collect()
        self._origins.forget_orphans()

    async def collect(self) -> Collected:
        """Removes what is not marked."""
        async with self._layers.committing, self._layers.sweeping:
            live = self.live(self._catalog.tops())
            gone = await asyncio.to_thread(self._sweep_layers, live)
            partial_bytes = self._content.sweep_partials(self._leases.items(Leased.PARTIAL))
            # In one turn of the loop, and with no layer being committed: nobody adds a blob meanwhile.
            kept = self._catalog.ids() | self._layers.recipes() | self._catalog.indexes.documents()
            self._content.sweep(kept)
        return Collected(gone, partial_bytes)

    async def collect_expired(self) -> None:
        """When the time of a lease may be over."""
        if self._leases.expire():
            await self.collect()

    def live(self, tops: Iterable[str]) -> set[str]:
        """Chain ids that images with these uppermost layers, containers and leases need."""
        waiting = [*tops, *self._layers.leased(), *self._leases.items(Leased.LAYER)]
        waiting += [info.parent for info in self._snapshotter.walk() if info.kind is not Kind.COMMITTED]
        parents = {
            row["chain_id"]: row["parent"]
            for row in self._database.query("SELECT chain_id, parent FROM layers")
        }
        live: set[str] = set()
        while waiting:
            chain = waiting.pop()
            if chain and chain not in live:
                live.add(chain)
                waiting.append(parents.get(chain, ""))
        return live

    def is_live(self, chain: str) -> bool:
        return chain in self.live(self._catalog.tops())

    def _sweep_layers(self, live: set[str]) -> list[Layer]:
        """Uppermost first. A layer is its row and its snapshot together; half of one is garbage.

        But not as long as a container's file system lies on it: a power cut may take the row of a layer that
        is new, and no file of a container.
        """
        held = self._below_file_systems()
        rows = {row["chain_id"] for row in self._database.query("SELECT chain_id FROM layers")}
        committed = [info.key for info in self._snapshotter.walk() if info.kind is Kind.COMMITTED]
        snapshots = set(committed)
        doomed = [
            chain
            for chain in [*sorted(rows - snapshots), *reversed(committed)]
            if chain not in held and not (chain in live and chain in rows and chain in snapshots)
        ]
        if not doomed:
            return []
        gone = [layer for chain in doomed if (layer := self._layers.find(chain)) is not None]
        with self._database.transaction(durable=True) as cursor:
            cursor.executemany("DELETE FROM layers WHERE chain_id = ?", [(chain,) for chain in doomed])
        for chain in doomed:
            if chain in snapshots:
                self._snapshotter.remove(chain)
        return gone

    def _below_file_systems(self) -> set[str]:
        """Keys of the snapshots that others than layers lie on, whatever the rows say."""
        parents = {info.key: info.parent for info in self._snapshotter.walk()}
        waiting = [info.parent for info in self._snapshotter.walk() if info.kind is not Kind.COMMITTED]
        found: set[str] = set()
        while waiting:
            key = waiting.pop()
            if key and key not in found:
                found.add(key)
                waiting.append(parents[key])
        return found

    def _drop_broken(self) -> None:
        """An image whose config or layers are not on the disk any more is no image. Its names go with it, but
        those of an index of which another platform is whole."""
        self._catalog.indexes.forget_missing()
        snapshots = {info.key for info in self._snapshotter.walk() if info.kind is Kind.COMMITTED}
        for image_id, top in self._catalog.tops_by_id().items():
            problem = self._problem(image_id, top, snapshots)
            if problem:
                names = ", ".join(name.familiar for name in self._catalog.references(image_id)) or "no name"
                log.error("image %s (%s) is removed: %s; pull or load it again", image_id, names, problem)
                self._catalog.delete(image_id)

    def _problem(self, image_id: str, top: str, snapshots: set[str]) -> str:
        if not self._content.has(image_id):
            return "its config is not on the disk any more"
        try:
            stack: Sequence[Layer] = self._layers.stack(top)
        except EngineError as exc:
            return str(exc)
        for layer in stack:
            if layer.chain_id not in snapshots:
                return f"the files of layer {layer.chain_id} are not on the disk any more"
            if not self._content.has(layer.recipe):
                return f"the recipe of layer {layer.chain_id} is not on the disk any more"
        return ""
