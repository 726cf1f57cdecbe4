"""Published ports: TCP listeners and UDP sockets on the loopback that come and go with the containers.

"localhost" is 127.0.0.1 and ::1, and programs differ in which they try first: a port is opened on both. A
host without IPv6 has only the one; where another program has the port on ::1 alone, the forward says so.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from wherry.agent.events import Event
from wherry.agent.ports import Forward, Key

Emit = Callable[..., None]
#: forward -> what serves an accepted connection.
StreamFactory = Callable[[Forward], Callable[[], asyncio.Protocol]]
#: forward -> what serves the port's datagrams.
DatagramFactory = Callable[[Forward], Callable[[], asyncio.DatagramProtocol]]
_Listener: TypeAlias = asyncio.Server | asyncio.DatagramTransport

#: Between two attempts to have a port that another program has.
RETRY_SECONDS = 2.0
#: What binding ::1 says on a host without IPv6.
_NO_IPV6 = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


@dataclass(slots=True)
class _Opened:
    """listeners: by address. problem: why it does not listen on all of its addresses, "" when it does."""

    forward: Forward
    listeners: dict[str, _Listener] = field(default_factory=dict)
    problem: str = ""

    def close(self) -> None:
        for listener in self.listeners.values():
            listener.close()


class Forwards:
    """streams, datagrams: what serves TCP and UDP. emit: writes an event.

    Used on the event loop only. Connections that stand outlive their listener, as docker's do.
    """

    def __init__(self, streams: StreamFactory, datagrams: DatagramFactory, emit: Emit) -> None:
        self._streams = streams
        self._datagrams = datagrams
        self._emit = emit
        self._open: dict[Key, _Opened] = {}
        self._failed: dict[Key, str] = {}
        self._lock = asyncio.Lock()
        self._wanted: Mapping[Key, Forward] = {}
        self._again: asyncio.Task[None] | None = None

    async def reconcile(self, wanted: Mapping[Key, Forward]) -> None:
        """Opens and closes listeners until they are what is wanted. A port that cannot be had is an
        event, said once, and is tried again at the next call, or some seconds later.
        """
        self._wanted = wanted
        async with self._lock:
            for key, opened in list(self._open.items()):
                if wanted.get(key) != opened.forward:
                    self._close(key)
            for key in [key for key in self._failed if key not in wanted]:
                del self._failed[key]
            await asyncio.sleep(0)  # a datagram socket is closed one turn of the loop later
            for key, forward in wanted.items():
                if key not in self._open:
                    await self._listen(forward)
                elif self._open[key].problem:
                    await self._complete(self._open[key])
        if self._lacks and self._again is None:
            self._again = asyncio.create_task(self._try_again())

    @property
    def _lacks(self) -> bool:
        """Whether some port is not as it is wanted."""
        return bool(self._failed) or any(opened.problem for opened in self._open.values())

    async def _try_again(self) -> None:
        while self._lacks:
            await asyncio.sleep(RETRY_SECONDS)
            await self.reconcile(self._wanted)
        self._again = None

    def close_container(self, container_id: str) -> None:
        """Closes a container's ports at once, without asking what else is wanted."""
        for key, opened in list(self._open.items()):
            if opened.forward.container_id == container_id:
                self._close(key)

    def close(self) -> None:
        """Closes all. Closing twice is fine."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        for key in list(self._open):
            self._close(key)

    def describe(self) -> list[dict[str, Any]]:
        """The forwards and the ports that could not be had, for `machine status`, `inspect` and `port`."""
        living = [
            {
                **_fields(opened.forward),
                "addresses": list(opened.listeners),
                "state": "open",
                **({"reason": opened.problem} if opened.problem else {}),
            }
            for _, opened in sorted(self._open.items(), key=lambda item: item[0])
        ]
        return living + [
            {"port": port, "protocol": protocol, "state": "failed", "reason": reason}
            for (port, protocol), reason in sorted(self._failed.items())
        ]

    async def _listen(self, forward: Forward) -> None:
        """On its first address and, when that could be had, on the others."""
        key, first = forward.key, forward.addresses[0]
        try:
            listener = await self._bind(forward, first)
        except OSError as exc:
            reason = _reason(exc, forward)
            if self._failed.get(key) != reason:
                self._failed[key] = reason
                self._emit(Event.PORT_FAILED, **_fields(forward), reason=reason)
            return
        self._failed.pop(key, None)
        opened = self._open[key] = _Opened(forward, {first: listener})
        await self._complete(opened)
        self._emit(Event.PORT_FORWARDED, **_fields(forward) | {"addresses": list(opened.listeners)})

    async def _complete(self, opened: _Opened) -> None:
        """Listens on what is missing of its addresses."""
        forward, before = opened.forward, opened.problem
        opened.problem = ""
        for address in forward.addresses:
            if address in opened.listeners:
                continue
            try:
                listener = await self._bind(forward, address)
            except OSError as exc:
                if exc.errno in _NO_IPV6 or isinstance(exc, socket.gaierror):
                    continue
                opened.problem = _reason(exc, forward, address)
                if opened.problem != before:
                    fields = _fields(forward) | {"addresses": [address]}
                    self._emit(Event.PORT_FAILED, **fields, reason=opened.problem)
                continue
            if self._open.get(forward.key) is opened:
                opened.listeners[address] = listener
            else:  # closed meanwhile: its container has ended
                listener.close()

    async def _bind(self, forward: Forward, address: str) -> _Listener:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        if forward.protocol == "tcp":
            factory = self._streams(forward)
            server = await loop.create_server(factory, address, forward.port, backlog=512)
            if not server.sockets:  # how asyncio says that the kernel has no such family
                raise OSError(errno.EAFNOSUPPORT, "no such address family")
            return server
        transport, _ = await loop.create_datagram_endpoint(
            self._datagrams(forward), local_addr=(address, forward.port)
        )
        return transport

    def _close(self, key: Key) -> None:
        opened = self._open.pop(key)
        opened.close()
        self._emit(Event.PORT_CLOSED, **_fields(opened.forward) | {"addresses": list(opened.listeners)})


def _fields(forward: Forward) -> dict[str, Any]:
    return {
        "port": forward.port,
        "protocol": forward.protocol,
        "addresses": list(forward.addresses),
        "container": forward.container_id,
    }


def _reason(exc: OSError, forward: Forward, address: str = "") -> str:
    """address: the one that failed while others could be had."""
    port = forward.port if forward.protocol == "tcp" else f"{forward.port}/{forward.protocol}"
    if exc.errno == errno.EADDRINUSE and address:
        return (
            f"another program on this host listens on [{address}]:{port}, where localhost may lead; stop it, "
            "or publish another port"
        )
    if exc.errno == errno.EADDRINUSE:
        return f"another program on this host listens on port {port}; stop it, or publish another port"
    if exc.errno == errno.EACCES:
        return f"this user may not listen on port {port}; publish a port from 1024 up"
    return exc.strerror or str(exc)
