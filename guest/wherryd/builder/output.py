"""The lines of a build's answer: what the classic builder prints, in its words and order."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from wherryd.images.image import Progress

#: Lines that wait for a slow client; then the build waits too.
_WAITING = 256
#: Characters of a line without an end that wait for it.
_LONGEST = 16 * 1024
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

    async def flush(self) -> None:
        """Nothing waits here."""


class StageOutput(Output):
    """What one of several stages that run side by side says: whole lines, each with the stage's name."""

    def __init__(self, whole: Output, name: str) -> None:
        self.queue = whole.queue
        self._quiet = whole._quiet
        self._name = name
        #: Is the waiting text from stderr -> the text, which has no end of line yet.
        self._waiting = {False: "", True: ""}

    async def say(self, text: str) -> None:
        await self._put(text, error=False)

    async def error(self, text: str) -> None:
        await self._put(text, error=True)

    async def flush(self) -> None:
        """The rest of a last line without an end."""
        for error, text in self._waiting.items():
            if text:
                await self._put("\n", error=error)

    async def _put(self, text: str, *, error: bool) -> None:
        # A lone carriage return ends a line too: progress bars of two stages cannot share one.
        *lines, rest = re.split(r"\r?\n|\r(?=.)", self._waiting[error] + text)
        self._waiting[error] = rest if len(rest) < _LONGEST else ""
        if len(rest) >= _LONGEST:
            lines.append(rest)
        if lines:
            shown = "".join(f"[{self._name}] {line}\n" for line in lines)
            await (super().error(shown) if error else super().say(shown))
