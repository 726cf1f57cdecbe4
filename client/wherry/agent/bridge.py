"""One local connection and one channel, joined: bytes, ends of file and back-pressure pass both ways.

All of it runs on the agent's event loop. paramiko's own thread tells it that a channel can be read or
written (TunnelChannel), so a thousand idle connections cost memory and no thread.

    local socket --data_received--> channel.send        full window:   the local side is read no more
    local socket <--write---------- channel.recv        full socket:   the channel is read no more
    end of file on one side ends the other side's writing only; docker's attach needs both halves.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import cast

import paramiko

from wherry.errors import TunnelProblem
from wherry.tunnel.transport import TunnelChannel

#: How much the local socket may lag before the channel is read no more.
HIGH_WATER_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024
#: How long a refused client may take to read why.
LINGER_SECONDS = 2.0
#: One connection's share of a turn of the loop; others wait meanwhile.
TURN_BYTES = 1024 * 1024
#: What OpenSSH takes in one packet; a larger piece would be cut again.
SEND_BYTES = 32 * 1024 - 64

#: What a dead connection raises, depending on who notices first.
CHANNEL_ERRORS = (EOFError, OSError, paramiko.SSHException)

Opener = Callable[[], TunnelChannel]
#: error -> the bytes a refused client should read before the end of file.
Refusal = Callable[[TunnelProblem], bytes]


class Bridge(asyncio.Protocol):
    """Made per accepted connection. opener runs in a thread of `threads`, since it waits for the guest."""

    def __init__(self, opener: Opener, refusal: Refusal, *, threads: Executor, living: "set[Bridge]") -> None:
        self._loop = asyncio.get_running_loop()
        self._opener = opener
        self._refusal = refusal
        self._threads = threads
        self._living = living
        self._channel: TunnelChannel | None = None
        self._pending = b""
        self._sent = 0
        self._refused = False
        self._wants_room = False
        self._local_paused = False
        self._local_ended = False
        self._guest_ended = False

    # --- the local side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._local = cast(asyncio.Transport, transport)
        # Nothing is taken that might have nowhere to go. Not at once: before 3.11.3 asyncio begins to read
        # after this call whether it was told to pause or not, and does not heed a second pause.
        self._loop.call_soon(self._local.pause_reading)
        self._local.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._living.add(self)
        self._opening = self._loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            channel = await self._loop.run_in_executor(self._threads, self._opener)
        except TunnelProblem as exc:
            self._refuse(self._refusal(exc))
            return
        if self._local.is_closing():
            _close(channel)
            return
        self._channel = channel
        channel.settimeout(0.0)
        channel.on_writable = self._room_from_guest
        channel.notify_readable(lambda: self._post(self._pump))
        self._flush()  # what came before the pause

    def _refuse(self, answer: bytes) -> None:
        """Says why, and hangs up. What the client has sent is read first: closing a socket with unread bytes
        in it resets the connection, and the client would lose the answer.
        """
        self._refused = True
        self._local.write(answer)
        if self._local.can_write_eof():
            self._local.write_eof()
        self._local.resume_reading()
        self._loop.call_later(LINGER_SECONDS, self._local.close)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._pending = self._pending[self._sent :] + data if self._pending else data
        self._sent = 0
        self._flush()

    def eof_received(self) -> bool:
        if self._refused:
            return False  # closes
        self._local_ended = True
        self._flush()
        return True  # the other half stays open

    def pause_writing(self) -> None:
        self._local_paused = True

    def resume_writing(self) -> None:
        self._local_paused = False
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._living.discard(self)
        if self._channel is not None:
            self._channel.on_writable = None
            _close(self._channel)

    def abort(self) -> None:
        """Ends both sides now, unsent bytes included."""
        self._local.abort()

    # --- the guest's side ---

    def _post(self, call: Callable[[], None]) -> None:
        """From paramiko's thread to the loop. A loop that has ended needs no more news."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    def _room_from_guest(self) -> None:
        if self._wants_room:
            self._post(self._flush)

    def _flush(self) -> None:
        """Sends what the local side gave, as far as the guest's window allows."""
        channel = self._channel
        if channel is None or self._local.is_closing():
            return
        # Set before the attempt: room that is made right after a failed one is then not missed.
        self._wants_room = True
        try:
            while self._sent < len(self._pending):
                sent = channel.send(self._pending[self._sent : self._sent + SEND_BYTES])
                if sent == 0:  # paramiko's way to say that the channel is closed
                    self.abort()
                    return
                self._sent += sent
            self._pending, self._sent = b"", 0
            self._wants_room = False
            if self._local_ended:
                channel.shutdown_write()
                if self._guest_ended:
                    self._local.close()
            else:
                self._local.resume_reading()
        except TimeoutError:
            self._local.pause_reading()
        except CHANNEL_ERRORS:
            self.abort()

    def _pump(self) -> None:
        """Takes what the guest gave, as far as the local socket allows."""
        channel = self._channel
        if channel is None or self._guest_ended:
            return
        taken = 0
        try:
            while not self._local_paused and not self._local.is_closing():
                at_end = channel.at_end  # asked first: what came before the end is then in the buffer
                if channel.has_data:
                    if taken >= TURN_BYTES:
                        self._loop.call_soon(self._pump)
                        return
                    data = channel.recv(READ_BYTES)
                    taken += len(data)
                    self._local.write(data)
                elif at_end:
                    self._end_from_guest(channel)
                    return
                else:
                    return
        except CHANNEL_ERRORS:
            self.abort()

    def _end_from_guest(self, channel: TunnelChannel) -> None:
        self._guest_ended = True
        if not channel.eof_received:
            # The connection broke: a reader must not take this for the proper end of its data.
            self.abort()
        elif self._local_ended or channel.closed or not self._local.can_write_eof():
            self._local.close()
        else:
            self._local.write_eof()


def _close(channel: TunnelChannel) -> None:
    try:
        channel.close()
    except CHANNEL_ERRORS:
        return  # the connection is gone, and the channel with it
