"""Attach and exec: an HTTP request whose answer turns the connection into a two-way byte stream.

Source: Engine API, POST /containers/{id}/attach, "Hijacking". Neither requests nor http.client can hand
over a connection after status 101 without losing what they have read ahead, so the request's head is
written and the answer's head read here; everything after the blank line belongs to the stream.
"""

import http.client
import io
import json
from typing import Any

from wherry.engine.dial import Connection, dial
from wherry.engine.endpoint import Endpoint
from wherry.errors import EngineProblem

READ_BYTES = 32 * 1024
#: An answer's head longer than this is not an engine's.
MAX_HEAD_BYTES = 64 * 1024
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


def open_stream(endpoint: Endpoint, path: str, body: dict[str, Any] | None = None) -> HijackedStream:
    """POST path and take the connection over. path: with version and query.

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
        connection.sendall("\r\n".join(head).encode("ascii") + b"\r\n\r\n" + payload)
        status, headers, ahead = _read_head(connection)
        if status not in {101, 200}:
            raise EngineProblem(_error_text(connection, headers, ahead), status=status)
        return HijackedStream(connection, ahead, headers.get("Content-Type", ""))
    except BaseException:
        connection.close()
        raise


def _read_head(connection: Connection) -> tuple[int, http.client.HTTPMessage, bytes]:
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0:
        data = connection.recv(READ_BYTES)
        if not data:
            raise EngineProblem("the engine closed the connection before it answered; see its log")
        received += data
        if len(received) > MAX_HEAD_BYTES:
            raise EngineProblem("the answer is not HTTP; is this address an engine's?")
    stream = io.BytesIO(received[: end + 4])
    words = stream.readline().split(None, 2)
    try:
        status = int(words[1])
    except (IndexError, ValueError):
        raise EngineProblem("the answer is not HTTP; is this address an engine's?") from None
    return status, http.client.parse_headers(stream), received[end + 4 :]


def _error_text(connection: Connection, headers: http.client.HTTPMessage, body: bytes) -> str:
    """The message of an error answer; engines send it with a length and as JSON."""
    length = min(int(headers.get("Content-Length", "0") or 0), MAX_ERROR_BYTES)
    while len(body) < length:
        data = connection.recv(length - len(body))
        if not data:
            break
        body += data
    return f"Error response from daemon: {message_of(body)}"


def message_of(body: bytes) -> str:
    """The text in an error body, JSON or not."""
    try:
        return str(json.loads(body)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip() or "no reason given"
