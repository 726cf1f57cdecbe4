"""The door to the builder.

<data root>/builder/builds/<id>/   one build under way: context/, root/ (a mount point), scripts/
<data root>/builder/cache/         folders of cache mounts (cachemounts.py)
<data root>/builder/blobs/         contents of contexts' files (contexts/blobs.py)
<exec root>/builder/<id>/          secrets and agent sockets of steps under way
"""

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from contextlib import aclosing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from wherryd import later
from wherryd.builder.cache import BuildCache
from wherryd.builder.contexts.blobs import BlobStore
from wherryd.builder.contexts.files import ContextFiles
from wherryd.builder.contexts.synced import SyncedContexts
from wherryd.builder.copying.process import Copiers
from wherryd.builder.errors import RunFailed
from wherryd.builder.leftovers import remove_left_overs
from wherryd.builder.offers import Offer, Offers
from wherryd.builder.options import BuildOptions
from wherryd.builder.output import Output
from wherryd.builder.variables import EPOCH, BuildKitArgument
from wherryd.containers.service import ContainerService
from wherryd.content import digest as digests
from wherryd.errors import EngineError, InvalidParameter, NotFound
from wherryd.images import document
from wherryd.images.image import Image, ImageUse, Progress
from wherryd.metadata.database import Database
from wherrywire.contextsync import needs_digest
from wherrywire.dockerignore import BadPattern, Matcher

if TYPE_CHECKING:
    from wherryd.builder import build as builds
    from wherryd.builder import (
        cachemounts,
        cachesources,
        context,
        keeping,
        named,
        remote,
        stage,
        usage,
    )
    from wherryd.builder import insert as insertion
    from wherryd.builder.contexts import needs
    from wherryd.builder.dockerfile import stages
    from wherryd.builder.lint import check, variables
else:
    builds = later.module("wherryd.builder.build")
    cachemounts = later.module("wherryd.builder.cachemounts")
    cachesources = later.module("wherryd.builder.cachesources")
    check = later.module("wherryd.builder.lint.check")
    context = later.module("wherryd.builder.context")
    insertion = later.module("wherryd.builder.insert")
    keeping = later.module("wherryd.builder.keeping")
    named = later.module("wherryd.builder.named")
    needs = later.module("wherryd.builder.contexts.needs")
    remote = later.module("wherryd.builder.remote")
    stage = later.module("wherryd.builder.stage")
    stages = later.module("wherryd.builder.dockerfile.stages")
    usage = later.module("wherryd.builder.usage")
    variables = later.module("wherryd.builder.lint.variables")

#: Steps of one build that may work at once, also on a machine with fewer cores: many wait for a network.
_LEAST_AT_ONCE = 4


class BuilderService:
    """Construct, then `await open()` after the containers' service."""

    def __init__(
        self,
        *,
        data_root: Path,
        database: Database,
        containers: ContainerService,
        most_bytes: int | None = None,
    ) -> None:
        """most_bytes: of what is kept for later builds; 0 without a limit, None for the default."""
        self._builds = data_root / "builder" / "builds"
        self._run_folders = containers.deps.exec_root / "builder"
        self.offers = Offers()
        self._blobs = BlobStore(data_root / "builder" / "blobs")
        self.contexts = SyncedContexts(self._blobs)
        self._copiers = Copiers()
        self._containers = containers
        self._images = containers.deps.images
        self._cache = BuildCache(database)
        #: Images that builds under way stand on: build id -> what it knows.
        self._running: dict[str, stage.Tools] = {}
        self._removals: set[asyncio.Future[None]] = set()
        self._data_root = data_root
        self._most_bytes = most_bytes

    @cached_property
    def _caches(self) -> "cachemounts.CacheMounts":
        return cachemounts.CacheMounts(self._builds.parent / "cache")

    async def open(self) -> None:
        """Removes what an earlier process's builds left, and sees that nobody takes images away from ours."""
        await remove_left_overs(self._containers)
        await asyncio.to_thread(shutil.rmtree, self._builds, ignore_errors=True)
        await asyncio.to_thread(shutil.rmtree, self._run_folders, ignore_errors=True)
        self._run_folders.mkdir(mode=0o700, parents=True)
        self._builds.mkdir(parents=True, exist_ok=True)
        self._builds.parent.chmod(0o700)
        await asyncio.to_thread(self._blobs.open)
        in_use = self._images.in_use

        def also_by_builds(image_id: str) -> Sequence[ImageUse]:
            return [*in_use(image_id), *self._uses(image_id)]

        self._images.in_use = also_by_builds

    async def close(self) -> None:
        """Builds under way ended with their connections."""
        self.offers.close()
        await asyncio.gather(*self._removals, return_exceptions=True)
        await self._copiers.close()

    def _uses(self, image_id: str) -> list[ImageUse]:
        return [
            ImageUse(build_id, running=True)
            for build_id, tools in self._running.items()
            if image_id in tools.held
        ]

    async def build(self, stream: AsyncIterator[bytes], options: BuildOptions) -> AsyncIterator[Progress]:
        """The lines of the answer. stream: the context's archive, compressed or not.

        What is wrong with the request, the archive or the Dockerfile's grammar is raised before the
        first line; a failing step is a line, with its exit code. Closing the iterator cancels the build.
        """
        build_id = secrets.token_hex(16)
        folder, run_folder = self._builds / build_id, self._run_folders / build_id
        offer = self.offers.take(options.offer) if options.offer else Offer()
        taken: list[str] = []
        if options.no_cache or options.base or not digests.is_digest(options.context):
            self._copiers.warm()
        (folder / "context").mkdir(parents=True)
        run_folder.mkdir(mode=0o700)
        try:
            name = options.dockerfile
            files = ContextFiles(folder / "context")
            if options.context:
                files = await self._told(options, stream, folder / "context", taken)
            elif not options.remote:
                await context.receive(stream, folder / "context")
            elif await remote.receive(
                options.remote, folder, folder / "context", keep_git_dir=_keeps_git_dir(options)
            ):
                name = "Dockerfile"
            data = await files.take_dockerfile(name)
            checked = check.check(
                data,
                self._base,
                platform=options.platform,
                directive=options.argument(BuildKitArgument.CHECK),
            )
            checked.refuse()
            program = stages.read(data, options.argument(BuildKitArgument.SYNTAX))
            self._check_needs(program, options)
            output = Output(quiet=options.quiet)
            with self._images.pinned() as pins:
                tools = stage.Tools(
                    build_id=build_id,
                    images=self._images,
                    containers=self._containers,
                    cache=self._cache,
                    sources=cachesources.CacheSources(self._images, options.cache_from),
                    named=named.NamedContexts(options.contexts, folder, self.contexts),
                    options=options,
                    output=output,
                    folder=folder,
                    context=files,
                    findings=checked.findings,
                    run_folder=run_folder,
                    offer=offer,
                    caches=self._caches,
                    copiers=self._copiers,
                    epoch=_epoch(options),
                    pins=pins,
                    slots=asyncio.Semaphore(max(_LEAST_AT_ONCE, os.cpu_count() or 1)),
                )
                self._running[build_id] = tools
                async for line in self._lines(builds.Build(program, tools), output, options):
                    yield line
        finally:
            if (ended := self._running.pop(build_id, None)) is not None:
                self._cache.used(ended.used)
            self.offers.forget(options.offer)
            for token in (*taken, *named.tokens(options.contexts)):
                self.contexts.forget(token)
            self._later(self._kept.keep_to(self._most_bytes, self._data_root))
            shutil.rmtree(run_folder, ignore_errors=True)
            self._remove_later(folder)

    async def _told(
        self, options: BuildOptions, stream: AsyncIterator[bytes], folder: Path, taken: list[str]
    ) -> ContextFiles:
        """Of a context that a client told. taken: gets the token that is to be forgotten."""
        token = options.context
        if digests.is_digest(token):
            token = await self.contexts.recall(token, options.base, stream)
        files = self.contexts.take(token, folder)
        taken.append(token)
        return files

    def _check_needs(self, program: "stages.Program", options: BuildOptions) -> None:
        """The client thinks it knows what the Dockerfile needs, from last time. Raises NotFound."""
        if not options.needs:
            return
        found = needs.of_program(program, options.target, options.build_args, self._triggers)
        if needs_digest(found) != options.needs:
            raise NotFound("context: the Dockerfile needs other paths than last time; tell its files")

    async def needed_paths(
        self,
        dockerfile: AsyncIterator[bytes],
        target: str,
        build_args: Mapping[str, str | None],
        contexts: Collection[str] = (),
    ) -> tuple[str, ...]:
        """Patterns of what a build needs of its context. contexts: names. Raises InvalidParameter."""
        return await needs.paths(dockerfile, target, build_args, self._triggers, named.among(contexts))

    async def check(
        self, dockerfile: AsyncIterator[bytes], ignore: Sequence[str], platform: str = "", directive: str = ""
    ) -> dict[str, Any]:
        """See lint.check.Checked.document. ignore: patterns of `.dockerignore`. directive: in place of the
        file's. Raises InvalidParameter."""
        data = await needs.dockerfile_of(dockerfile)
        try:
            matcher = Matcher(ignore)
        except BadPattern as exc:
            raise InvalidParameter(f"error reading .dockerignore: {exc}") from exc
        return check.check(data, self._base, matcher, platform, directive).document()

    def _base(self, name: str) -> "variables.Base | None":
        """An image that is here."""
        try:
            image = self._images.resolve(name)
        except EngineError:
            return None
        return variables.Base(image.runtime_config, document.platform_of(image, ""))

    def _triggers(self, name: str) -> Sequence[str] | None:
        base = self._base(name)
        return None if base is None else [*cast("Sequence[str]", base.config.get("OnBuild") or ())]

    async def insert(self, name: str, url: str, path: str) -> AsyncIterator[Progress]:
        """Progress lines, the last one {"status": id of the new image}. Raises as `builder.insert`."""
        image = self._images.resolve(name)
        folder = self._builds / f"insert-{secrets.token_hex(16)}"
        try:
            async with aclosing(
                insertion.insert(self._copiers, self._images, image, url, path, folder)
            ) as lines:
                async for line in lines:
                    yield line
        finally:
            self._remove_later(folder)

    def _remove_later(self, folder: Path) -> None:
        """A large context takes a while to remove; the client need not wait for it."""
        self._later(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)

    async def _lines(
        self, program: "builds.Build", output: Output, options: BuildOptions
    ) -> AsyncIterator[Progress]:
        work = asyncio.create_task(self._work(program, output, options))
        try:
            while (line := await output.queue.get()) is not None:
                yield line
            await work
        finally:
            work.cancel()
            # Its containers and files go before this returns; nobody is left to read what it says.
            while not work.done():
                with contextlib.suppress(asyncio.QueueEmpty):
                    output.queue.get_nowait()
                await asyncio.wait({work}, timeout=0.05)

    async def _work(self, program: "builds.Build", output: Output, options: BuildOptions) -> None:
        try:
            image = await program.run()
            self._publish("image", "create", image.id, {**image.labels, "name": image.id})
            await output.result(image.id)
            await output.say(f"Successfully built {digests.short(image.id)}\n")
            await self._tag(image, output, options)
        except RunFailed as exc:
            await output.queue.put(
                {"errorDetail": {"code": exc.exit_code, "message": str(exc)}, "error": str(exc)}
            )
        finally:
            await output.queue.put(None)

    async def _tag(self, image: Image, output: Output, options: BuildOptions) -> None:
        for reference in options.tags:
            self._images.tag(image, reference.canonical)
            await output.say(f"Successfully tagged {reference.familiar}\n")

    # the cache

    @cached_property
    def _kept(self) -> "keeping.KeptCache":
        return keeping.KeptCache(
            images=self._images,
            cache=self._cache,
            caches=self._caches,
            blobs=self._blobs,
            contexts=self.contexts,
            held=lambda: set().union(*(tools.held for tools in self._running.values())),
        )

    async def usage(self) -> list[dict[str, Any]]:
        """BuildCache records. Source: Engine API, SystemDataUsage."""
        return [record.document() for record in await self._kept.records()]

    async def prune(
        self,
        filters: Mapping[str, Sequence[str]],
        *,
        reserved_bytes: int = 0,
        most_bytes: int = 0,
        free_bytes: int = 0,
    ) -> dict[str, Any]:
        """{"CachesDeleted": [...], "SpaceReclaimed": bytes}. Sizes: see usage.Space. Raises
        InvalidParameter."""
        space = usage.Space(reserved_bytes=reserved_bytes, most_bytes=most_bytes, free_bytes=free_bytes)
        used = sum(record.size_bytes for record in await self._kept.records() if record.may_go)
        disk = os.statvfs(self._data_root)
        keep = space.keep_bytes(used, disk.f_bavail * disk.f_frsize)
        found = await self._kept.prune(usage.Pruning(filters, keep))
        self._publish("builder", "prune", "", {"reclaimed": str(found["SpaceReclaimed"])})
        return found

    def _publish(self, type_: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> None:
        self._containers.deps.events.publish(type_, action, actor_id, attributes)


def _keeps_git_dir(options: BuildOptions) -> bool:
    return options.argument(BuildKitArgument.KEEP_GIT_DIR).lower() in ("1", "t", "true")


def _epoch(options: BuildOptions) -> int | None:
    text = options.build_args.get(EPOCH)
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 11:
        raise InvalidParameter(f"{EPOCH}: {text!r} is not a number of seconds since 1970")
    return int(text)
