"""Layers: a row, a committed snapshot named by its chain id, and the recipe of its archive.

    row        layers(chain_id, parent, diff_id, size_bytes, tar_bytes, recipe)
    snapshot   name = chain id
    recipe     a blob in the content store

They are made in the order recipe, snapshot, row, and go in the order row, snapshot, recipe: what an
interrupted step leaves has no row, and collecting.py removes it.
"""

import asyncio
import contextlib
import functools
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from wherryd import later
from wherryd.content import digest as digests
from wherryd.content.store import BlobWriter, ContentStore
from wherryd.errors import InvalidParameter, KernelFault, NotFound, SystemFault
from wherryd.images.stubs import find_stubs, remove_stubs
from wherryd.images.together import Turns, uninterrupted
from wherryd.images.unpack.process import Unpacked, Unpacking
from wherryd.metadata.database import Database
from wherryd.snapshots.protocol import Snapshotter, Whiteouts
from wherryd.sys import paths

if TYPE_CHECKING:
    from wherryd.images import diff as diffs
    from wherryd.images.unpack import recipe as recipes
else:
    diffs = later.module("wherryd.images.diff")
    recipes = later.module("wherryd.images.unpack.recipe")

# Keys of layers under way, and of what a build writes to and looks at. A container's id is hexadecimal, so it
# never begins like one of these.
UNPACKING, BUILDING, VIEWING = "unpack-", "build-", "view-"
#: Of no use to the next process.
PASSING = (UNPACKING, BUILDING, VIEWING)


@dataclass(frozen=True, slots=True)
class Layer:
    """parent: chain id below or "". size_bytes: of its files. tar_bytes: of its uncompressed archive."""

    chain_id: str
    parent: str
    diff_id: str
    size_bytes: int
    tar_bytes: int
    recipe: str


@dataclass(frozen=True, slots=True)
class Written:
    """Where a writable snapshot's files are. below: directories of the layers under it, uppermost first."""

    directory: Path
    whiteouts: Whiteouts
    below: Sequence[Path]


def chain_id(parent: str, diff_id: str) -> str:
    """OCI image-spec, "Layer ChainID"."""
    if not parent:
        return diff_id
    return digests.of(f"{parent} {diff_id}".encode())


def chain_ids(diff_ids: Iterable[str]) -> list[str]:
    """Lowest first."""
    chains: list[str] = []
    for diff_id in diff_ids:
        chains.append(chain_id(chains[-1] if chains else "", diff_id))
    return chains


class LayerStore:
    def __init__(self, database: Database, content: ContentStore, snapshotter: Snapshotter) -> None:
        self._database = database
        self._content = content
        self._snapshotter = snapshotter
        #: Held while a layer becomes one, and by a collection.
        self.committing = asyncio.Lock()
        #: Held while layers go; who starts to use a layer that is there holds it for that step. Not the
        #: same as the one above: a commit waits for the disk, and a container start must not wait for it.
        self.sweeping = asyncio.Lock()
        self._pins: list[set[str]] = []
        #: By chain id: who wants a layer that another is making waits, and finds it there.
        self.turns = Turns()

    def get(self, chain: str) -> Layer:
        """Raises NotFound."""
        rows = self._database.query("SELECT * FROM layers WHERE chain_id = ?", (chain,))
        if not rows:
            raise NotFound(f"no layer {chain}; import or load the image again")
        row = rows[0]
        return Layer(
            row["chain_id"],
            row["parent"],
            row["diff_id"],
            row["size_bytes"],
            row["tar_bytes"],
            row["recipe"],
        )

    def find(self, chain: str) -> Layer | None:
        try:
            return self.get(chain)
        except NotFound:
            return None

    def stack(self, top: str) -> list[Layer]:
        """The layers of an image, lowest first. Raises NotFound."""
        layers = []
        while top:
            layers.append(self.get(top))
            top = layers[-1].parent
        return layers[::-1]

    def total_bytes(self) -> int:
        return int(
            self._database.query("SELECT coalesce(sum(size_bytes), 0) AS total FROM layers")[0]["total"]
        )

    async def reuse(self, chain: str, pins: set[str]) -> bool:
        """Whether the layer is there already; it is pinned then."""
        async with self.sweeping:
            if self.find(chain) is None:
                return False
            pins.add(chain)
            return True

    # making

    @contextmanager
    def pinned(self) -> Iterator[set[str]]:
        """A lease: chain ids in this set survive a collection until the end; for layers whose image is not
        stored yet."""
        pins: set[str] = set()
        self._pins.append(pins)
        try:
            yield pins
        finally:
            self._pins = [other for other in self._pins if other is not pins]

    def leased(self) -> list[str]:
        """Chain ids of all leases."""
        return [chain for pins in self._pins for chain in pins]

    @asynccontextmanager
    async def unpacking(self, parent: str, pins: set[str]) -> AsyncIterator["LayerJob"]:
        """A layer under way; left without `commit`, nothing of it stays."""
        key = f"{UNPACKING}{secrets.token_hex(8)}"
        # Alone if it can be: then the layers below need not be there yet, only at the commit.
        base = "" if self.independent else parent
        job = None
        try:
            await uninterrupted(asyncio.to_thread(self._snapshotter.prepare, key, base))
            with self._content.writer() as recipe:
                target = self._snapshotter.unpack_target(key)
                job = LayerJob(
                    self, key, parent, await Unpacking.start(target, recipe.fileno()), recipe, pins
                )
                yield job
        finally:
            if job is None or not job.taken:
                await uninterrupted(self._give_up(key, job))

    async def _give_up(self, key: str, job: "LayerJob | None") -> None:
        if job is not None:
            await job.unpacking.abort()
        with contextlib.suppress(NotFound):  # it was not even prepared
            await asyncio.to_thread(self._snapshotter.remove, key)

    @property
    def independent(self) -> bool:
        """Whether a layer can be unpacked before the layers below it."""
        return self._snapshotter.independent_layers

    async def commit(self, job: "LayerJob", expected: str) -> Layer:
        unpacked = await job.finish()
        if expected and unpacked.diff_id != expected:
            raise InvalidParameter(
                f"layer has digest {unpacked.diff_id}, but the image's config says {expected}; "
                "the archive is damaged, get it again"
            )
        return await self._keep(
            job.parent,
            unpacked,
            job.recipe,
            job.pins,
            lambda chain: self._commit_unpacked(job, unpacked, chain),
        )

    async def commit_snapshot(
        self,
        key: str,
        pins: set[str],
        *,
        newest_seconds: int | None = None,
        mount_points: Collection[str] = (),
    ) -> Layer | None:
        """A container's writable snapshot, whose processes have ended, becomes a layer; None if it is empty.

        The key may be left (the same layer was there already): the caller removes it, as it would have
        had to anyway. newest_seconds: no file gets a younger time. mount_points: see `remove_stubs`.
        Raises NotFound, InvalidParameter.
        """
        parent, written = self._snapshotter.stat(key).parent, self.written(key)
        if mount_points:
            await asyncio.to_thread(remove_stubs, written.directory, written.below, mount_points)
        with self._content.writer() as recipe:
            sink = diffs.RecipeSink(recipe.fileno())
            work = functools.partial(
                diffs.diff,
                written.directory,
                written.whiteouts,
                written.below,
                sink,
                newest_seconds=newest_seconds,
            )
            size, sockets = await uninterrupted(asyncio.to_thread(work))
            found = sink.finish(size, sockets)
            if found.is_empty:
                return None
            # The layer is the same here as where it is pulled.
            await asyncio.to_thread(_unlink, written.directory, found.sockets)
            return await self._keep(
                parent, found, recipe, pins, lambda chain: self._snapshotter.commit(key, chain)
            )

    async def copy_snapshot(self, key: str, pins: set[str], *, mount_points: Collection[str]) -> Layer | None:
        """A copy of what the writable snapshot holds becomes a layer, and it goes on; None if it is empty.

        mount_points: what was made in the root for them alone is left out. Raises NotFound, InvalidParameter.
        """
        written = self.written(key)
        left_out = await asyncio.to_thread(find_stubs, written.directory, written.below, mount_points)
        loop = asyncio.get_running_loop()
        async with self.unpacking(self._snapshotter.stat(key).parent, pins) as job:
            sink = diffs.StreamSink(
                lambda data: asyncio.run_coroutine_threadsafe(job.feed(data), loop).result()
            )

            def send() -> None:
                diffs.diff(
                    written.directory, written.whiteouts, written.below, sink, left_out=frozenset(left_out)
                )
                sink.finish()

            work = asyncio.ensure_future(asyncio.to_thread(send))
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                # Its next piece finds nobody who takes it. The directory must not go while it reads.
                await job.unpacking.abort()
                await asyncio.wait([work])
                raise
            return None if sink.is_empty else await job.commit()

    def written(self, key: str) -> Written:
        """Raises NotFound."""
        parent = self._snapshotter.stat(key).parent
        target = self._snapshotter.unpack_target(key)
        stack = self.stack(parent)[::-1]
        if not self.independent:
            stack = stack[:1]  # the uppermost directory holds the files of all
        below = [self._snapshotter.layer_directory(each.chain_id) for each in stack]
        return Written(target.directory, target.whiteouts, below)

    async def _keep(
        self,
        parent: str,
        found: "Unpacked | diffs.Diff",
        recipe_writer: BlobWriter,
        pins: set[str],
        commit: Callable[[str], None],
    ) -> Layer:
        """The layer; its snapshot is committed by `commit` unless it was there already."""
        chain = chain_id(parent, found.diff_id)
        pins.add(chain)

        async def keep() -> Layer:
            async with self.committing:
                if known := self.find(chain):
                    return known
                recipe = await asyncio.to_thread(lambda: recipe_writer.commit(hash_again=True))
                await asyncio.to_thread(commit, chain)
                layer = Layer(chain, parent, found.diff_id, found.size_bytes, found.tar_bytes, recipe)
                with self._database.transaction() as cursor:
                    cursor.execute(
                        "INSERT INTO layers (chain_id, parent, diff_id, blob, size_bytes, tar_bytes, recipe)"
                        " VALUES (?, ?, ?, '', ?, ?, ?)",
                        (chain, layer.parent, layer.diff_id, layer.size_bytes, layer.tar_bytes, recipe),
                    )
                return layer

        # All of it or nothing: a snapshot without its row would stand in the way of the next attempt.
        return await uninterrupted(keep())

    def _commit_unpacked(self, job: "LayerJob", unpacked: Unpacked, chain: str) -> None:
        if not self.independent or not job.parent:
            self._snapshotter.commit(job.key, chain)
            job.taken = True
            return
        if not unpacked.root_entry:
            # The merged root shows the uppermost directory's owner and mode.
            below = self._snapshotter.layer_directory(job.parent).stat()
            root = self._snapshotter.unpack_target(job.key).directory
            os.chown(root, below.st_uid, below.st_gid)
            root.chmod(below.st_mode & 0o7777)
        self._snapshotter.commit(job.key, chain, job.parent)
        job.taken = True

    # reading

    def archive(self, layer: Layer) -> Iterator[bytes]:
        """The layer's uncompressed archive again. Raises SystemFault unless it is byte for byte the same."""
        with self._content.open(layer.recipe) as recipe:
            yield from archive_of(layer.diff_id, self._snapshotter.layer_directory(layer.chain_id), recipe)

    def recipes(self) -> set[str]:
        return {row["recipe"] for row in self._database.query("SELECT recipe FROM layers")}


@dataclass(slots=True)
class LayerJob:
    """One layer being unpacked: `feed` it the archive, then `commit`."""

    store: LayerStore
    key: str
    parent: str
    unpacking: Unpacking
    recipe: BlobWriter
    pins: set[str]
    taken: bool = False
    _unpacked: Unpacked | None = None

    async def feed(self, data: bytes) -> None:
        await self.unpacking.feed(data)

    async def finish(self) -> Unpacked:
        """The end of the archive; waits for the unpacker. May come before commit, when that has to wait."""
        if self._unpacked is None:
            self._unpacked = await self.unpacking.finish()
        return self._unpacked

    async def commit(self, expected: str = "") -> Layer:
        """Raises InvalidParameter when the archive is bad or its diff id is not the expected one."""
        return await self.store.commit(self, expected)


def _unlink(directory: Path, names: Iterable[str]) -> None:
    root = paths.open_root(str(directory))
    try:
        for name in names:
            folder, _, last = name.rpartition("/")
            resolve = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
            parent = paths.openat2(root, folder or ".", os.O_RDONLY | os.O_DIRECTORY, 0, resolve)
            try:
                os.unlink(last, dir_fd=parent)  # noqa: PTH108 - relative to a descriptor
            finally:
                os.close(parent)
    finally:
        os.close(root)


def archive_of(diff_id: str, directory: Path, recipe: BinaryIO) -> Iterator[bytes]:
    """Raises SystemFault unless it is byte for byte what diff_id is of; at its end, or before."""
    root = paths.open_root(str(directory))
    digest = hashlib.sha256()
    try:
        for data in recipes.replay(recipe, lambda path: _open_file(root, path)):
            digest.update(data)
            yield data
    except (recipes.DamagedRecipe, KernelFault) as exc:
        raise SystemFault(f"layer {diff_id} was damaged on disk: {exc}; load the image again") from exc
    finally:
        os.close(root)
    if "sha256:" + digest.hexdigest() != diff_id:
        raise SystemFault(f"layer {diff_id} was changed on disk; load the image again")


def _open_file(root: int, path: bytes) -> int:
    resolve = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
    return paths.openat2(root, os.fsdecode(path), os.O_RDONLY | os.O_NOFOLLOW, 0, resolve)
