"""Secrets and SSH agents that a client lends to one build. They live in this process's memory only.

A client makes an offer, names it in its build by a token, and for each agent keeps a connection waiting: one
is taken when a step's program connects to the agent's socket, and the client then sends the next.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wherryd.errors import InvalidParameter, NotFound

#: As BuildKit limits a secret.
MAX_SECRET_BYTES = 500 * 1024
MAX_ENTRIES = 64
#: Offers that no build has taken yet, and how long one waits for its build.
_MAX_WAITING = 32
_PATIENCE_SECONDS = 600.0
#: How long a step's program waits for the client's next connection.
_AGENT_SECONDS = 30.0
_CHUNK_BYTES = 32 * 1024


class Line:
    """One connection that the client keeps waiting. closed: done when the client is gone."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, closed: "asyncio.Future[None]"
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.closed = closed
        #: Nobody needs it any more.
        self.done = asyncio.Event()

    async def ended(self) -> None:
        """Returns when nobody needs it, or the client is gone."""

        def gone(_: object) -> None:
            self.done.set()

        self.closed.add_done_callback(gone)
        try:
            await self.done.wait()
        finally:
            self.closed.remove_done_callback(gone)


@dataclass(frozen=True, slots=True)
class Offer:
    """secrets: content by id. agents: waiting connections by id."""

    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    agents: Mapping[str, "asyncio.Queue[Line]"] = field(default_factory=dict)

    def withdraw(self) -> None:
        """Lets go of every connection that still waits."""
        for queue in self.agents.values():
            while not queue.empty():
                queue.get_nowait().done.set()


class Offers:
    """All of the engine's. Closing is the builder's."""

    def __init__(self) -> None:
        self._offers: dict[str, Offer] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def make(self, found: Mapping[str, bytes], agents: list[str]) -> str:
        """The token. Raises InvalidParameter."""
        if len(self._timers) >= _MAX_WAITING:
            raise InvalidParameter("too many offers wait for their build; try again in a minute")
        if len(found) + len(agents) > MAX_ENTRIES:
            raise InvalidParameter(f"more than {MAX_ENTRIES} secrets and agents")
        for name, content in found.items():
            if len(content) > MAX_SECRET_BYTES:
                raise InvalidParameter(f'secret "{name}" is larger than {MAX_SECRET_BYTES} bytes')
        token = secrets.token_urlsafe(24)
        self._offers[token] = Offer(dict(found), {name: asyncio.Queue() for name in agents})
        loop = asyncio.get_running_loop()
        self._timers[token] = loop.call_later(_PATIENCE_SECONDS, self.forget, token)
        return token

    def take(self, token: str) -> Offer:
        """For one build, which forgets it at its end. Raises InvalidParameter."""
        if token not in self._timers:
            raise InvalidParameter("offer: it was taken, is too old or never was (hint: make a new one)")
        self._timers.pop(token).cancel()
        return self._offers[token]

    def forget(self, token: str) -> None:
        """Also a token that is not known."""
        if timer := self._timers.pop(token, None):
            timer.cancel()
        if offer := self._offers.pop(token, None):
            offer.withdraw()

    def add_line(self, token: str, agent: str, line: Line) -> None:
        """Raises NotFound."""
        self.queue(token, agent).put_nowait(line)

    def queue(self, token: str, agent: str) -> "asyncio.Queue[Line]":
        """Raises NotFound, when the build is over too."""
        offer = self._offers.get(token)
        if offer is None or agent not in offer.agents:
            raise NotFound(f'no build waits for the agent "{agent}"')
        return offer.agents[agent]

    def close(self) -> None:
        for token in list(self._offers):
            self.forget(token)


async def serve_agent(path: Path, lines: "asyncio.Queue[Line]") -> asyncio.Server:
    """A socket at path; each connection goes to the client's agent. The caller closes it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(_next(lines), _AGENT_SECONDS)
        except TimeoutError:
            writer.close()
            return
        try:
            await _join(reader, writer, line)
        finally:
            line.done.set()
            writer.close()

    return await asyncio.start_unix_server(connected, str(path))


async def _next(lines: "asyncio.Queue[Line]") -> Line:
    """One whose client is still there."""
    while (line := await lines.get()).closed.done():
        pass
    return line


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line) -> None:
    """Until one side ends: an agent's client has nothing to read once it has closed."""
    ways = {
        asyncio.create_task(_copy(reader, line.writer)),
        asyncio.create_task(_copy(line.reader, writer)),
    }
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
