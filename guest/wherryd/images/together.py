"""Several things at once, and what they report on the way."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from wherryd.images.image import Progress

T = TypeVar("T")
Report = Callable[[Progress], None]


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Its result. Cancelled, however often, it is waited for first: a thread cannot be stopped, and what it
    makes must be known to whoever cleans up."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None and task.exception() is None:
        raise cancelled
    return task.result()


async def together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All of them. The first failure ends the others, waits for their clean-up, and is raised itself."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        await _end(tasks)


async def reported(work: Callable[[Report], Awaitable[None]]) -> AsyncGenerator[Progress, None]:
    """What work reports, as it comes; then what it raises. Left early, work is cancelled."""
    lines: asyncio.Queue[Progress | None] = asyncio.Queue()

    async def run() -> None:
        try:
            await work(lines.put_nowait)
        finally:
            lines.put_nowait(None)

    task = asyncio.create_task(run())
    try:
        while (line := await lines.get()) is not None:
            yield line
        await task
    finally:
        await _end([task])


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Turns:
    """One at a time per key; different keys do not wait for each other."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)


class Slot:
    """A place in a semaphore; given back by release, or at the end of `taken`."""

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore: asyncio.Semaphore | None = semaphore

    def release(self) -> None:
        """Idempotent."""
        if self._semaphore is not None:
            self._semaphore.release()
            self._semaphore = None


@asynccontextmanager
async def taken(semaphore: asyncio.Semaphore) -> AsyncIterator[Slot]:
    """For work of which only the first part needs a place."""
    await semaphore.acquire()
    slot = Slot(semaphore)
    try:
        yield slot
    finally:
        slot.release()
