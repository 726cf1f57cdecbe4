"""`/containers/{id}/exec` and `/exec`: run a further command. Source: Engine API 1.51, section Exec."""

import asyncio
from collections.abc import Callable

from wherryd.api import copying, gates, hijack, history, params
from wherryd.api.app import require
from wherryd.api.containers import size_of
from wherryd.containers import kinds
from wherryd.containers.attach import DetachKeys, parse_detach_keys
from wherryd.containers.execs import Exec, check_running
from wherryd.containers.service import ContainerService
from wherryd.errors import EngineError
from wherryd.http import web
from wherrywire import rawstream

#: Exit codes of what did not start. Source: docker run reference, "Exit status".
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127


class _Handlers:
    def __init__(self, service: ContainerService) -> None:
        self._service = service
        self._execs = service.execs
        self._tasks: set[asyncio.Task[int]] = set()

    async def create(self, request: web.Request) -> web.Response:
        container = self._service.get(require(request, "id"))
        body = gates.fit(await params.json_object(request), history.EXEC_CREATE, request["api_version"])
        execution = self._execs.create(container, body)
        return web.json_response({"Id": execution.id}, status=201)

    async def inspect(self, request: web.Request) -> web.Response:
        document = self._execs.inspect(self._execs.get(require(request, "id")))
        did_not_start = document["ExitCode"] == _NOT_FOUND and not document["Pid"]
        if did_not_start and request["api_version"] < history.EXEC_OF_NOTHING_IS_127:
            document["ExitCode"] = _NOT_EXECUTABLE
        return web.json_response(document)

    async def resize(self, request: web.Request) -> web.Response:
        height, width = size_of(request)
        await self._execs.resize(self._execs.get(require(request, "id")), height, width)
        return web.Response(status=200)

    async def start(self, request: web.Request) -> web.StreamResponse:
        execution = self._execs.get(require(request, "id"))
        body = gates.fit(await params.json_object(request), history.EXEC_START, request["api_version"])
        size = None
        if body.get("ConsoleSize"):
            height, width = kinds.size_pair(body["ConsoleSize"], "ConsoleSize")
            size = (height, width)
        if body.get("Detach"):
            await self._execs.prepare(execution, size)
            await self._execs.start(execution)
            self._wait_later(execution)
            return web.Response(status=200)
        keys = parse_detach_keys(execution.wish["DetachKeys"])
        self._execs.check_startable(execution)
        check_running(execution.container)
        # Whether the process has a terminal was said at its creation. Whether this client wants frames is
        # said now, and clients that say nothing are in for them.
        raw = bool(body.get("Tty"))
        connection = await hijack.take_over(request, hijack.content_type(request, raw))
        try:
            await self._run(execution, connection, size, keys, raw=raw)
        finally:
            await copying.finish(connection)
        return hijack.HijackedResponse()

    async def _run(
        self,
        execution: Exec,
        connection: hijack.Connection,
        size: tuple[int, int] | None,
        keys: bytes,
        *,
        raw: bool,
    ) -> None:
        """raw: without frames around the output."""
        try:
            await self._execs.prepare(execution, size)
            stream = await self._execs.attach(execution)
            try:
                await self._execs.start(execution)
            except BaseException:
                stream.close()
                raise
        except EngineError as exc:
            # The header is out: the message goes into the stream, the exit code into inspect.
            text = f"{exc}\r\n".encode()
            connection.writer.write(text if raw else rawstream.encode(rawstream.StreamId.STDOUT, text))
            return
        ended = self._wait_later(execution)
        detach = DetachKeys(keys) if execution.wish["Tty"] and execution.wish["AttachStdin"] else None
        try:
            detached = await copying.copy(
                connection,
                stream,
                stdin=execution.wish["AttachStdin"],
                detach=detach,
                through=_reframing(tty=execution.wish["Tty"], raw=raw),
            )
        finally:
            stream.close()
        if not detached and not connection.is_lost():
            # The client asks for the exit code as soon as the connection ends.
            await copying.unless_gone(connection, _shielded(ended))

    def _wait_later(self, execution: Exec) -> "asyncio.Task[int]":
        task = asyncio.create_task(self._execs.wait(execution))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _reframing(*, tty: bool, raw: bool) -> Callable[[bytes], bytes]:
    """Makes of the runtime's output, framed without a terminal, what the client wants."""
    if tty == raw:
        return bytes
    if tty:
        return lambda block: rawstream.encode(rawstream.StreamId.STDOUT, block)
    decoder = rawstream.Decoder()
    return lambda block: b"".join(frame.payload for frame in decoder.feed(block))


async def _shielded(task: "asyncio.Task[int]") -> int:
    return await asyncio.shield(task)


def routes(service: ContainerService) -> list[web.RouteDef]:
    handlers = _Handlers(service)
    return [
        web.post("/containers/{id}/exec", handlers.create),
        web.post("/exec/{id}/start", handlers.start),
        web.post("/exec/{id}/resize", handlers.resize),
        web.get("/exec/{id}/json", handlers.inspect, allow_head=False),
    ]
