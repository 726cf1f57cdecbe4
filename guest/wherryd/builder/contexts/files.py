"""The files of one context, for the steps of one build.

Those of a list are made only when a step has to be carried out that wants them: a build whose steps are all
in the cache makes none, and one whose last step changed makes that step's.
"""

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from wherryd.builder import context
from wherryd.builder.contexts.blobs import BlobStore
from wherryd.builder.contexts.making import Maker
from wherryd.builder.contexts.manifest import Manifest
from wherryd.builder.contexts.tree import Unclear
from wherryd.builder.copying import digest, sources
from wherryd.builder.copying.errors import CopyError
from wherryd.sys import paths
from wherrywire.contextsync import Entry, Needs


class ContextFiles:
    """folder: of the build, where its files are or will be."""

    def __init__(
        self, folder: Path, manifest: Manifest | None = None, blobs: BlobStore | None = None
    ) -> None:
        """manifest: what the files are, of which blobs has the contents; None: all are there."""
        self.folder = folder
        self._manifest = manifest
        self._maker: Maker | None = None
        if manifest is not None and blobs is not None:
            self._maker = Maker(blobs, str(folder), manifest.tree)
        #: The list still says what is there.
        self._is_listed = self._maker is not None
        self._hidden: frozenset[str] = frozenset()
        self._making = asyncio.Lock()

    async def provide(self, patterns: Sequence[str]) -> None:
        """What these mean is in the folder when this returns. Raises InvalidParameter, SystemFault."""
        maker, manifest = self._maker, self._manifest
        if maker is None or manifest is None:
            return
        async with self._making:
            entries = await asyncio.to_thread(_wanted, manifest, patterns)
            work = asyncio.ensure_future(asyncio.to_thread(maker.make, entries))
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                # The folder goes next; nobody may be making files in it then.
                maker.cancelled.set()
                await asyncio.wait({work})
                raise

    async def digest(
        self, patterns: tuple[str, ...], excludes: tuple[str, ...] = (), *, parents: bool = False
    ) -> tuple[str, int]:
        """See `copying.digest.of_sources`. Raises CopyError, BadPattern."""
        if self._is_listed and self._manifest is not None:
            try:
                tree = self._manifest.tree
                return await asyncio.to_thread(tree.digest, patterns, excludes, self._hidden, parents=parents)
            except Unclear:
                pass
        await self.provide(patterns)
        return await asyncio.to_thread(self._of_files, patterns, excludes, parents=parents)

    def _of_files(
        self, patterns: tuple[str, ...], excludes: tuple[str, ...], *, parents: bool
    ) -> tuple[str, int]:
        known = self._maker.known if self._maker is not None else {}
        root = paths.open_root(str(self.folder))
        try:
            return digest.of_sources(root, patterns, excludes, known, parents=parents)
        finally:
            os.close(root)

    async def take_dockerfile(self, name: str) -> bytes:
        """See `context.take_dockerfile`."""
        names = context.names_of(name)
        await self.provide(names)
        data, gone = context.take_dockerfile(self.folder, name)
        if gone and self._manifest is not None:
            self._hidden |= set(gone)
            # Behind a link another file went than the one of that name.
            self._is_listed = not _leads_on(self._manifest.links, Needs(names))
        return data


def _wanted(manifest: Manifest, patterns: Iterable[str]) -> Sequence[Entry]:
    """Everything when a link is on the way: where it leads is the kernel's to say."""
    try:
        needs = Needs(map(sources.clean, patterns))
    except CopyError:
        return manifest.entries  # the step says what is wrong
    if needs.everything or _leads_on(manifest.links, needs):
        return manifest.entries
    if (names := needs.names) is not None:
        return [entry for name in names for entry in manifest.tree.below(name)]
    return [entry for entry in manifest.entries if needs.takes(entry.path)]


def _leads_on(links: Iterable[Entry], needs: Needs) -> bool:
    return any(needs.follows(link.path) for link in links)
