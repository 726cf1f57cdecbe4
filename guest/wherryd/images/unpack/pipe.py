"""The ends of pipes to and from a child, without a thread: whoever is faster waits."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable

_PIPE_BYTES = 1024 * 1024


class _End:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting: asyncio.Event | None = None
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(fd, False)

    def close(self) -> None:
        """Whoever waits for the other side is told. Closing twice is fine."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        if self._waiting is not None:
            # Before the number is free for something else.
            _forget(fd)
            self._waiting.set()
        os.close(fd)

    async def _ready(self, add: Callable[..., None]) -> None:
        self._waiting = asyncio.Event()
        add(self._fd, self._waiting.set)
        try:
            await self._waiting.wait()
        finally:
            self._waiting = None
            if self._fd >= 0:
                _forget(self._fd)


def _forget(fd: int) -> None:
    loop = asyncio.get_running_loop()
    loop.remove_writer(fd)
    loop.remove_reader(fd)


class PipeWriter(_End):
    async def write(self, data: bytes | memoryview) -> None:
        """Waits while the reader is behind. Raises BrokenPipeError when it has gone."""
        loop = asyncio.get_running_loop()
        view = memoryview(data)
        while view:
            if self._fd < 0:
                raise BrokenPipeError("the pipe was closed")
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await self._ready(loop.add_writer)


class PipeReader(_End):
    async def chunks(self) -> AsyncIterator[bytes]:
        """What comes, until its end, or until `close`."""
        loop = asyncio.get_running_loop()
        while self._fd >= 0:
            try:
                data = os.read(self._fd, _PIPE_BYTES)
            except BlockingIOError:
                await self._ready(loop.add_reader)
                continue
            if not data:
                return
            yield data
