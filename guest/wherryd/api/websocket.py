"""`GET /containers/{id}/attach/ws`: attach for who can only speak WebSocket, as a browser does.

Source: Engine API 1.51, ContainerAttachWebsocket. Output comes as binary messages without frames (up to API
1.27 as text), both streams as they come; what the client sends is stdin. Errors before the upgrade are
ordinary answers.
"""

import asyncio
import contextlib

from wherryd.api import headers, hijack
from wherryd.containers.attach import Attachment, DetachKeys
from wherryd.http import web
from wherryd.http.websocket import Socket, accept_header
from wherryd.runtime.client import Stream
from wherrywire import rawstream

_BLOCK = 64 * 1024
#: The largest message taken from a client.
MAX_MESSAGE_BYTES = 1024 * 1024


async def open_socket(request: web.Request, *, as_text: bool = False) -> Socket:
    """Upgrades the connection. as_text: output goes out in text messages. Raises InvalidParameter for a
    request that asks for no WebSocket."""
    accept = accept_header(request)
    connection = await hijack.open_stream(request)
    fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
    connection.writer.write(headers.head("HTTP/1.1 101 Switching Protocols", fields))
    return Socket(connection.reader, connection.writer, max_message_bytes=MAX_MESSAGE_BYTES, as_text=as_text)


async def stream(socket: Socket, attachment: Attachment, *, tty: bool, detach: DetachKeys | None) -> bool:
    """Until the output ends, the client goes, or the detach keys are typed (then True)."""
    tasks: dict[str, asyncio.Task[bool]] = {}
    opened: asyncio.Future[Stream | None] = asyncio.get_running_loop().create_future()
    tasks["output"] = asyncio.create_task(_output(socket, attachment, opened, tty=tty))
    tasks["input"] = asyncio.create_task(_input(socket, opened, attachment.wish.stdin, detach))
    try:
        await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        done = tasks["input"]
        return done.done() and done.exception() is None and done.result()
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _output(
    socket: Socket,
    attachment: Attachment,
    opened: "asyncio.Future[Stream | None]",
    *,
    tty: bool,
) -> bool:
    source = await asyncio.shield(attachment.ready)
    opened.set_result(source)
    if source is None:
        return False
    decoder = rawstream.Decoder()
    with contextlib.suppress(ConnectionError):
        while block := await source.reader.read(_BLOCK):
            payloads = [block] if tty else [frame.payload for frame in decoder.feed(block)]
            for payload in payloads:
                await socket.send_bytes(payload)
    return False


async def _input(
    socket: Socket,
    opened: "asyncio.Future[Stream | None]",
    stdin: bool,
    detach: DetachKeys | None,
) -> bool:
    """Ends when the client closes. What comes before the process has its streams waits in the socket."""
    target = await asyncio.shield(opened) if stdin else None
    with contextlib.suppress(ConnectionError):
        async for data in socket.messages():
            if target is None:
                continue
            forward = detach.feed(data) if detach is not None else data
            if forward:
                target.writer.write(forward)
                await target.writer.drain()
            if detach is not None and detach.detached:
                return True
        if target is not None and target.writer.can_write_eof() and not target.writer.is_closing():
            target.writer.write_eof()
    return False
