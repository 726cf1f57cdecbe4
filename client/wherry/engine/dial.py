"""Endpoint -> connected socket. What is raised tells whether anybody listens there."""

import contextlib
import select
import socket
import sys
from typing import Protocol

from wherry.engine.endpoint import Endpoint, Scheme, Tls, not_running
from wherry.errors import EngineProblem, WherryError

#: Seconds until a TCP engine must have accepted. A unix socket answers at once or never.
CONNECT_TIMEOUT = 10.0


class Connection(Protocol):
    """What both sockets and Windows' named pipes can do.

    close_write is the half-close; is_quiet tells whether an idle connection is still good for a request.
    """

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...
    def close_write(self) -> None: ...
    def is_quiet(self) -> bool: ...
    def close(self) -> None: ...


class SocketConnection:
    """A stream socket with `close_write`. Closing twice is fine."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def recv(self, size: int, /) -> bytes:
        return self._sock.recv(size)

    def sendall(self, data: bytes, /) -> None:
        self._sock.sendall(data)

    def close_write(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def is_quiet(self) -> bool:
        # An end, as a byte, makes it readable.
        return not select.select([self._sock], [], [], 0)[0]

    def close(self) -> None:
        # shutdown first: it wakes a thread that is blocked in recv, close alone does not.
        with contextlib.suppress(OSError):  # the peer has gone already: closing is all that is left
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


def connect_socket(endpoint: Endpoint) -> socket.socket:
    """A connected socket for unix and tcp endpoints, without a time-out. Raises OSError."""
    if endpoint.scheme is Scheme.TCP:
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout=CONNECT_TIMEOUT)
        sock.settimeout(None)
        # Keystrokes are small: without this, Nagle holds each back for 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    if sys.platform == "win32":
        raise OSError(f"{endpoint}: unix sockets are not served on Windows; use npipe:// or tcp://")
    else:  # noqa: RET506 - the type checker follows if and else per platform
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(endpoint.path)
        except BaseException:
            sock.close()
            raise
        return sock


def dial(endpoint: Endpoint) -> Connection:
    """A connection for a hijacked stream. Raises EngineProblem or MachineNotRunning."""
    try:
        if sys.platform == "win32" and endpoint.scheme is Scheme.NPIPE:
            from wherry.engine._windows import PipeConnection

            return PipeConnection.connect(endpoint.path)
        if endpoint.scheme is Scheme.SSH:
            from wherry.engine.ssh import SshConnection

            return SshConnection(endpoint)
        sock = connect_socket(endpoint)
        return SocketConnection(sock) if endpoint.tls is None else _secured(sock, endpoint, endpoint.tls)
    except OSError as exc:
        raise unreachable(endpoint, exc) from exc


def _secured(sock: socket.socket, endpoint: Endpoint, tls: Tls) -> Connection:
    from wherry.engine.tls import TlsConnection

    try:
        sock.settimeout(CONNECT_TIMEOUT)  # one who speaks no TLS may wait for us to go on
        connection = TlsConnection(sock, tls, endpoint.host)
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return connection


def unreachable(endpoint: Endpoint, cause: BaseException) -> WherryError:
    """The error for an endpoint that nobody answers on; status 0."""
    if endpoint.machine is not None:
        return not_running(endpoint.machine)
    reason = getattr(cause, "verify_message", None) or getattr(cause, "strerror", None) or str(cause)
    return EngineProblem(
        f"cannot connect to the engine at {endpoint}: {reason.lower()}; is it running, is the address right?"
    )
