"""A socket before an engine's own: what passes is kept, so that answers to foreign clients can be judged."""

import contextlib
import http.client
import io
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

#: One answer: method, path without a query, header fields of the request, status, header fields, body.
Judge = Callable[[str, str, Mapping[str, str], int, Mapping[str, str], bytes], None]

_BLOCK = 64 * 1024
#: What is kept of one direction of one connection: archives are no answers that could be judged.
_KEPT_BYTES = 8 * 1024 * 1024
_SETTLE_SECONDS = 5.0


class JudgingRelay:
    """Listens from the beginning, until `close`. Clients are told apart by their process."""

    def __init__(self, path: Path, engine: Path, judge: Judge) -> None:
        self.path = path
        self._engine = engine
        self._judge = judge
        self._findings: dict[int, list[str]] = {}
        self._connections: dict[int, list[threading.Thread]] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def settle(self, pid: int) -> list[str]:
        """To be called when that client has ended: what was found in answers to it."""
        for thread in self._connections.pop(pid, ()):
            thread.join(_SETTLE_SECONDS)
        return self._findings.pop(pid, [])

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(_SETTLE_SECONDS)
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            thread = threading.Thread(target=self._connection, args=(client, pid), daemon=True)
            self._connections.setdefault(pid, []).append(thread)
            thread.start()

    def _connection(self, client: socket.socket, pid: int) -> None:
        engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        asked, answered = bytearray(), bytearray()
        with client, engine:
            try:
                engine.connect(str(self._engine))
            except OSError:
                return
            upward = threading.Thread(target=_pass_requests, args=(client, engine, asked), daemon=True)
            upward.start()
            try:
                _pass(engine, client, answered)
            finally:
                _end(client)
                _end(engine)
                upward.join()
        try:
            for exchange in exchanges(bytes(asked), bytes(answered)):
                self._judge(*exchange)
        except AssertionError as exc:
            self._findings.setdefault(pid, []).append(str(exc))


def _pass(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    try:
        while data := source.recv(_BLOCK):
            if len(kept) < _KEPT_BYTES:
                kept += data
            target.sendall(data)
    except OSError:
        pass  # the other one has gone, which is an end like any other


def _pass_requests(client: socket.socket, engine: socket.socket, kept: bytearray) -> None:
    """An engine tells a client that says no more from one that has gone: so does this."""
    _pass(client, engine, kept)
    gone = select.poll()
    gone.register(client, 0)
    if not gone.poll(0):
        try:
            engine.shutdown(socket.SHUT_WR)
        except OSError:
            return
        gone.poll()
    _end(engine)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended
        connection.shutdown(socket.SHUT_RDWR)


def exchanges(asked: bytes, answered: bytes) -> Iterator[tuple[Any, ...]]:
    """What one connection carried, up to an upgrade or to where it was cut off."""
    requests, responses = io.BytesIO(asked), _Stream(answered)
    while line := requests.readline().split():
        method, target = line[0].decode(), line[1].decode()
        headers = http.client.parse_headers(requests)
        try:
            response = http.client.HTTPResponse(responses, method=method)  # type: ignore[arg-type]
            response.begin()
            if response.status == 101:
                return
            body = response.read()
        except http.client.HTTPException:
            return
        yield method, target.partition("?")[0], dict(headers), response.status, dict(response.headers), body
        if "Upgrade" in headers or not _skip_body(requests, headers):
            return


def _skip_body(requests: io.BytesIO, headers: Mapping[str, str]) -> bool:
    """Whether another request may follow."""
    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        requests.seek(int(headers.get("Content-Length", 0)), io.SEEK_CUR)
        return True
    while size := requests.readline().strip():
        length = int(size.partition(b";")[0], 16)
        requests.seek(length + 2, io.SEEK_CUR)
        if not length:
            return True
    return False


class _Stream(io.BytesIO):
    """What http.client takes for a connection; it may close it after each answer."""

    def makefile(self, *_: object) -> "_Stream":
        return self

    def close(self) -> None:
        """There may be more answers in it."""
