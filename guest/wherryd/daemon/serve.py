"""The daemon's life, until SIGTERM."""

import asyncio
import gc
import logging
import signal
import socket
import ssl
from collections.abc import Sequence

from wherryd.api import headers
from wherryd.daemon.engine import Engine
from wherryd.daemon.notify import notify
from wherryd.daemon.options import Options
from wherryd.daemon.sockets import BACKLOG, listen
from wherryd.daemon.tlsoptions import context_of
from wherryd.http.server import Server
from wherryd.http.tls import TlsFront
from wherryd.runtime.client import RuntimeClient

log = logging.getLogger("wherryd")

#: Streams that are still open at the end are cut after this.
_SHUTDOWN_SECONDS = 2.0


def run(options: Options) -> None:
    """Returns when it was told to stop. Raises EngineError when it cannot begin."""
    asyncio.run(_serve(options))


async def _serve(options: Options) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        # Not add_signal_handler: it asks inspect whether this is a coroutine.
        signal.signal(signum, lambda *_: loop.call_soon_threadsafe(stop.set))
    engine = Engine(options, RuntimeClient(exec_root=options.exec_root))
    engine.events.bind(loop)
    tls = context_of(options.tls) if options.tls is not None else None
    is_verified = options.tls is not None and options.tls.verify
    listeners = listen(options.hosts, options.group, is_verified=is_verified)
    try:
        app = await engine.open()
        try:
            server = Server(app, common=headers.COMMON)
            servers = await _serve_on(server, listeners, tls)
            # What is there now stays: no later collection has to look at it again.
            gc.collect()
            gc.freeze()
            notify("READY=1")
            log.info("API listens on %s", ", ".join(options.hosts))
            await stop.wait()
            notify("STOPPING=1")
            log.info("stopping; containers run on")
            for each in servers:
                each.close()
            engine.events.close()
            await server.close(_SHUTDOWN_SECONDS)
        finally:
            await engine.close()
    finally:
        for listener in listeners:
            listener.close()


async def _serve_on(
    server: Server, listeners: Sequence[socket.socket], tls: "ssl.SSLContext | None"
) -> list[asyncio.Server]:
    """Unix sockets stay plain: who may connect is their group's matter."""
    loop = asyncio.get_running_loop()
    servers: list[asyncio.Server] = []
    for listener in listeners:
        if listener.family == socket.AF_UNIX:
            servers.append(await loop.create_unix_server(server, sock=listener, backlog=BACKLOG))
        elif tls is not None:
            front = TlsFront(tls, server)
            servers.append(await asyncio.start_server(front, sock=listener, backlog=BACKLOG))
        else:
            servers.append(await loop.create_server(server, sock=listener, backlog=BACKLOG))
    return servers
