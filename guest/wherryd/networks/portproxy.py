"""What rules cannot do for published IPv6 ports: from ::1, and to a container that has no IPv6 address.

A published port is held by a socket anyway (ports.py). On IPv6 what the rules have not taken arrives there,
and is passed on from here: connections by copying, datagrams by one socket per client, as dockerd's proxy
does it. The container sees the engine's address then. Of one event loop.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 16
_DATAGRAM_BYTES = 65535
#: A UDP client that says nothing and hears nothing for so long is forgotten (dockerd: 90 s).
IDLE_SECONDS = 90.0
MAX_CLIENTS = 1024
MAX_CONNECTIONS = 4096
_ACCEPTS_AT_ONCE = 32

#: The container's (address, port) at this moment, or None when it cannot be reached.
Target = Callable[[], tuple[str, int] | None]


class PortProxy:
    """Serves the holder's port from `start` to `close`, which may come twice. The holder is its owner's."""

    def __init__(self, holder: socket.socket, target: Target) -> None:
        self._holder = holder
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: OrderedDict[tuple[object, ...], _Client] = OrderedDict()
        self._fd = -1

    def start(self) -> None:
        self._holder.setblocking(False)
        datagrams = self._holder.type == socket.SOCK_DGRAM
        if datagrams:
            self._holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self._fd = self._holder.fileno()
        self._loop.add_reader(self._fd, self._receive if datagrams else self._accept)

    def close(self) -> None:
        """Ends what is being served, too: the container is gone."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._fd = -1
        for task in self._tasks:
            task.cancel()
        while self._clients:
            self._drop(next(iter(self._clients)))

    # connections

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                client, _peer = self._holder.accept()
            except BlockingIOError:
                return
            except OSError as error:
                _log.warning("a published port cannot take a connection: %s", error)
                return
            if len(self._tasks) >= MAX_CONNECTIONS:
                client.close()
                continue
            client.setblocking(False)
            task = self._loop.create_task(self._converse(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _converse(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as closing, contextlib.suppress(OSError):
            closing.callback(client.close)
            target = self._target()
            if target is None:
                return
            reader, writer = await asyncio.open_connection(*target)
            closing.callback(writer.close)
            own_reader, own_writer = await asyncio.open_connection(sock=client)
            closing.callback(own_writer.close)
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(own_reader, writer))
                both.create_task(_copy(reader, own_writer))

    # datagrams

    def _receive(self) -> None:
        try:
            data, ancillary, _, peer = self._holder.recvmsg(_DATAGRAM_BYTES, socket.CMSG_SPACE(20))
        except OSError:
            return  # nothing there, or an answer to a client that is gone
        client = self._clients.get(peer)
        if client is None:
            client = self._connect(peer, ancillary)
            if client is None:
                return
        client.last = time.monotonic()
        self._clients.move_to_end(peer)
        with contextlib.suppress(OSError):  # the container does not listen: so the client hears nothing
            client.socket.send(data)

    def _connect(self, peer: tuple[object, ...], ancillary: list[tuple[int, int, bytes]]) -> "_Client | None":
        target = self._target()
        if target is None:
            return None
        self._forget_silent()
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            made.connect(target)
        except OSError:
            made.close()
            return None
        # The answer comes from the address that was asked, of a host that may have many.
        info = [(level, kind, value) for level, kind, value in ancillary if kind == socket.IPV6_PKTINFO]
        client = self._clients[peer] = _Client(made, info)
        self._loop.add_reader(made.fileno(), self._answer, peer, client)
        return client

    def _answer(self, peer: tuple[object, ...], client: "_Client") -> None:
        client.last = time.monotonic()
        try:
            data = client.socket.recv(_DATAGRAM_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(peer)
            return
        with contextlib.suppress(OSError):
            self._holder.sendmsg([data], client.info, 0, peer)

    def _forget_silent(self) -> None:
        """The silent ones, and the one that spoke least lately when there are too many."""
        now = time.monotonic()
        for peer, client in tuple(self._clients.items()):
            if now - client.last <= IDLE_SECONDS and len(self._clients) < MAX_CLIENTS:
                break
            self._drop(peer)

    def _drop(self, peer: tuple[object, ...]) -> None:
        client = self._clients.pop(peer, None)
        if client is not None:
            self._loop.remove_reader(client.socket.fileno())
            client.socket.close()


@dataclass(slots=True)
class _Client:
    """One UDP client: the socket that speaks for it to the container, and where its datagrams came in."""

    socket: socket.socket
    info: list[tuple[int, int, bytes]]
    last: float = field(default_factory=time.monotonic)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end, which is passed on. A broken connection ends quietly: the other side sees it closed."""
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()
