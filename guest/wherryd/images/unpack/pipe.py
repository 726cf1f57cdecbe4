"""The ends of pipes to and from a child, without a thread: whoever is faster waits."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable

_PIPE_BYTES = 1024 * 1024


class _End:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(fd, False)

    def close(self) -> None:
        """Closing twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def _ready(self, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
        ready = asyncio.Event()
        fd = self._fd
        add(fd, ready.set)
        try:
            await ready.wait()
        finally:
            remove(fd)


class PipeWriter(_End):
    async def write(self, data: bytes | memoryview) -> None:
        """Waits while the reader is behind. Raises BrokenPipeError when it has gone."""
        loop = asyncio.get_running_loop()
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await self._ready(loop.add_writer, loop.remove_writer)


class PipeReader(_End):
    async def chunks(self) -> AsyncIterator[bytes]:
        """What comes, until its end."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = os.read(self._fd, _PIPE_BYTES)
            except BlockingIOError:
                await self._ready(loop.add_reader, loop.remove_reader)
                continue
            if not data:
                return
            yield data
