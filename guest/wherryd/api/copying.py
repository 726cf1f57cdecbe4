"""Copies between a client's connection and a process's stream, both ways, with back-pressure.

Bytes only: without a terminal the runtime has put Docker's frames around the output already.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar

from wherryd.api.hijack import Connection
from wherryd.containers.attach import DetachKeys
from wherryd.http import web
from wherryd.runtime.client import Stream

T = TypeVar("T")
_END: Final = object()

_BLOCK = 64 * 1024
#: How often a silent connection is looked at for a client that has vanished.
_LOOK_SECONDS = 5.0


async def copy(
    connection: Connection,
    stream: Stream,
    *,
    stdin: bool,
    detach: DetachKeys | None,
    through: Callable[[bytes], bytes] = bytes,
) -> bool:
    """Until the output ends, the client goes, or the detach keys are typed (then True).

    The end of the client's input half-closes the process's; its output goes on. through: what becomes of each
    block of output.
    """
    output = asyncio.create_task(_output(stream, connection, through))
    entry = asyncio.create_task(_input(connection, stream, detach)) if stdin else None
    gone = asyncio.ensure_future(asyncio.shield(connection.closed))
    waiting: set[asyncio.Future[Any]] = {output, gone}
    if entry is not None:
        waiting.add(entry)
    try:
        while not output.done() and not gone.done():
            await asyncio.wait(waiting, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if connection.is_lost():
                break
            if entry is not None and entry in waiting and entry.done():
                if _result(entry):
                    return True
                waiting.discard(entry)
        return False
    finally:
        await _end(output, entry, gone)


def _result(entry: "asyncio.Task[bool]") -> bool:
    """Whether the user detached. A process that closed its stdin only ends the input."""
    return entry.exception() is None and entry.result()


async def _end(*tasks: "asyncio.Future[Any] | None") -> None:
    present = [task for task in tasks if task is not None]
    for task in present:
        task.cancel()
    await asyncio.gather(*present, return_exceptions=True)


async def _output(stream: Stream, connection: Connection, through: Callable[[bytes], bytes]) -> None:
    with contextlib.suppress(ConnectionError):
        while block := await stream.reader.read(_BLOCK):
            connection.writer.write(through(block))
            await connection.writer.drain()


async def _input(connection: Connection, stream: Stream, detach: DetachKeys | None) -> bool:
    with contextlib.suppress(ConnectionError):
        while block := await connection.reader.read(_BLOCK):
            forward = detach.feed(block) if detach is not None else block
            if forward:
                stream.writer.write(forward)
                await stream.writer.drain()
            if detach is not None and detach.detached:
                return True
        if stream.writer.can_write_eof() and not stream.writer.is_closing():
            stream.writer.write_eof()
    return False


async def unless_gone(connection: Connection, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of the work, or None when the client closed its connection first."""
    task = asyncio.create_task(work)
    gone = asyncio.ensure_future(asyncio.shield(connection.closed))
    try:
        while not task.done() and not connection.is_lost():
            await asyncio.wait({task, gone}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        await _end(None if task.done() else task, gone)


async def finish(connection: Connection) -> None:
    """Sends what is still buffered and closes. A client that does not read is not waited for."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(10):
            await connection.writer.drain()
            connection.close()
            await connection.writer.wait_closed()


class Presence:
    """A request whose answer takes long: notices that its client has gone."""

    def __init__(self, request: web.Request) -> None:
        self._request = request

    async def wait(self, future: "asyncio.Future[T]") -> T:
        """The future's result. Raises ConnectionResetError when the client goes first."""
        while not future.done():
            await asyncio.wait({future}, timeout=_LOOK_SECONDS)
            if self._request.transport is None or self._request.transport.is_closing():
                future.cancel()
                raise ConnectionResetError("the client closed its connection")
        return future.result()

    async def iterate(self, source: AsyncIterator[T]) -> AsyncIterator[T]:
        """The items of the source for as long as the client is there."""
        while True:
            step = asyncio.ensure_future(anext(source, _END))
            try:
                item = await self.wait(step)
            except BaseException:
                await _end(step)
                raise
            if item is _END:
                return
            yield item  # type: ignore[misc]  # _END was ruled out
