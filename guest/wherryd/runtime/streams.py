"""A process's streams on the monitor's side: read once, written to the log and to every attached client.

Back-pressure as Docker has it: a client that does not read holds up to CLIENT_BUFFER_BYTES, then the
process's output is no longer read until that client has caught up or gone away.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from wherryd.runtime.logfile import JsonFileLog
from wherryd.runtime.loop import HANGUP, READ, WRITE, Loop
from wherrywire import rawstream

CLIENT_BUFFER_BYTES: Final = 1024 * 1024
STDIN_BUFFER_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_IDS: Final = {"stdout": rawstream.StreamId.STDOUT, "stderr": rawstream.StreamId.STDERR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Our ends: -1 where there is none. With a terminal both are the master, one of them a duplicate."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


class Client:
    """One attached connection. It owns its socket."""

    def __init__(self, connection: socket.socket, *, streams: frozenset[str], stdin: bool) -> None:
        self.socket = connection
        self.streams = streams
        self.stdin = stdin
        self.buffer = bytearray()
        self.ending = False  # no more output comes: close once the buffer is empty


@dataclass(slots=True)
class _Output:
    name: str
    fd: int
    paused: bool = False


@dataclass(slots=True)
class _Input:
    """stdin: bytes not yet written, and whether it is to be closed after them."""

    fd: int
    buffer: bytearray = field(default_factory=bytearray)
    closing: bool = False


class ProcessStreams:
    """on_drained is called once, when every output has ended."""

    def __init__(
        self, loop: Loop, *, log: JsonFileLog | None, framed: bool, close_stdin_with_client: bool
    ) -> None:
        self._loop = loop
        self._log = log
        self._framed = framed
        self._close_stdin = close_stdin_with_client
        self._clients: list[Client] = []
        self._outputs: dict[int, _Output] = {}
        self._input = _Input(-1)
        self._early = bytearray()  # stdin that came before the process had its streams
        self._opened = False
        self.on_drained: Callable[[], None] = lambda: None
        self.on_log_error: Callable[[OSError], None] = lambda _: None
        self.ended = False

    # --- the process's side ---

    def open(self, ends: Ends) -> None:
        """The process has its streams: begins to read its output. Takes over the descriptors."""
        self._opened = True
        self._input = _Input(ends.stdin, self._early, self._input.closing)
        for name, fd in (("stdout", ends.stdout), ("stderr", ends.stderr)):
            if fd >= 0:
                os.set_blocking(fd, False)
                output = _Output(name, fd)
                self._outputs[fd] = output
                self._resume(output)
        if ends.stdin >= 0:
            os.set_blocking(ends.stdin, False)
            self._flush_input()

    def _resume(self, output: _Output) -> None:
        output.paused = False
        self._loop.watch(output.fd, READ, lambda _: self._read(output))

    def _read(self, output: _Output) -> None:
        try:
            data = os.read(output.fd, _CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            # EIO: the last process with this terminal has gone.
            if error.errno != errno.EIO:
                raise
            data = b""
        if not data:
            self._end(output)
            return
        if self._log is not None:
            self._logged(lambda log: log.write(output.name, data))
        self._fan_out(output, data)

    def _logged(self, action: Callable[[JsonFileLog], None]) -> None:
        """A full disk must not stop the container; it is told in the monitor's own log."""
        if self._log is not None:
            try:
                action(self._log)
            except OSError as error:
                self.on_log_error(error)

    def _fan_out(self, output: _Output, data: bytes) -> None:
        payload = rawstream.encode(_IDS[output.name], data) if self._framed else data
        for client in list(self._clients):
            if output.name in client.streams:
                client.buffer += payload
                self._flush(client)
        if any(len(client.buffer) > CLIENT_BUFFER_BYTES for client in self._clients):
            output.paused = True
            self._loop.forget(output.fd)

    def _end(self, output: _Output) -> None:
        self._loop.forget(output.fd)
        os.close(output.fd)
        del self._outputs[output.fd]
        self._logged(lambda log: log.finish(output.name))
        if not self._outputs:
            self.finish()

    def finish(self) -> None:
        """No more output, whether it ended or is given up: tells clients, then on_drained. Once."""
        if self.ended:
            return
        self.ended = True
        for output in list(self._outputs.values()):
            self._loop.forget(output.fd)
            os.close(output.fd)
            self._logged(lambda log, name=output.name: log.finish(name))  # type: ignore[misc]
        self._outputs.clear()
        self._close_input()
        for client in list(self._clients):
            client.ending = True
            self._flush(client)
        self.on_drained()

    # --- stdin ---

    def _write_input(self, data: bytes) -> None:
        if self._opened and self._input.fd < 0:
            return  # closed, or never opened: like Docker, input to nowhere is dropped
        (self._input.buffer if self._opened else self._early).extend(data)
        if self._opened:
            self._flush_input()

    def _flush_input(self) -> None:
        entry = self._input
        try:
            while entry.buffer:
                written = os.write(entry.fd, entry.buffer[:_CHUNK_BYTES])
                del entry.buffer[:written]
        except BlockingIOError:
            pass
        except OSError as error:
            # EPIPE: the process has closed its stdin. EIO: its terminal is gone.
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            self._close_input()
            return
        if entry.buffer:
            self._watch_input()
        elif entry.closing:
            self._close_input()
        else:
            self._loop.forget(entry.fd)
        self._read_clients()

    def _watch_input(self) -> None:
        self._loop.watch(self._input.fd, WRITE, lambda _: self._flush_input())

    def _close_input(self) -> None:
        fd, self._input = self._input.fd, _Input(-1)
        if fd >= 0:
            self._loop.forget(fd)
            os.close(fd)

    def end_input(self) -> None:
        """stdin is closed once what was sent is written. A terminal has no such end, as in Docker."""
        self._input.closing = True
        if self._opened and self._input.fd >= 0 and not self._input.buffer:
            self._close_input()

    # --- clients ---

    def attach(self, client: Client, early: bytes = b"") -> None:
        """early: what the client sent right behind its request."""
        client.socket.setblocking(False)
        self._clients.append(client)
        self._watch(client)
        if early and client.stdin:
            self._write_input(early)
        if self.ended:
            client.ending = True
            self._flush(client)

    @property
    def client_count(self) -> int:
        return len(self._clients)

    def _input_is_full(self) -> bool:
        return len(self._input.buffer) + len(self._early) * (not self._opened) > STDIN_BUFFER_BYTES

    def _watch(self, client: Client) -> None:
        reads = client.stdin and not self._input_is_full()
        events = (READ if reads else 0) | (WRITE if client.buffer else 0)
        self._loop.watch(client.socket.fileno(), events, lambda mask: self._on_client(client, mask))

    def _read_clients(self) -> None:
        for client in self._clients:
            self._watch(client)

    def _on_client(self, client: Client, mask: int) -> None:
        if mask & WRITE:
            self._flush(client)
        if client not in self._clients:
            return
        if mask & READ and client.stdin:
            self._read_client(client)
        elif mask & HANGUP and client.stdin and self._input_is_full():
            # Gone, but what it sent is still to be read; `_read_clients` watches it again.
            self._loop.forget(client.socket.fileno())
        elif mask & HANGUP:
            self._drop(client)

    def _read_client(self, client: Client) -> None:
        try:
            data = client.socket.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            self._drop(client)
            return
        if data:
            self._write_input(data)
            if client in self._clients:
                self._watch(client)
            return
        # Half-close: the client sends no more, but still reads.
        client.stdin = False
        self._watch(client)
        if self._close_stdin:
            self.end_input()

    def _flush(self, client: Client) -> None:
        try:
            while client.buffer:
                sent = client.socket.send(client.buffer[:_CHUNK_BYTES], socket.MSG_NOSIGNAL)
                del client.buffer[:sent]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._drop(client)
            return
        if client.ending and not client.buffer:
            self._drop(client)
            return
        self._watch(client)
        self._resume_outputs()

    def _resume_outputs(self) -> None:
        if all(len(client.buffer) <= CLIENT_BUFFER_BYTES // 2 for client in self._clients):
            for output in self._outputs.values():
                if output.paused:
                    self._resume(output)

    def _drop(self, client: Client) -> None:
        if client not in self._clients:
            return
        self._clients.remove(client)
        self._loop.forget(client.socket.fileno())
        with contextlib.suppress(OSError):
            client.socket.shutdown(socket.SHUT_RDWR)
        client.socket.close()
        if client.stdin and self._close_stdin:
            self.end_input()
        self._resume_outputs()
