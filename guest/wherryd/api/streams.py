"""The streams of a container: attach, logs, wait, stats.

Source: Engine API 1.51, ContainerAttach, ContainerLogs, ContainerWait, ContainerStats. Headers leave
before the first byte of the body is known: a client starts the container only after it has seen them.
"""

import asyncio
import json
import zlib
from contextlib import aclosing
from typing import Any
from urllib.parse import quote_plus

from wherryd import clock
from wherryd.api import copying, hijack, history, params, websocket
from wherryd.api.app import require
from wherryd.containers.attach import Attachment, AttachWish, DetachKeys, parse_detach_keys
from wherryd.containers.logs import LogEntry, LogQuery
from wherryd.containers.service import ContainerService
from wherryd.containers.store import Container
from wherryd.errors import InvalidParameter
from wherryd.http import web
from wherrywire import rawstream
from wherrywire.rawstream import StreamId

_CONDITIONS = ("not-running", "next-exit", "removed")


class _Handlers:
    def __init__(self, service: ContainerService) -> None:
        self._service = service

    async def attach(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        container, wish, keys = self._attach_wish(request)
        stream, logs = params.boolean(query, "stream"), params.boolean(query, "logs")
        attachment = await self._service.attach(container.id, wish) if stream else None
        try:
            connection = await hijack.take_over(request, hijack.content_type(request, container.record.tty))
            try:
                if logs:
                    await hijack.until_read(connection)
                    await self._replay(container, wish, connection)
                if attachment is not None:
                    await self._stream(container, attachment, connection, keys)
            finally:
                await copying.finish(connection)
        finally:
            if attachment is not None:
                attachment.close()
        return hijack.HijackedResponse()

    async def _stream(
        self, container: Container, attachment: Attachment, connection: hijack.Connection, keys: bytes
    ) -> None:
        stream = await copying.unless_gone(connection, _ready(attachment))
        if stream is None:
            return
        detach = DetachKeys(keys) if container.record.tty and attachment.wish.stdin else None
        if await copying.copy(connection, stream, stdin=attachment.wish.stdin, detach=detach):
            self._service.deps.publish(container.record, "detach")

    async def _replay(self, container: Container, wish: AttachWish, connection: hijack.Connection) -> None:
        """`logs=1`: what was written before. The live stream is open already, so nothing falls between."""
        query = LogQuery(stdout=wish.stdout, stderr=wish.stderr)
        async with aclosing(self._service.logs(container, query)) as batches:
            async for entries in batches:
                text = b"".join(_framed(entry, container.record.tty, timestamps=False) for entry in entries)
                connection.writer.write(text)
                await connection.writer.drain()

    async def attach_websocket(self, request: web.Request) -> web.StreamResponse:
        every = request["api_version"] < history.WEBSOCKET_STREAMS
        container, wish, keys = self._attach_wish(request, every=every)
        tty = container.record.tty
        attachment = None
        if params.boolean(request.query, "stream"):
            attachment = await self._service.attach(container.id, wish)
        try:
            socket = await websocket.open_socket(
                request, as_text=request["api_version"] < history.WEBSOCKET_IS_BINARY
            )
            if params.boolean(request.query, "logs"):
                query = LogQuery(stdout=wish.stdout, stderr=wish.stderr)
                async with aclosing(self._service.logs(container, query)) as batches:
                    async for entries in batches:
                        await socket.send_bytes(b"".join(entry.payload for entry in entries))
            if attachment is not None:
                detach = DetachKeys(keys) if tty and wish.stdin else None
                if await websocket.stream(socket, attachment, tty=tty, detach=detach):
                    self._service.deps.publish(container.record, "detach")
            await socket.close()
            return hijack.HijackedResponse()
        finally:
            if attachment is not None:
                attachment.close()

    def _attach_wish(
        self, request: web.Request, *, every: bool = False
    ) -> tuple[Container, AttachWish, bytes]:
        """The container, what of its streams is wanted, and the detach keys. every: all of them, whatever is
        asked for. Raises EngineError."""
        query = request.query
        container = self._service.get(require(request, "id"))
        keys = parse_detach_keys(query.get("detachKeys", ""))
        wish = AttachWish(
            stdin=(every or params.boolean(query, "stdin")) and container.record.config["OpenStdin"],
            stdout=every or params.boolean(query, "stdout"),
            stderr=every or params.boolean(query, "stderr"),
        )
        return container, wish, keys

    async def logs(self, request: web.Request) -> web.StreamResponse:
        container = self._service.get(require(request, "id"))
        query = _log_query(request)
        timestamps = params.boolean(request.query, "timestamps")
        details = params.boolean(request.query, "details")
        tty = container.record.tty
        modern = request["api_version"] >= history.MULTIPLEXED_TYPE
        response = web.StreamResponse(
            headers={"Content-Type": hijack.MULTIPLEXED if modern and not tty else hijack.RAW}
        )
        # A client that goes leaves an error with references to all of this, so it is closed here and now.
        async with aclosing(self._service.logs(container, query)) as batches:
            await response.prepare(request)
            try:
                async for entries in copying.Presence(request).iterate(batches):
                    framed = (
                        _framed(entry, tty, timestamps=timestamps, details=details) for entry in entries
                    )
                    await response.write(b"".join(framed))
            except ConnectionError:
                raise
            except (OSError, EOFError, zlib.error) as exc:
                # A log that cannot be read on. The status is out: docker's clients end with this frame.
                told = f"Error grabbing logs: {exc}\n".encode()
                await response.write(told if tty else rawstream.encode(StreamId.SYSTEM_ERROR, told))
        await response.write_eof()
        return response

    async def wait(self, request: web.Request) -> web.StreamResponse:
        container = self._service.get(require(request, "id"))
        condition = request.query.get("condition") or "not-running"
        if condition not in _CONDITIONS:
            raise InvalidParameter(f'invalid condition: "{condition}" (hint: {", ".join(_CONDITIONS)})')
        # The task runs up to its first pause now, so that it is registered before the headers leave.
        waiting = asyncio.ensure_future(self._service.wait(container, condition))
        await asyncio.sleep(0)
        version = request["api_version"]
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if version >= history.WAIT_IN_TWO_STEPS:
            await response.prepare(request)
        outcome = await copying.Presence(request).wait(waiting)
        document: dict[str, Any] = {"StatusCode": outcome.code}
        if version < history.WAIT_IN_TWO_STEPS:
            return web.json_response(document)
        if outcome.error:
            if condition == "removed" and version < history.WAIT_TELLS_OF_REMOVAL:
                await response.write_eof()
                return response
            document["Error"] = {"Message": outcome.error}
        await response.write_eof(json.dumps(document).encode() + b"\n")
        return response

    async def stats(self, request: web.Request) -> web.StreamResponse:
        container = self._service.get(require(request, "id"))
        stream = params.boolean(request.query, "stream", True)
        if not stream:
            one_shot = params.boolean(request.query, "one-shot")
            return web.json_response(await self._single_sample(container, one_shot))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        previous: dict[str, Any] | None = None
        while not container.removed.done() and request.transport is not None:
            previous = await self._service.sample(container, previous)
            await response.write(json.dumps(previous).encode() + b"\n")
            await asyncio.wait({container.removed}, timeout=1)
        await response.write_eof()
        return response

    async def _single_sample(self, container: Container, one_shot: bool) -> dict[str, Any]:
        first = await self._service.sample(container, None)
        if one_shot or not container.record.alive:
            return first
        await asyncio.wait({container.next_exit}, timeout=1)
        return await self._service.sample(container, first)


async def _ready(attachment: Attachment) -> Any:
    return await asyncio.shield(attachment.ready)


def _log_query(request: web.Request) -> LogQuery:
    query = request.query
    stdout, stderr = params.boolean(query, "stdout"), params.boolean(query, "stderr")
    if not stdout and not stderr:
        raise InvalidParameter("Bad parameters: you must choose at least one stream")
    tail = query.get("tail", "all")
    return LogQuery(
        stdout=stdout,
        stderr=stderr,
        follow=params.boolean(query, "follow"),
        # Anything that is not a number means everything, as dockerd reads it.
        tail=int(tail) if tail.isascii() and tail.isdecimal() and len(tail) < 10 else None,
        since=clock.parse_moment(query.get("since", ""), "since"),
        until=clock.parse_moment(query.get("until", ""), "until"),
    )


def _framed(entry: LogEntry, tty: bool, *, timestamps: bool, details: bool = False) -> bytes:
    payload = entry.payload
    if entry.starts_line:
        if details:
            payload = _details(entry) + payload
        if timestamps:
            payload = f"{entry.time} ".encode() + payload
    return payload if tty else rawstream.encode(entry.stream, payload)


def _details(entry: LogEntry) -> bytes:
    """`k=v,k2=v2 `: what the log was told to keep, sorted and escaped as in a query string."""
    pairs = sorted(entry.attributes.items())
    return (",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs) + " ").encode()


def routes(service: ContainerService) -> list[web.RouteDef]:
    handlers = _Handlers(service)
    return [
        web.post("/containers/{id}/attach", handlers.attach),
        web.get("/containers/{id}/attach/ws", handlers.attach_websocket, allow_head=False),
        web.get("/containers/{id}/logs", handlers.logs, allow_head=False),
        web.post("/containers/{id}/wait", handlers.wait),
        web.get("/containers/{id}/stats", handlers.stats, allow_head=False),
    ]
