"""GET /containers/{id}/attach/ws in a running engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from native_engine import NativeEngine

pytestmark = pytest.mark.root

ALL = "stream=1&stdin=1&stdout=1&stderr=1"


@asynccontextmanager
async def attached(
    engine: NativeEngine, container: str, query: str = ALL
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    connector = aiohttp.UnixConnector(str(engine.socket))
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(60):
        url = f"http://localhost/containers/{container}/attach/ws?{query}"
        async with session.ws_connect(url) as connection:
            yield connection


async def everything(connection: aiohttp.ClientWebSocketResponse) -> bytes:
    """Up to the end; messages are binary and have no frames of Docker's."""
    found = b""
    async for message in connection:
        assert message.type is aiohttp.WSMsgType.BINARY
        found += message.data
    return found


async def start(engine: NativeEngine, container: str) -> None:
    answer = await asyncio.to_thread(engine.call, "POST", f"/containers/{container}/start")
    assert answer.status == 204


async def test_a_websocket_carries_output_from_the_first_byte_to_the_last(engine: NativeEngine) -> None:
    container = await asyncio.to_thread(engine.create, "sh", "-c", "echo out; echo err >&2")
    async with attached(engine, container) as connection:
        await start(engine, container)
        assert sorted((await everything(connection)).split()) == [b"err", b"out"]


async def test_a_websocket_carries_stdin(engine: NativeEngine) -> None:
    container = await asyncio.to_thread(lambda: engine.create("head", "-n", "2", OpenStdin=True))
    async with attached(engine, container) as connection:
        await connection.send_bytes(b"one\n")
        await start(engine, container)
        await connection.send_str("two\n")
        assert await everything(connection) == b"one\ntwo\n"


async def test_what_was_written_before_comes_with_logs(engine: NativeEngine) -> None:
    container = await asyncio.to_thread(engine.run, "echo", "before")
    await asyncio.to_thread(engine.wait, container)
    async with attached(engine, container, "logs=1&stdout=1") as connection:
        assert await everything(connection) == b"before\n"


async def test_the_detach_keys_end_the_connection_and_the_container_runs_on(engine: NativeEngine) -> None:
    container = await asyncio.to_thread(lambda: engine.run("cat", OpenStdin=True, Tty=True))
    async with attached(engine, container, f"{ALL}&detachKeys=ctrl-x,x") as connection:
        await connection.send_bytes(b"\x18x")
        await everything(connection)
    assert (await asyncio.to_thread(engine.inspect, container))["State"]["Running"]


async def test_a_paused_or_unknown_container_is_an_ordinary_error(engine: NativeEngine) -> None:
    container = await asyncio.to_thread(engine.run, "sleep", "60")
    await asyncio.to_thread(engine.call, "POST", f"/containers/{container}/pause")
    for name, status in ((container, 409), ("nobody", 404)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with attached(engine, name):
                pass
        assert caught.value.status == status
