"""COPY, ADD and WORKDIR: steps that make files without running anything of the image."""

import asyncio
import json
import os
import posixpath
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

from wherryd.builder import context, download, metadata
from wherryd.builder.copying import digest
from wherryd.builder.copying.errors import CopyError
from wherryd.builder.copying.order import CopyOrder, Inline
from wherryd.builder.copying.process import carry_out
from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.git import address
from wherryd.builder.git.process import archive
from wherryd.builder.stage import StageState
from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter
from wherryd.images.image import Image
from wherryd.images.layers import Layer
from wherryd.sys import paths
from wherrywire.dockerignore import BadPattern

#: `COPY --from`: a stage's image or any other.
Origin = Callable[[str], Awaitable[Image]]


async def transfer(state: StageState, step: ins.Copy | ins.Add, origin: Origin) -> None:
    """Raises DockerfileError, InvalidParameter, SystemFault."""
    name = state.expand(step.origin) if isinstance(step, ins.Copy) else ""
    source = await origin(name) if name else None
    sources = tuple(state.expand(each) for each in step.sources)
    fetched = await _fetched(state, step, sources)
    directory = state.tools.context
    if fetched is not None:
        directory, sources = fetched
    inline = tuple(
        Inline(name=each.name, text=state.expand_heredoc(each.text) if each.expand else each.text)
        for each in step.heredocs
    )
    order: dict[str, Any] = {
        "keyword": step.keyword,
        "sources": sources,
        "inline": inline,
        "destination": _destination(state, state.expand(step.destination)),
        "chown": state.expand(step.chown),
        "chmod": _mode(state.expand(step.chmod)),
        "excludes": tuple(state.expand(each) for each in step.excludes),
        "parents": isinstance(step, ins.Copy) and step.parents,
        "unpack": isinstance(step, ins.Add) and (not fetched if step.unpack is None else step.unpack),
        "keep_owner": source is not None and not step.chown,
    }
    content = _digest([source.chain_id]) if source else await _content_digest(state, directory, step, order)
    texts = [[each.name, each.text] for each in inline]
    if texts:
        content = _digest([content, texts])
    key = state.key({"op": step.keyword, **order, "inline": texts, "content": content})
    if await state.cached(key):
        return
    layer = await _make_layer(state, order, source or directory)
    flag = f"--chown={order['chown']} " if order["chown"] else ""
    comment = f"{step.keyword} {flag}multi:{digests.encoded(content)} in {state.expand(step.destination)} "
    state.commit(key, metadata.no_command(state.config, comment), layer)


async def workdir(state: StageState, step: ins.Workdir) -> None:
    """Sets it, and makes the folder: owned by root, as in the classic builder."""
    state.config["WorkingDir"] = metadata.workdir(state.config, state.expand(step.path))
    key = state.key({"op": "WORKDIR"})
    if await state.cached(key):
        return
    order = {"keyword": "WORKDIR", "destination": state.config["WorkingDir"], "only_directory": True}
    layer = await _make_layer(state, order, state.tools.context)
    comment = f"WORKDIR {state.config['WorkingDir']}"
    state.commit(key, metadata.no_command(state.config, comment), layer)


async def _make_layer(state: StageState, order: dict[str, Any], source: Image | Path) -> Layer | None:
    """source: an image, or a folder of ours."""
    tools = state.tools
    number = secrets.token_hex(8)
    key, view = f"build-{number}", f"view-{number}"
    mount_point = tools.folder / "root"
    mount_point.mkdir(exist_ok=True)
    async with AsyncExitStack() as undo:
        await undo.enter_async_context(tools.slots)
        root = await tools.images.prepare_rootfs(key, state.image)
        undo.push_async_callback(tools.images.remove_rootfs, key)
        source_mounts: tuple[Any, ...] = ()
        if isinstance(source, Image):
            source_mounts = await tools.images.view_rootfs(view, source)
            undo.push_async_callback(tools.images.remove_rootfs, view)
        await carry_out(
            CopyOrder(
                mount_point=str(mount_point),
                root=root,
                source_directory="" if isinstance(source, Image) else str(source),
                source_mounts=source_mounts,
                **order,
            )
        )
        layer = await tools.images.commit_rootfs(key, tools.pins, newest_seconds=tools.epoch)
    return layer  # noqa: RET504 - the stack could swallow an error, as far as the type checker knows


async def _content_digest(
    state: StageState, directory: Path, step: ins.Transfer, order: dict[str, Any]
) -> str:
    def compute() -> tuple[str, int]:
        root = paths.open_root(str(directory))
        try:
            return digest.of_sources(root, order["sources"], order["excludes"], state.tools.known)
        finally:
            os.close(root)

    try:
        content, count = await asyncio.to_thread(compute)
    except (CopyError, BadPattern) as exc:
        raise InvalidParameter(f"{step.keyword} failed: {exc}") from exc
    if count + len(order["inline"]) > 1 and not order["destination"].endswith("/"):
        raise DockerfileError(
            f"When using {step.keyword} with more than one source file, the destination must be a directory "
            "and end with a /"
        )
    return content


def _digest(document: object) -> str:
    return digests.of(json.dumps(document).encode())


async def _fetched(
    state: StageState, step: ins.Transfer, sources: tuple[str, ...]
) -> tuple[Path, tuple[str, ...]] | None:
    """Downloads of an ADD: (their folder, their paths in it). None when the sources are files."""
    repositories = [source for source in sources if address.is_git(source)]
    urls = [source for source in sources if source.startswith(download.SCHEMES) or source in repositories]
    checksum = state.expand(step.checksum) if isinstance(step, ins.Add) else ""
    if not urls:
        if checksum:
            raise DockerfileError("checksum can't be specified for sources that are no downloads")
        return None
    if not isinstance(step, ins.Add):
        raise DockerfileError("source can't be a URL for COPY", "ADD takes URLs")
    if len(urls) != len(sources) or step.heredocs:
        raise DockerfileError("downloads and files in one ADD are not available yet", "write two ADD lines")
    if checksum and len(urls) > 1:
        raise DockerfileError("checksum can't be specified for multiple sources")
    if repositories:
        return await _cloned(state, step, sources, checksum)
    folder = state.tools.folder / "downloads" / secrets.token_hex(8)
    paths_in_it = []
    for number, url in enumerate(urls):
        await state.tools.output.say(f"Downloading {url}\n")
        try:
            paths_in_it.append((await download.download(url, folder, number, checksum)).path)
        except InvalidParameter as exc:
            raise InvalidParameter(f"ADD failed: {exc}") from exc
    return folder, tuple(paths_in_it)


async def _cloned(
    state: StageState, step: ins.Add, sources: tuple[str, ...], checksum: str
) -> tuple[Path, tuple[str, ...]]:
    """One repository's files."""
    if step.keep_git_dir:
        raise DockerfileError("ADD --keep-git-dir is not available", "RUN git clone")
    if len(sources) > 1:
        raise DockerfileError(
            "a git source and others in one ADD are not available yet", "write two ADD lines"
        )
    folder = state.tools.folder / "downloads" / secrets.token_hex(8)
    folder.mkdir(parents=True)
    await state.tools.output.say(f"Fetching {sources[0]}\n")
    async with aclosing(archive(address.parse(sources[0], checksum), state.tools.folder)) as stream:
        await context.receive(stream, folder)
    return folder, ("/",)


def _destination(state: StageState, path: str) -> str:
    """Absolute; a trailing slash, or a "." at the end, says that it is a directory."""
    if not path:
        raise DockerfileError("the destination is empty", 'write "/" or a path')
    absolute = posixpath.join("/", state.config.get("WorkingDir") or "/", path)
    clean = "/" + posixpath.normpath(absolute).lstrip("/")
    is_directory = path.endswith("/") or path.rpartition("/")[2] in (".", "..")
    return clean.rstrip("/") + "/" if is_directory or clean == "/" else clean


def _mode(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or set(text) & {"8", "9"} or int(text, 8) > 0o7777:
        raise DockerfileError(
            f'invalid chmod parameter: "{text}". it should be octal string and between 0 and 07777'
        )
    return int(text, 8)
