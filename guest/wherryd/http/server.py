"""All connections of the API: what they share, and their end."""

import asyncio
from collections.abc import Mapping
from typing import Final

from wherryd.http.connection import Connection, Handle, Shared

#: Bounds the memory that a request's body takes which is wanted as a whole.
MAX_BODY_BYTES: Final = 1024 * 1024


class Server:
    """A protocol factory for asyncio. common: header fields of every answer."""

    def __init__(
        self, handle: Handle, *, common: Mapping[str, str], max_body_bytes: int = MAX_BODY_BYTES
    ) -> None:
        self._shared = Shared(handle, common, max_body_bytes, asyncio.get_running_loop())

    def __call__(self) -> Connection:
        return Connection(self._shared)

    async def close(self, patience_seconds: float) -> None:
        """Idle connections end at once; requests that are still at it after this many seconds are cut off."""
        tasks = []
        for connection in tuple(self._shared.connections):
            if connection.task is None:
                connection.close()
            else:
                tasks.append(connection.task)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=patience_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in tuple(self._shared.connections):
            connection.close()
