"""Published ports: TCP listeners and UDP sockets on 127.0.0.1 that come and go with the containers."""

import asyncio
import errno
from collections.abc import Callable, Mapping
from typing import Any

from wherry.agent.events import Event
from wherry.agent.ports import Forward, Key

Emit = Callable[..., None]
#: forward -> what serves an accepted connection.
StreamFactory = Callable[[Forward], Callable[[], asyncio.Protocol]]
#: forward -> what serves the port's datagrams.
DatagramFactory = Callable[[Forward], Callable[[], asyncio.DatagramProtocol]]


class Forwards:
    """streams, datagrams: what serves TCP and UDP. emit: writes an event.

    Used on the event loop only. Connections that stand outlive their listener, as docker's do.
    """

    def __init__(self, streams: StreamFactory, datagrams: DatagramFactory, emit: Emit) -> None:
        self._streams = streams
        self._datagrams = datagrams
        self._emit = emit
        self._open: dict[Key, tuple[Forward, asyncio.Server | asyncio.DatagramTransport]] = {}
        self._failed: dict[Key, str] = {}
        self._lock = asyncio.Lock()

    async def reconcile(self, wanted: Mapping[Key, Forward]) -> None:
        """Opens and closes listeners until they are what is wanted. A port that cannot be had is an
        event, said once, and is tried again at the next call.
        """
        async with self._lock:
            for key, (forward, _) in list(self._open.items()):
                if wanted.get(key) != forward:
                    self._close(key)
            for key in [key for key in self._failed if key not in wanted]:
                del self._failed[key]
            await asyncio.sleep(0)  # a datagram socket is closed one turn of the loop later
            for key, forward in wanted.items():
                if key not in self._open:
                    await self._listen(forward)

    def close_container(self, container_id: str) -> None:
        """Closes a container's ports at once, without asking what else is wanted."""
        for key, (forward, _) in list(self._open.items()):
            if forward.container_id == container_id:
                self._close(key)

    def close(self) -> None:
        """Closes all. Closing twice is fine."""
        for key in list(self._open):
            self._close(key)

    def describe(self) -> list[dict[str, Any]]:
        """The forwards and the ports that could not be had, for `machine status`, `inspect` and `port`."""
        living = [
            {**_fields(forward), "state": "open"}
            for _, (forward, _) in sorted(self._open.items(), key=lambda item: item[0])
        ]
        return living + [
            {"port": port, "protocol": protocol, "state": "failed", "reason": reason}
            for (port, protocol), reason in sorted(self._failed.items())
        ]

    async def _listen(self, forward: Forward) -> None:
        key = forward.key
        try:
            opened = await self._bind(forward)
        except OSError as exc:
            reason = _reason(exc, forward)
            if self._failed.get(key) != reason:
                self._failed[key] = reason
                self._emit(Event.PORT_FAILED, **_fields(forward), reason=reason)
            return
        self._failed.pop(key, None)
        self._open[key] = (forward, opened)
        self._emit(Event.PORT_FORWARDED, **_fields(forward))

    async def _bind(self, forward: Forward) -> asyncio.Server | asyncio.DatagramTransport:
        loop = asyncio.get_running_loop()
        if forward.protocol == "tcp":
            factory = self._streams(forward)
            return await loop.create_server(factory, forward.address, forward.port, backlog=512)
        transport, _ = await loop.create_datagram_endpoint(
            self._datagrams(forward), local_addr=(forward.address, forward.port)
        )
        return transport

    def _close(self, key: Key) -> None:
        forward, opened = self._open.pop(key)
        opened.close()
        self._emit(Event.PORT_CLOSED, **_fields(forward))


def _fields(forward: Forward) -> dict[str, Any]:
    return {
        "port": forward.port,
        "protocol": forward.protocol,
        "address": forward.address,
        "container": forward.container_id,
    }


def _reason(exc: OSError, forward: Forward) -> str:
    port = forward.port if forward.protocol == "tcp" else f"{forward.port}/{forward.protocol}"
    if exc.errno == errno.EADDRINUSE:
        return f"another program on this host listens on port {port}; stop it, or publish another port"
    if exc.errno == errno.EACCES:
        return f"this user may not listen on port {port}; publish a port from 1024 up"
    return exc.strerror or str(exc)
