"""Our own HTTP server with some routes, on loopback, and a client of somebody else's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from wherryd.api import headers
from wherryd.http.connection import Handle
from wherryd.http.server import Server


@asynccontextmanager
async def listening(handle: Handle) -> AsyncIterator[tuple[str, int]]:
    """Its address, as long as the block runs."""
    server = Server(handle, common=headers.COMMON)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        address: tuple[str, int] = listener.sockets[0].getsockname()
        yield address
    finally:
        listener.close()
        await server.close(5)
        await listener.wait_closed()


@asynccontextmanager
async def serving(handle: Handle) -> AsyncIterator[aiohttp.ClientSession]:
    async with listening(handle) as (host, port), aiohttp.ClientSession(f"http://{host}:{port}") as session:
        yield session
