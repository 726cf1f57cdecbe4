"""`RUN --mount`: what is mounted into a step's container, and what of it belongs into the cache's key."""

import asyncio
import functools
import os
import posixpath
import secrets
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wherryd.builder import lending
from wherryd.builder.contexts.files import ContextFiles
from wherryd.builder.copying.errors import CopyError
from wherryd.builder.copying.order import CopyOrder, Digest, Part
from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile import mounts
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.stage import StageState, Tools
from wherryd.builder.taking import look_into
from wherryd.builder.variables import BuildKitArgument
from wherryd.errors import KernelFault
from wherryd.images.image import Image
from wherryd.images.layers import BUILDING, VIEWING
from wherryd.spec.mount import Mount
from wherryd.sys import paths

#: Where a copy for a mount lies below its root.
_COPY = "mount"

#: A stage's image, or any other, or a named context, by the name in `from`.
Origin = Callable[[str], Awaitable[Image | ContextFiles]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """origin: None without files to begin with. content: digest of what it shows, "" without one, and for
    what is taken out of an image."""

    mount: ins.RunMount
    origin: Image | ContextFiles | None = None
    content: str = ""

    @property
    def taken_from(self) -> Image | None:
        """The image whose files the step sees. A cache that begins with an image's is one by that image."""
        is_taken = self.mount.type is ins.MountType.BIND and isinstance(self.origin, Image)
        return self.origin if is_taken and isinstance(self.origin, Image) else None


@dataclass(slots=True)
class Mounts:
    """As HostConfig has them."""

    binds: list[dict[str, Any]] = field(default_factory=list)
    tmpfs: dict[str, str] = field(default_factory=dict)
    #: `NAME=value` lines for the step's program.
    environment: list[str] = field(default_factory=list)
    #: Of what is taken out of images: number of the mount -> digest.
    contents: dict[int, str] = field(default_factory=dict)

    @property
    def targets(self) -> list[str]:
        return [*(each["Target"] for each in self.binds), *self.tmpfs]

    def bind(self, source: Path, target: str, *, read_only: bool) -> None:
        self.binds.append({"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": read_only})


async def wanted(state: StageState, step: ins.Run, origin: Origin) -> list[Wanted]:
    """Raises DockerfileError, NotFound."""
    found = []
    for text in step.mounts:
        mount = mounts.parse(text, state.expand)
        if mount.target:
            absolute = posixpath.join("/", state.config.get("WorkingDir") or "/", mount.target)
            mount = replace(mount, target=posixpath.normpath(absolute))
        namespace = state.tools.options.argument(BuildKitArgument.CACHE_NAMESPACE)
        if namespace and mount.type is ins.MountType.CACHE:
            mount = replace(mount, id=f"{namespace}/{mount.id or mount.target}")
        place: Image | ContextFiles | None = None
        content = ""
        if mount.origin:
            place = await origin(mount.origin)
        elif mount.type is ins.MountType.BIND:
            place = state.tools.context
        if isinstance(place, Image):
            content = "" if mount.type is ins.MountType.BIND else place.chain_id
        elif place is not None:
            content = await _content(place, mount)
        found.append(Wanted(mount, place, content))
    return found


async def _content(files: ContextFiles, mount: ins.RunMount) -> str:
    try:
        return (await files.digest(_sources(mount)))[0]
    except CopyError as exc:
        raise DockerfileError(
            f'{mount.type} mount source "{mount.source}": not found in the build context', str(exc)
        ) from exc


def _sources(mount: ins.RunMount) -> tuple[str, ...]:
    return (mount.source or "/",)


async def prepare(opened: AsyncExitStack, tools: Tools, found: Sequence[Wanted]) -> Mounts:
    """What is to be mounted, until `opened` closes. Raises DockerfileError, SystemFault."""
    made = Mounts()
    # In one order for all steps: two that want the same two locked caches would wait for each other for ever.
    for number in sorted(range(len(found)), key=lambda number: _order(found[number].mount)):
        each = found[number]
        mount = each.mount
        if mount.type is ins.MountType.TMPFS:
            made.tmpfs[mount.target] = "exec" + (f",size={mount.size_bytes}" if mount.size_bytes else "")
        elif mount.type is ins.MountType.CACHE:
            folder = await opened.enter_async_context(
                tools.caches.use(mount, each.content, functools.partial(_fill, opened, tools, each))
            )
            made.bind(folder, mount.target, read_only=mount.read_only)
        elif mount.type is ins.MountType.BIND:
            if isinstance(each.origin, ContextFiles) and mount.read_only:
                await each.origin.provide(_sources(mount))
                source = _in_context(each.origin.folder, mount)
            else:
                source, made.contents[number] = await _copied(opened, tools, each)
            made.bind(source, mount.target, read_only=mount.read_only)
        else:
            await _lend(opened, tools, mount, made)
    return made


def _order(mount: ins.RunMount) -> tuple[str, str]:
    return mount.id or mount.target, mount.target


async def look(tools: Tools, found: Sequence[Wanted]) -> list[str]:
    """Digests of what is taken out of images. Raises InvalidParameter."""
    return [
        await look_into(tools, image, functools.partial(_copy_order, each, digest=Digest.ONLY))
        for each in found
        if (image := each.taken_from) is not None
    ]


async def _lend(opened: AsyncExitStack, tools: Tools, mount: ins.RunMount, made: Mounts) -> None:
    folder = tools.run_folder / secrets.token_hex(8)
    folder.mkdir(mode=0o700)
    opened.callback(shutil.rmtree, folder, ignore_errors=True)
    lent = await lending.lend(opened, folder, tools.offer, mount, len(made.binds))
    if lent is None:
        # As BuildKit does with one that the client does not give and that is not required.
        await tools.output.say(f" ---> [Warning] {mount.type} {lending.name_of(mount)} was not given\n")
        return
    if lent.source is not None:
        made.bind(lent.source, lent.target, read_only=mount.type is ins.MountType.SECRET)
    made.environment += lent.environment


def _in_context(context: Path, mount: ins.RunMount) -> Path:
    """The path that the source really has: links are resolved inside the context."""
    root = paths.open_root(str(context))
    try:
        with paths.opened(root, mount.source or "/") as fd:
            return Path(paths.self_fd(fd)).readlink()
    except KernelFault as exc:
        raise DockerfileError(
            f'bind mount source "{mount.source}": {exc}', "name a path of the context"
        ) from exc
    finally:
        os.close(root)


async def _copied(opened: AsyncExitStack, tools: Tools, each: Wanted) -> tuple[Path, str]:
    """A copy for this step, and the digest of what is in it: of files of an image, or of the context when the
    step may write to it. What is written is thrown away, as in BuildKit."""
    key = f"{BUILDING}{secrets.token_hex(8)}"
    root = await tools.images.prepare_rootfs(key, None)
    opened.push_async_callback(tools.images.remove_rootfs, key)
    content = await _copy(opened, tools, each, root)
    # A snapshot without a parent is one directory of ours, whatever the driver.
    return Path(root[0].source) / _COPY, content


async def _fill(opened: AsyncExitStack, tools: Tools, each: Wanted, folder: Path) -> None:
    """What a new cache mount holds: the files of its `from`. folder: ours, where `files` is to be made."""
    # Of a step that ended meanwhile.
    await asyncio.to_thread(shutil.rmtree, folder / _COPY, ignore_errors=True)
    await _copy(opened, tools, each, (Mount("bind", str(folder), "", ("rbind", "rw")),))
    (folder / _COPY).rename(folder / "files")


async def _copy(opened: AsyncExitStack, tools: Tools, each: Wanted, root: tuple[Mount, ...]) -> str:
    """The digest of what was taken out of an image, "" for others."""
    source_mounts: tuple[Mount, ...] = ()
    if isinstance(each.origin, Image):
        view = f"{VIEWING}{secrets.token_hex(8)}"
        source_mounts = await tools.images.view_rootfs(view, each.origin)
        opened.push_async_callback(tools.images.remove_rootfs, view)
    directory = ""
    if isinstance(each.origin, ContextFiles):
        await each.origin.provide(_sources(each.mount))
        directory = str(each.origin.folder)
    mount_point = tools.folder / "root"
    mount_point.mkdir(exist_ok=True)
    order = _copy_order(
        each, str(mount_point), root, digest=Digest.ALSO if each.taken_from else Digest.NONE,
        source_mounts=source_mounts, directory=directory,
    )  # fmt: skip
    return await tools.copiers.carry_out(order)


def _copy_order(
    each: Wanted,
    mount_point: str,
    root: tuple[Mount, ...],
    *,
    digest: Digest,
    source_mounts: tuple[Mount, ...] = (),
    directory: str = "",
) -> CopyOrder:
    return CopyOrder(
        mount_point=mount_point,
        root=root,
        source_mounts=source_mounts,
        parts=(Part(directory=directory, patterns=_sources(each.mount)),),
        destination=f"/{_COPY}",
        keep_owner=True,
        keyword="RUN --mount",
        digest=digest,
    )
