"""TLS to an engine on TCP, as a connection.

Python's own SSLSocket is of no use here: attach needs the half-close (TLS's close_notify, with output still
to come), which its `unwrap` cannot do, and reading and writing in two threads, which OpenSSL forbids on
one object. So the object works on memory, behind a lock, and the socket is used outside of it.

Source: RFC 8446 section 6.1 (close_notify ends one direction), OpenSSL's SSL_shutdown(3).
"""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator

from wherry.engine.endpoint import Tls
from wherry.errors import UsageProblem

READ_BYTES = 64 * 1024
#: A record holds 16 KiB; more at once saves calls.
_WRITE_BYTES = 256 * 1024


def context_of(tls: Tls) -> ssl.SSLContext:
    """Raises UsageProblem for a file that is not there or is no certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.verify:
        with _read(tls.ca, "--tlscacert"):
            made.load_verify_locations(tls.ca)
    else:
        # --tls without --tlsverify: secret, but to whom is not asked. That is what docker means by it.
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if bool(tls.cert) != bool(tls.key):
        raise UsageProblem("a client's certificate needs its key; give both --tlscert and --tlskey, or none")
    if tls.cert:
        with _read(tls.cert, "--tlscert"):
            made.load_cert_chain(tls.cert, tls.key, password=_no_password)
    return made


def _no_password() -> str:
    raise UsageProblem("the key of --tlskey is encrypted; give one without a password")


@contextlib.contextmanager
def _read(path: str, option: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        reason = exc.strerror if isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError) else str(exc)
        raise UsageProblem(
            f"{path}: {reason}; name a PEM file with {option}, or set DOCKER_CERT_PATH"
        ) from exc


class TlsConnection:
    """A connection (dial.Connection) over a connected socket, which it owns. Closing twice is fine."""

    def __init__(self, sock: socket.socket, tls: Tls, name: str) -> None:
        """name: whom the engine's certificate must name. Raises OSError (ssl.SSLError), UsageProblem."""
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context_of(tls).wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        #: Guards the object and both memories; never held while the socket blocks.
        self._lock = threading.Lock()
        #: Keeps records in their order. Taken before `_lock`.
        self._sending = threading.Lock()
        #: Read ahead, since after close_notify OpenSSL refuses what it holds.
        self._ready = b""
        self._shake_hands()

    def _shake_hands(self) -> None:
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._receive():
                    raise ConnectionError("the engine ended the TLS handshake") from None
            except ssl.SSLError:
                self._flush()  # the alert that says why
                raise
            else:
                self._flush()
                return

    def _flush(self) -> None:
        """Sends what waits to be sent."""
        with self._sending:
            with self._lock:
                data = self._outgoing.read()
            if data:
                self._sock.sendall(data)

    def _receive(self) -> bool:
        """False at the socket's end."""
        data = self._sock.recv(READ_BYTES)
        with self._lock:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
        return bool(data)

    def recv(self, size: int, /) -> bytes:
        while True:
            with self._lock:
                if self._ready:
                    data, self._ready = self._ready[:size], self._ready[size:]
                    return data
                try:
                    return self._object.read(size)
                except ssl.SSLWantReadError:
                    answer = self._outgoing.pending > 0
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""
            if answer:
                self._flush()
            if not self._receive():
                return b""

    def sendall(self, data: bytes, /) -> None:
        view = memoryview(data)
        while view:
            part, view = view[:_WRITE_BYTES], view[_WRITE_BYTES:]
            with self._sending:
                with self._lock:
                    self._object.write(part)
                    records = self._outgoing.read()
                self._sock.sendall(records)

    def close_write(self) -> None:
        with self._sending:
            with self._lock:
                self._read_ahead()
                # Sent; the engine's own comes when its output ends.
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLSyscallError):
                    self._object.unwrap()
                notice = self._outgoing.read()
            self._sock.sendall(notice)

    def _read_ahead(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            while data := self._object.read(READ_BYTES):
                self._ready += data

    def is_quiet(self) -> bool:
        with self._lock:
            if self._ready or self._object.pending() or self._incoming.pending:
                return False
        return not select.select([self._sock], [], [], 0)[0]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that is blocked in recv
        self._sock.close()
