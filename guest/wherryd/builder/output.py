"""The lines of a build's answer: what the classic builder prints, in its words and order."""

import asyncio
from collections.abc import Mapping
from typing import Any

from wherryd.images.image import Progress

#: Lines that wait for a slow client; then the build waits too.
_WAITING = 256
_RED, _PLAIN = "\x1b[91m", "\x1b[0m"


class Output:
    """One build writes, one answer reads."""

    def __init__(self, *, quiet: bool) -> None:
        self.queue: asyncio.Queue[Progress | None] = asyncio.Queue(_WAITING)
        self._quiet = quiet

    async def say(self, text: str) -> None:
        if not self._quiet:
            await self.queue.put({"stream": text})

    async def error(self, text: str) -> None:
        """What a RUN writes to stderr is red, as in docker."""
        if not self._quiet:
            await self.queue.put({"stream": f"{_RED}{text}{_PLAIN}"})

    async def result(self, image_id: str) -> None:
        """The id alone, when nothing else is to be said."""
        if self._quiet:
            await self.queue.put({"stream": f"{image_id}\n"})

    async def line(self, document: Mapping[str, Any]) -> None:
        if not self._quiet:
            await self.queue.put(dict(document))
