"""The guest's end of a forwarded UDP port: one socket per client of the user's machine. Of one event loop.

As everywhere with UDP, what cannot be sent on at once is dropped.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from wherrywire import datagrams

_log = logging.getLogger(__name__)
_ANSWERS_AT_ONCE = 64


@dataclass(slots=True)
class _Client:
    socket: socket.socket
    last: float = field(default_factory=time.monotonic)


class DatagramRelay:
    """target: the published (address, port). answer: called with each frame for the agent. `close` may come
    twice."""

    def __init__(self, target: tuple[str, int], answer: Callable[[bytes], None]) -> None:
        self._target = target
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._clients: OrderedDict[int, _Client] = OrderedDict()

    def received(self, datagram: datagrams.Datagram) -> None:
        """From the agent, for the container. Raises OSError when no socket can be had."""
        client = self._clients.get(datagram.client)
        if client is None:
            client = self._open(datagram.client)
        client.last = time.monotonic()
        self._clients.move_to_end(datagram.client)
        with contextlib.suppress(OSError):  # nobody listens: so the client hears nothing
            client.socket.send(datagram.payload)

    def close(self) -> None:
        while self._clients:
            self._drop(next(iter(self._clients)))

    def _open(self, number: int) -> _Client:
        self._forget_silent()
        family = socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            made.connect(self._target)
        except OSError:
            made.close()
            raise
        client = self._clients[number] = _Client(made)
        self._loop.add_reader(made.fileno(), self._heard, number, client)
        return client

    def _heard(self, number: int, client: _Client) -> None:
        client.last = time.monotonic()
        for _ in range(_ANSWERS_AT_ONCE):
            try:
                payload = client.socket.recv(datagrams.MAX_PAYLOAD_BYTES)
            except OSError:  # nothing there, or "port unreachable" for what was sent before
                return
            self._answer(datagrams.encode(number, payload))

    def _forget_silent(self) -> None:
        """And the one that spoke least lately, when there are too many."""
        now = time.monotonic()
        for number, client in tuple(self._clients.items()):
            fresh = now - client.last <= datagrams.IDLE_SECONDS
            if fresh and len(self._clients) < datagrams.MAX_CLIENTS:
                break
            self._drop(number)

    def _drop(self, number: int) -> None:
        client = self._clients.pop(number, None)
        if client is not None:
            self._loop.remove_reader(client.socket.fileno())
            client.socket.close()
