"""The monitor's door: connections that carry requests, one JSON line each; see messages.py.

A request's handler answers at once by returning, later by keeping the Connection, or takes the
connection over (attach). Handlers raise EngineError; the client gets it with its class.
"""

import json
import socket
from collections.abc import Callable
from typing import Any, Final

from wherryd.errors import InvalidParameter
from wherryd.runtime.loop import READ, WRITE, Loop
from wherryd.runtime.messages import error_document

_CHUNK_BYTES: Final = 64 * 1024
#: A request is a process or resources object at most.
MAX_REQUEST_BYTES: Final = 1024 * 1024

#: Returned by a handler that answers later, or has taken the connection over.
LATER: Final = object()

Handler = Callable[["Connection", int, dict[str, Any]], Any]


class Connection:
    """One client. It owns the socket until `take_over`."""

    def __init__(self, loop: Loop, connection: socket.socket, handle: Handler) -> None:
        self._loop = loop
        self._handle = handle
        self._in = bytearray()
        self._out = bytearray()
        self.socket = connection
        self.is_open = True
        connection.setblocking(False)
        self._watch()

    def _watch(self) -> None:
        events = READ | (WRITE if self._out else 0)
        self._loop.watch(self.socket.fileno(), events, self._on_event)

    def _on_event(self, mask: int) -> None:
        if mask & WRITE:
            self._flush()
        if self.is_open and mask & ~WRITE:
            self._read()

    def _read(self) -> None:
        try:
            data = self.socket.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        self._in += data
        if not data or len(self._in) > MAX_REQUEST_BYTES:
            self.close()
            return
        while self.is_open and (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end])
            del self._in[: end + 1]
            self._request(line)

    def _request(self, line: bytes) -> None:
        number = 0
        try:
            request = json.loads(line)
            number = int(request["id"])
            result = self._handle(self, number, request)
        except (ValueError, KeyError, TypeError) as error:
            self.fail(
                number, InvalidParameter(f"bad request to the monitor: {type(error).__name__}: {error}")
            )
        except Exception as error:
            self.fail(number, error)
        else:
            if result is not LATER:
                self.answer(number, result)

    def answer(self, number: int, result: Any = None) -> None:
        self._send({"id": number, "ok": result or {}})

    def fail(self, number: int, error: BaseException) -> None:
        self._send({"id": number, "error": error_document(error)})

    def _send(self, document: dict[str, Any]) -> None:
        if self.is_open:
            self._out += json.dumps(document).encode() + b"\n"
            self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                sent = self.socket.send(self._out, socket.MSG_NOSIGNAL)
                del self._out[:sent]
        except BlockingIOError:
            pass
        except ConnectionError:
            self.close()
            return
        self._watch()

    def take_over(self, number: int) -> tuple[socket.socket, bytes]:
        """Answers, then gives the socket away with what the client has sent behind its request."""
        self._loop.forget(self.socket.fileno())
        self.socket.setblocking(True)
        self.socket.sendall(bytes(self._out) + json.dumps({"id": number, "ok": {}}).encode() + b"\n")
        self.is_open = False
        rest, self._in = bytes(self._in), bytearray()
        return self.socket, rest

    def close(self) -> None:
        """Done twice is fine."""
        if self.is_open:
            self.is_open = False
            self._loop.forget(self.socket.fileno())
            self.socket.close()


class Door:
    """Accepts connections on monitor.sock."""

    def __init__(self, loop: Loop, listener: socket.socket, handle: Handler) -> None:
        self._loop = loop
        self._listener = listener
        self._handle = handle
        loop.watch(listener.fileno(), READ, lambda _: self._accept())

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        Connection(self._loop, connection, self._handle)

    def close(self) -> None:
        self._loop.forget(self._listener.fileno())
        self._listener.close()
