"""Steps that take files out of stages or other images: COPY --from, and RUN with such mounts.

The cache knows such a step by what it takes, whatever else is in there. To look into an image takes a mount
and a process; so the step's image is also found by the sources' layers, and the contents are asked for only
where this step was made before from other layers: a cold build and one without changes look into nothing.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from wherryd.builder.cache import StepKey
from wherryd.builder.copying.order import CopyOrder
from wherryd.builder.stage import StageState, Tools
from wherryd.images.image import Image
from wherryd.images.layers import VIEWING, Layer
from wherryd.spec.mount import Mount


@dataclass(slots=True, kw_only=True)
class Taking:
    """One step. images: what it takes files out of; without any, the step has one key as any other. key: of
    the step, by what stands for each image. created_by: its history, by the contents. look: digests of what
    is taken, one per image."""

    state: StageState
    images: Sequence[Image]
    key: Callable[[Sequence[object]], StepKey]
    created_by: Callable[[Sequence[str]], str]
    look: Callable[[], Awaitable[Sequence[str]]]
    #: Digests, once they are known.
    contents: Sequence[str] = ()
    #: Other keys of the step's image. They are of the image that the stage has before the step.
    _others: list[StepKey] = field(default_factory=list)

    async def cached(self) -> bool:
        """Takes the step's image out of the cache, if it is there."""
        state, cache_from = self.state, self.state.tools.options.cache_from
        if self.images:
            same = self.key([{"layers": image.chain_id} for image in self.images])
            known = self.key([None for _ in self.images])
            self._others = [same, known]
            if not cache_from and await state.cached(same, ""):
                return True
            if not cache_from and not state.knows(known):
                return False
            self.contents = await self.look()
        if not await state.cached(self.key(self.contents), self.created_by(self.contents)):
            return False
        if not cache_from:
            for each in self._others:
                state.remember(each)
        return True

    def commit(self, layer: Layer | None, contents: Sequence[str]) -> None:
        """contents: digests that were told while the step was made."""
        contents = self.contents or contents
        self.state.commit(self.key(contents), self.created_by(contents), layer)
        for each in self._others:
            self.state.remember(each)


async def look_into(tools: Tools, image: Image, order: Callable[[str, tuple[Mount, ...]], CopyOrder]) -> str:
    """The digest of what an order takes out of an image. order: for a mount point and the image's files."""
    view = f"{VIEWING}{secrets.token_hex(8)}"
    mount_point = tools.folder / "root"
    mount_point.mkdir(exist_ok=True)
    async with AsyncExitStack() as undo:
        await undo.enter_async_context(tools.slots)
        root = await tools.images.view_rootfs(view, image)
        undo.push_async_callback(tools.images.remove_rootfs, view)
        found = await tools.copiers.carry_out(order(str(mount_point), root))
    return found  # noqa: RET504 - the stack could swallow an error, as far as the type checker knows
