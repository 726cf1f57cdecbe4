"""COPY, ADD and WORKDIR: steps that make files without running anything of the image."""

import json
import posixpath
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wherryd.builder import fetching, metadata
from wherryd.builder.cache import StepKey
from wherryd.builder.contexts.files import ContextFiles
from wherryd.builder.copying import modes
from wherryd.builder.copying.errors import CopyError
from wherryd.builder.copying.order import CopyOrder, Digest, Inline, Part
from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.stage import StageState
from wherryd.builder.taking import Taking, look_into
from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter
from wherryd.images.image import Image
from wherryd.images.layers import BUILDING, VIEWING, Layer
from wherrywire.dockerignore import BadPattern

#: `COPY --from`: a stage's image or any other, or a named context.
Origin = Callable[[str], Awaitable[Image | ContextFiles]]


async def transfer(state: StageState, step: ins.Copy | ins.Add, origin: Origin) -> None:
    """Raises DockerfileError, InvalidParameter, SystemFault."""
    name = state.expand(step.origin) if isinstance(step, ins.Copy) else ""
    source = await origin(name) if name else state.tools.context
    # A heredoc alone takes nothing of what --from names.
    image = source if isinstance(source, Image) and step.sources else None
    files = source if isinstance(source, ContextFiles) else None
    parts = await fetching.parts(state, step, str(files.folder) if files else "")
    inline = tuple(
        Inline(name=each.name, text=state.expand_heredoc(each.text) if each.expand else each.text)
        for each in step.heredocs
    )
    order: dict[str, Any] = {
        "keyword": step.keyword,
        "parts": parts,
        "inline": inline,
        "destination": _destination(state, state.expand(step.destination)),
        "chown": state.expand(step.chown),
        "chmod": _mode(state.expand(step.chmod)),
        "excludes": tuple(state.expand(each) for each in step.excludes),
        "parents": isinstance(step, ins.Copy) and step.parents,
        "keep_owner": image is not None and not step.chown,
    }
    copied = _Copied(state, step, order)
    if image is not None:
        await _from_image(copied, image)
        return
    content = await _content_digest(files, step, order)
    key, created_by = copied.key(content), copied.created_by(content)
    if not await state.cached(key, created_by):
        if files is not None:
            await files.provide([each for part in _parts_of(files, parts) for each in part.patterns])
        layer, _ = await _make_layer(state, order, None)
        state.commit(key, created_by, layer)


@dataclass(frozen=True, slots=True)
class _Copied:
    """A step whose sources may be known or not. Its keys are for the image that the stage has by now."""

    state: StageState
    step: ins.Copy | ins.Add
    order: dict[str, Any]

    @property
    def _texts(self) -> list[list[str]]:
        return [[each.name, each.text] for each in self.order["inline"]]

    def key(self, content: object) -> StepKey:
        """content: digest of the sources."""
        # Where the sources lie on our side is nothing of theirs.
        asked = [[each.patterns, each.unpack] for each in self.order["parts"]]
        told = {**self.order, "parts": asked, "inline": self._texts}
        return self.state.key({"op": self.step.keyword, **told, "content": content})

    def created_by(self, content: str) -> str:
        whole = _digest([content, self._texts]) if self._texts else content
        flag = f"--chown={self.order['chown']} " if self.order["chown"] else ""
        destination = self.state.expand(self.step.destination)
        comment = f"{self.step.keyword} {flag}multi:{digests.encoded(whole)} in {destination} "
        return metadata.no_command(self.state.config, comment)


async def _from_image(copied: _Copied, image: Image) -> None:
    state = copied.state

    async def look() -> list[str]:
        return [
            await look_into(
                state.tools,
                image,
                lambda place, root: CopyOrder(
                    mount_point=place, root=root, digest=Digest.ONLY, **copied.order
                ),
            )
        ]

    taking = Taking(
        state=state,
        images=[image],
        key=lambda contents: copied.key(contents[0]),
        created_by=lambda contents: copied.created_by(contents[0]),
        look=look,
    )
    if not await taking.cached():
        wanted = Digest.NONE if taking.contents else Digest.ALSO
        layer, found = await _make_layer(state, copied.order, image, wanted)
        taking.commit(layer, [found])


async def workdir(state: StageState, step: ins.Workdir) -> None:
    """Sets it, and makes the folder: owned by root, as in the classic builder."""
    state.config["WorkingDir"] = metadata.workdir(state.config, state.expand(step.path))
    key = state.key({"op": "WORKDIR"})
    created_by = metadata.no_command(state.config, f"WORKDIR {state.config['WorkingDir']}")
    if not await state.cached(key, created_by):
        order = {"keyword": "WORKDIR", "destination": state.config["WorkingDir"]}
        layer, _ = await _make_layer(state, order, None)
        state.commit(key, created_by, layer)


async def _make_layer(
    state: StageState, order: dict[str, Any], source: Image | None, wanted: Digest = Digest.NONE
) -> tuple[Layer | None, str]:
    """The layer, and the digest that is wanted of source. source: of parts without a folder."""
    tools = state.tools
    number = secrets.token_hex(8)
    key, view = f"{BUILDING}{number}", f"{VIEWING}{number}"
    mount_point = tools.folder / "root"
    mount_point.mkdir(exist_ok=True)
    async with AsyncExitStack() as undo:
        await undo.enter_async_context(tools.slots)
        root = await tools.images.prepare_rootfs(key, state.image)
        undo.push_async_callback(tools.images.remove_rootfs, key)
        source_mounts: tuple[Any, ...] = ()
        if source is not None:
            source_mounts = await tools.images.view_rootfs(view, source)
            undo.push_async_callback(tools.images.remove_rootfs, view)
        found = await tools.copiers.carry_out(
            CopyOrder(
                mount_point=str(mount_point), root=root, source_mounts=source_mounts, digest=wanted, **order
            )
        )
        layer = await tools.images.commit_rootfs(key, tools.pins, newest_seconds=tools.epoch)
    return layer, found


def _parts_of(files: ContextFiles, parts: Sequence[Part]) -> list[Part]:
    """Those that are no downloads."""
    return [part for part in parts if part.directory == str(files.folder)]


async def _content_digest(files: ContextFiles | None, step: ins.Transfer, order: dict[str, Any]) -> str:
    excludes, parents = order["excludes"], order["parents"]
    found: list[tuple[str, int]] = []
    try:
        for part in order["parts"]:
            own = files if files and _parts_of(files, [part]) else ContextFiles(Path(part.directory))
            found.append(await own.digest(part.patterns, excludes, parents=parents))
    except (CopyError, BadPattern) as exc:
        raise InvalidParameter(f"{step.keyword} failed: {exc}") from exc
    count = sum(number for _, number in found) + len(order["inline"])
    if count > 1 and not order["destination"].endswith("/"):
        raise DockerfileError(
            f"When using {step.keyword} with more than one source file, the destination must be a directory "
            "and end with a /",
            f"write {order['destination']}/",
        )
    return found[0][0] if len(found) == 1 else _digest([content for content, _ in found])


def _digest(document: object) -> str:
    return digests.of(json.dumps(document).encode())


def _destination(state: StageState, path: str) -> str:
    """Absolute; a trailing slash, or a "." at the end, says that it is a directory."""
    if not path:
        raise DockerfileError("the destination is empty", 'write "/" or a path')
    absolute = posixpath.join("/", state.config.get("WorkingDir") or "/", path)
    clean = "/" + posixpath.normpath(absolute).lstrip("/")
    is_directory = path.endswith("/") or path.rpartition("/")[2] in (".", "..")
    return clean.rstrip("/") + "/" if is_directory or clean == "/" else clean


def _mode(text: str) -> str:
    if text:
        try:
            modes.parse(text)
        except ValueError:
            raise DockerfileError(
                f'invalid chmod parameter: "{text}". it should be octal string and between 0 and 07777',
                "or in words, like u=rwX,go=rX",
            ) from None
    return text
