"""`wherryd`: starts the engine, listens, stops when told to. Containers do not depend on this process."""

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from wherryd.api.app import HEADERS
from wherryd.daemon.engine import Engine
from wherryd.daemon.locks import hold
from wherryd.daemon.notify import notify
from wherryd.daemon.options import Options, parse
from wherryd.daemon.sockets import BACKLOG, listen
from wherryd.daemon.tlsoptions import context_of
from wherryd.errors import EngineError
from wherryd.http.server import Server
from wherryd.http.tls import TlsFront
from wherryd.runtime.client import RuntimeClient
from wherryd.sys import memory

log = logging.getLogger("wherryd")

#: Streams that are still open at the end are cut after this.
_SHUTDOWN_SECONDS = 2.0


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. The only place that exits."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["audit"]:
            from wherryd.daemon import auditcommand

            sys.exit(auditcommand.run(arguments[1:]))
        options = parse(arguments)
        _set_up_logging(options.debug)
        if os.geteuid() != 0:
            raise EngineError("needs to be started as root (hint: sudo wherryd)")
        # Not the caller's: what containers see (cgroups, files that are mounted into them) is made with it.
        os.umask(0o022)
        _make_roots(options)
        memory.share_one_arena()
        with hold(options.data_root / "lock"), hold(options.exec_root / "lock"), _pidfile(options.pidfile):
            asyncio.run(_serve(options))
    except EngineError as exc:
        print(f"wherryd: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except OSError as exc:
        print(f"wherryd: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def _set_up_logging(debug: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _make_roots(options: Options) -> None:
    """Both roots are for root alone; others may pass through the data root to what is mounted from it."""
    options.data_root.mkdir(mode=0o710, parents=True, exist_ok=True)
    options.exec_root.mkdir(mode=0o711, parents=True, exist_ok=True)
    (options.data_root / "containers").mkdir(mode=0o710, exist_ok=True)
    bundles = options.exec_root / "bundles"
    bundles.mkdir(mode=0o700, exist_ok=True)


class _pidfile:  # noqa: N801 - used as a with statement's function
    """Holds our pid while we run."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def __enter__(self) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(f"{os.getpid()}\n")

    def __exit__(self, *_exc: object) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)


async def _serve(options: Options) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    engine = Engine(options, RuntimeClient(exec_root=options.exec_root))
    engine.events.bind(loop)
    tls = context_of(options.tls) if options.tls is not None else None
    is_verified = options.tls is not None and options.tls.verify
    listeners = listen(options.hosts, options.group, is_verified=is_verified)
    try:
        app = await engine.open()
        try:
            server = Server(app, common=HEADERS)
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
    server: Server, listeners: Sequence[socket.socket], tls: ssl.SSLContext | None
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


if __name__ == "__main__":
    main()
