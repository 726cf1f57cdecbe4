"""The client's end of a control connection to a monitor: requests out, answers in, any order."""

import asyncio
import contextlib
import itertools
import json
import socket
from typing import Any, Final

from wherryd.errors import RuntimeFault
from wherryd.runtime.messages import error_from

#: Longest line of an answer; stats with many devices are some tens of KiB.
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024


class ConnectionLostError(RuntimeFault):
    """The monitor has gone in the middle of a talk: it was killed, or it has been deleted."""


class MonitorLine:
    """`close` may be called twice; the monitor and its container live on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._task: asyncio.Task[None] | None = None
        self.is_lost = False

    @staticmethod
    async def over(connection: socket.socket) -> "MonitorLine":
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=MAX_ANSWER_BYTES)
        return MonitorLine(reader, writer)

    async def first_answer(self) -> dict[str, Any]:
        """What the monitor says by itself once, when it has created its container, or could not."""
        line = await self._reader.readline()
        if not line:
            raise ConnectionLostError(
                "the monitor ended before it could create the container; see the daemon's log"
            )
        return _result(json.loads(line))

    async def call(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Raises what the monitor answered, or ConnectionLostError."""
        if self.is_lost:
            raise ConnectionLostError("the container's monitor has gone")
        if self._task is None:
            self._task = asyncio.create_task(self._read())
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            self._writer.write(json.dumps({"id": number, "op": op, **arguments}).encode() + b"\n")
            return _result(await future)
        finally:
            self._pending.pop(number, None)

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                document = json.loads(line)
                future = self._pending.get(document["id"])
                if future is not None and not future.done():
                    future.set_result(document)
        except (ConnectionError, ValueError):
            pass  # cut off in the middle of a line: lost like any other end
        finally:
            self.is_lost = True
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(ConnectionLostError("the container's monitor has gone"))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self.is_lost = True
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


def _result(document: dict[str, Any]) -> dict[str, Any]:
    if "error" in document:
        raise error_from(document["error"])
    return dict(document["ok"])
