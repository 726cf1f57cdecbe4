"""Asks the real servers, one after the other, over UDP or TCP."""

import asyncio
import contextlib
import logging
import secrets
import socket
import struct
import time
from collections.abc import Callable, Sequence

from wherryd.networks.dns import wire

_log = logging.getLogger(__name__)
PORT = 53
#: As long as a client waits for its first try it hears of two servers; most clients wait 5 s.
UDP_SECONDS = 2.0
TCP_SECONDS = 4.0
#: A server that did not answer is asked last for this long.
_SHUNNED_SECONDS = 30.0
_RETRY_CODES = frozenset({wire.SERVFAIL, wire.NOTIMP, wire.REFUSED})

#: Makes a socket of a family and kind, in whatever namespace the server is to be asked from.
MakeSocket = Callable[[int, int], socket.socket]


def plain_socket(family: int, kind: int) -> socket.socket:
    """One in the engine's own namespace."""
    return socket.socket(family, kind | socket.SOCK_CLOEXEC)


class Upstream:
    """Of one event loop. Remembers which servers did not answer."""

    def __init__(self) -> None:
        self._shunned: dict[str, float] = {}

    async def ask(
        self, query: bytes, servers: Sequence[str], *, tcp: bool, make_socket: MakeSocket = plain_socket
    ) -> bytes | None:
        """The first useful answer, or the last useless one, or None when nobody answered.

        A server that fails (SERVFAIL, REFUSED) or does not answer gives way to the next. The query goes out
        under an id and from a port that nobody can guess.
        """
        last: bytes | None = None
        for server in self._ordered(servers):
            identity = secrets.randbelow(1 << 16)
            sent = wire.with_identity(query, identity)
            try:
                once = _over_tcp if tcp else _over_udp
                seconds = TCP_SECONDS if tcp else UDP_SECONDS
                async with asyncio.timeout(seconds):
                    answer = await once(sent, server, make_socket)
            except (OSError, EOFError) as error:  # TimeoutError is an OSError
                _log.debug("name server %s: %s", server, error or "no answer in time")
                self._shunned[server] = time.monotonic() + _SHUNNED_SECONDS
                continue
            self._shunned.pop(server, None)
            last = query[:2] + answer[2:]
            if wire.header(answer).rcode not in _RETRY_CODES:
                return last
        return last

    def _ordered(self, servers: Sequence[str]) -> list[str]:
        now = time.monotonic()
        return sorted(servers, key=lambda server: self._shunned.get(server, 0.0) > now)


def _fits(query: bytes, answer: bytes) -> bool:
    """Whether it is an answer to this query: same id, same question in any spelling."""
    try:
        asked = wire.question(query).lower()
        head = wire.header(answer)
        if not head.is_answer or answer[:2] != query[:2]:
            return False
        return head.counts[0] == 0 or wire.question(answer).lower() == asked
    except wire.Malformed:
        return False


def _family(server: str) -> int:
    return socket.AF_INET6 if ":" in server else socket.AF_INET


class _Question(asyncio.DatagramProtocol):
    def __init__(self, query: bytes) -> None:
        self._query = query
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - the socket is connected
        if not self.answer.done() and _fits(self._query, data):
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _connected(server: str, kind: int, make_socket: MakeSocket) -> socket.socket:
    """Raises OSError."""
    loop = asyncio.get_running_loop()
    made = (
        make_socket(_family(server), kind)
        if make_socket is plain_socket
        else await asyncio.to_thread(make_socket, _family(server), kind)
    )
    try:
        made.setblocking(False)
        host, _, zone = server.partition("%")
        address = (host, PORT, 0, socket.if_nametoindex(zone)) if zone else (host, PORT)
        await loop.sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


async def _over_udp(query: bytes, server: str, make_socket: MakeSocket) -> bytes:
    """Raises OSError."""
    made = await _connected(server, socket.SOCK_DGRAM, make_socket)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Question(query), sock=made)
    try:
        transport.sendto(query)
        return await protocol.answer
    finally:
        transport.close()


async def _over_tcp(query: bytes, server: str, make_socket: MakeSocket) -> bytes:
    """Raises OSError, EOFError."""
    made = await _connected(server, socket.SOCK_STREAM, make_socket)
    reader, writer = await asyncio.open_connection(sock=made)
    try:
        writer.write(struct.pack("!H", len(query)) + query)
        await writer.drain()
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        answer = await reader.readexactly(length)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if not _fits(query, answer):
        raise ConnectionError(f"name server {server} answered another question")
    return answer
