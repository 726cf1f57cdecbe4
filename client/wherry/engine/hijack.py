"""Attach and exec: an HTTP request whose answer turns the connection into a two-way byte stream.

Source: Engine API, POST /containers/{id}/attach, "Hijacking". Everything after the blank line of the
answer's head belongs to the stream, also what has been read ahead.
"""

import json
from collections.abc import Mapping
from typing import Any

from wherry.engine.dial import Connection, dial
from wherry.engine.endpoint import Endpoint
from wherry.engine.http import Reader, message_of, read_head
from wherry.errors import EngineProblem

READ_BYTES = 32 * 1024
MAX_ERROR_BYTES = 1024 * 1024


class HijackedStream:
    """The stream after the upgrade. Reading and writing may happen in two threads; closing twice is fine."""

    def __init__(self, connection: Connection, ahead: bytes, content_type: str) -> None:
        self._connection = connection
        self._ahead = ahead
        #: multiplexed-stream or raw-stream; engines disagree here, so ask the container whether it has a TTY.
        self.content_type = content_type

    def recv(self, size: int = READ_BYTES) -> bytes:
        """Bytes of the container; b"" at the end."""
        if self._ahead:
            part, self._ahead = self._ahead[:size], self._ahead[size:]
            return part
        return self._connection.recv(size)

    def sendall(self, data: bytes) -> None:
        self._connection.sendall(data)

    def close_write(self) -> None:
        """End of stdin; output goes on. OSError if the peer has gone."""
        self._connection.close_write()

    def close(self) -> None:
        self._connection.close()


def open_stream(
    endpoint: Endpoint,
    path: str,
    body: dict[str, Any] | None = None,
    more: Mapping[str, str] | None = None,
) -> HijackedStream:
    """POST path and take the connection over. path: with version and query. more: headers.

    Raises EngineProblem with the engine's message if it refuses.
    """
    connection = dial(endpoint)
    try:
        payload = b"" if body is None else json.dumps(body).encode()
        head = [
            f"POST {path} HTTP/1.1",
            "Host: docker",
            "Connection: Upgrade",
            "Upgrade: tcp",
            f"Content-Length: {len(payload)}",
        ]
        if body is not None:
            head.append("Content-Type: application/json")
        head += [f"{name}: {value}" for name, value in (more or {}).items()]
        connection.sendall("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + payload)
        reader = Reader(connection)
        status, headers = read_head(reader)
        if status not in {101, 200}:
            raise EngineProblem(_error_text(reader, headers), status=status)
        return HijackedStream(connection, reader.take_ahead(), headers.get("content-type", ""))
    except BaseException:
        connection.close()
        raise


def _error_text(reader: Reader, headers: Mapping[str, str]) -> str:
    """The message of an error answer; engines send it with a length and as JSON."""
    length = headers.get("content-length", "0")
    left = min(int(length) if length.isdecimal() else 0, MAX_ERROR_BYTES)
    body = b""
    while left and (data := reader.some(left)):
        body += data
        left -= len(data)
    return f"Error response from daemon: {message_of(body)}"
