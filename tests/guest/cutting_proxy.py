"""A TCP proxy on loopback that breaks connections off after an exact number of bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_BLOCK = 16 * 1024


class CuttingProxy:
    """Counts what the server sends, over all connections. host: where clients connect."""

    def __init__(self, target: str) -> None:
        name, _, port = target.rpartition(":")
        self._target = (name, int(port))
        self.host = ""
        #: Bytes from the server to clients since the last `cut_at` or `heal`.
        self.passed = 0
        #: How many connections were broken off.
        self.cuts = 0
        self._cut_at: int | None = None
        self._lasting = False
        self._dead = False
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()

    def cut_at(self, byte: int, *, lasting: bool) -> None:
        """The connection that brings this byte is cut before it. lasting: so is every other, open or new."""
        self.heal()
        self._cut_at, self._lasting = byte, lasting

    def heal(self) -> None:
        self.passed, self.cuts = 0, 0
        self._cut_at, self._lasting, self._dead = None, False, False

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._dead:
            self.cuts += 1
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(*self._target)
        pair = (writer, back)
        if self._dead:  # since then
            self.cuts += 1
            _abort(pair)
            return
        self._pairs.add(pair)
        try:
            with contextlib.suppress(ConnectionError):
                await asyncio.gather(self._up(reader, back), self._down(there, pair))
        finally:
            self._pairs.discard(pair)
            _abort(pair)

    async def _up(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while data := await reader.read(_BLOCK):
            back.write(data)
            await back.drain()
        back.close()

    async def _down(
        self, there: asyncio.StreamReader, pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    ) -> None:
        writer = pair[0]
        while data := await there.read(_BLOCK):
            if pair not in self._pairs:
                return  # cut together with another one
            if self._cut_at is not None and self.passed + len(data) > self._cut_at:
                writer.write(data[: self._cut_at - self.passed])
                self.passed, self._cut_at = self._cut_at, None
                await writer.drain()
                self._cut(pair)
                return
            self.passed += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    def _cut(self, pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self._dead = self._lasting
        for each in list(self._pairs) if self._lasting else [pair]:
            self.cuts += 1
            self._pairs.discard(each)
            # What was written reaches the client: the cut is after it, not somewhere before.
            each[0].close()
            each[1].transport.abort()


def _abort(pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
    for writer in pair:
        if not writer.is_closing():
            writer.transport.abort()


@asynccontextmanager
async def cutting_proxy(target: str) -> AsyncIterator[CuttingProxy]:
    """target: host:port of the server behind it."""
    proxy = CuttingProxy(target)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        proxy.heal()
        for pair in list(proxy._pairs):
            _abort(pair)
        server.close()
        await server.wait_closed()
