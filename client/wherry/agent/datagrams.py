"""A UDP port of the user's machine, forwarded: datagrams in frames on a channel to the engine (SSH carries
streams only).

The channel is opened with the first datagram and kept; when it ends, the next datagram opens another. What
comes while there is none, beyond a few, is dropped, and so is what a full channel does not take: UDP's way.
An empty answer does not arrive: asyncio's sendto takes an empty datagram for nothing to do (Python 3.11).
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, cast
from urllib.parse import urlencode

from wherry.agent.bridge import CHANNEL_ERRORS, READ_BYTES, SEND_BYTES
from wherry.errors import TunnelProblem
from wherry.tunnel.transport import TunnelChannel
from wherrywire import datagrams

#: Datagrams that wait for the channel to be opened, or for room in it.
MAX_WAITING = 256
ANSWER_SECONDS = 10.0
_MAX_HEAD_BYTES = 8192

Opener = Callable[[], TunnelChannel]


def open_frames(channel: TunnelChannel, host: str, port: int) -> None:
    """Asks the engine on a fresh channel for the port's frames. Blocks. Raises TunnelProblem."""
    target = f"{datagrams.TARGET}?{urlencode({'host': host, 'port': port})}"
    request = f"POST {target} HTTP/1.1\r\nHost: wherry\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
    head = b""
    try:
        channel.settimeout(ANSWER_SECONDS)
        channel.sendall(f"{request}Content-Length: 0\r\n\r\n".encode())
        while not head.endswith(b"\r\n\r\n") and len(head) < _MAX_HEAD_BYTES:
            byte = channel.recv(1)  # one by one: what follows the head belongs to the frames
            if not byte:
                break
            head += byte
    except CHANNEL_ERRORS as exc:
        raise TunnelProblem(f"the engine does not forward UDP port {port}: {exc}") from exc
    status = head.partition(b"\r\n")[0].decode(errors="replace")
    if " 101 " not in status:
        channel.close()
        raise TunnelProblem(f"the engine does not forward UDP port {port}: it answers {status!r}")


class DatagramForward(asyncio.DatagramProtocol):
    """One port. opener: gives a channel that speaks frames; runs in a thread of `threads`."""

    def __init__(self, opener: Opener, *, threads: Executor) -> None:
        self._loop = asyncio.get_running_loop()
        self._opener = opener
        self._threads = threads
        self._channel: TunnelChannel | None = None
        self._opening: asyncio.Task[None] | None = None
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._partly = b""
        self._numbers: OrderedDict[Any, tuple[int, float]] = OrderedDict()
        self._addresses: dict[int, Any] = {}
        self._next = 0
        self._decoder = datagrams.Decoder()

    # --- the user's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._local = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._waiting.append(datagrams.encode(self._number(addr), data))
        if self._channel is not None:
            self._flush()
        elif self._opening is None:
            self._opening = self._loop.create_task(self._open())

    def error_received(self, exc: Exception) -> None:
        """A client that has gone; there is nobody to tell."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._opening is not None:
            self._opening.cancel()
        self._drop_channel()

    def _number(self, address: Any) -> int:
        """A client's, new for one that was silent for long: the engine has forgotten it as well."""
        now = time.monotonic()
        number, last = self._numbers.pop(address, (-1, 0.0))
        if number >= 0 and now - last > datagrams.IDLE_SECONDS:
            self._addresses.pop(number, None)
            number = -1
        if number < 0:
            number, self._next = self._next, (self._next + 1) % (1 << 32)
            self._addresses[number] = address
        self._numbers[address] = (number, now)
        if len(self._numbers) > datagrams.MAX_CLIENTS:
            _, (oldest, _) = self._numbers.popitem(last=False)
            self._addresses.pop(oldest, None)
        return number

    # --- the guest's side ---

    async def _open(self) -> None:
        try:
            channel = await self._loop.run_in_executor(self._threads, self._opener)
        except TunnelProblem as exc:
            self._waiting.clear()
            print(f"udp: {exc}", flush=True)  # noqa: T201 - agent.log
            return
        finally:
            self._opening = None
        if self._local.is_closing():
            channel.close()
            return
        self._decoder = datagrams.Decoder()
        self._partly = b""
        self._channel = channel
        channel.settimeout(0.0)
        channel.on_writable = lambda: self._post(self._flush)
        channel.notify_readable(lambda: self._post(self._pump))
        self._flush()

    def _post(self, call: Callable[[], None]) -> None:
        """From paramiko's thread to the loop. A loop that has ended needs no more news."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    def _flush(self) -> None:
        channel = self._channel
        if channel is None:
            return
        try:
            while self._partly or self._waiting:
                self._partly = self._partly or self._waiting.popleft()
                sent = channel.send(self._partly[:SEND_BYTES])
                if sent == 0:  # paramiko's way to say that the channel is closed
                    self._drop_channel()
                    return
                self._partly = self._partly[sent:]
        except TimeoutError:
            return  # on_writable calls again
        except CHANNEL_ERRORS:
            self._drop_channel()

    def _pump(self) -> None:
        channel = self._channel
        if channel is None:
            return
        try:
            while True:
                at_end = channel.at_end  # asked first: what came before the end is then in the buffer
                if not channel.has_data:
                    break
                for datagram in self._decoder.feed(channel.recv(READ_BYTES)):
                    self._deliver(datagram)
        except CHANNEL_ERRORS:
            at_end = True
        if at_end:
            self._drop_channel()

    def _deliver(self, datagram: datagrams.Datagram) -> None:
        address = self._addresses.get(datagram.client)
        if address is not None:
            self._numbers[address] = (datagram.client, time.monotonic())
            self._local.sendto(datagram.payload, address)

    def _drop_channel(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.on_writable = None
            try:
                channel.close()
            except CHANNEL_ERRORS:
                return  # the connection is gone, and the channel with it
