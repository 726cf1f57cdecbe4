"""HTTP/1.1 as engines speak it, over whatever `dial` connects to: a unix socket, a named pipe or TCP.

Requests does this too, but its import takes ten times as long as a bare interpreter's start, and a call
like `ps` shall take six at most (docs/decisions/013-client-start.md). What a client of one known server needs
is little: no proxies, no redirects, no retries (a POST must not be repeated behind one's back), no TLS.

Source: RFC 9112.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from wherry.engine.dial import Connection, dial
from wherry.engine.endpoint import Endpoint
from wherry.errors import EngineProblem
from wherrywire.version import __version__

READ_BYTES = 64 * 1024
#: A head beyond this is not an engine's.
MAX_HEAD_BYTES = 256 * 1024
#: Of a chunk's size line, extensions included.
MAX_LINE_BYTES = 4096
_EMPTY = frozenset({204, 304})
_AGENT = f"Wherry-Client/{__version__}"


class Reader:
    """Bytes of one connection, with what was read ahead."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ahead = b""

    def take_ahead(self) -> bytes:
        """What was read beyond the last thing asked for."""
        ahead, self._ahead = self._ahead, b""
        return ahead

    def some(self, most: int) -> bytes:
        """Up to most bytes, as soon as there are any; b"" at the end. Raises EngineProblem."""
        data = self._ahead or self._recv()
        self._ahead = data[most:]
        return data[:most]

    def until(self, mark: bytes, most: int) -> bytes:
        """Up to and with mark; b"" if the connection ends before the first byte. Raises EngineProblem."""
        data = self._ahead
        while (end := data.find(mark)) < 0:
            if len(data) > most:
                raise EngineProblem("the answer is not HTTP; is this address an engine's?")
            more = self._recv()
            if not more:
                if data:
                    raise broken_off("it ended in the middle of an answer")
                return b""
            data += more
        end += len(mark)
        self._ahead = data[end:]
        return data[:end]

    def _recv(self) -> bytes:
        try:
            return self._connection.recv(READ_BYTES)
        except OSError as exc:
            raise broken_off(exc) from exc


class Answer:
    """status, headers, and a body that is read when it is asked for. Closing twice is fine."""

    def __init__(
        self, pool: "Pool", connection: Connection, reader: Reader, status: int, headers: Mapping[str, str],
        *, empty: bool,
    ) -> None:  # fmt: skip
        self.status = status
        self._headers = headers
        self._pool = pool
        self._connection: Connection | None = connection
        self._reader = reader
        self._content: bytes | None = None
        self._body = self._parts(empty)

    def header(self, name: str) -> str:
        """ "" if it is not there."""
        return self._headers.get(name.lower(), "")

    @property
    def content(self) -> bytes:
        """The whole body. Raises EngineProblem if it breaks off."""
        if self._content is None:
            self._content = b"".join(self._body)
        return self._content

    def json(self) -> Any:
        """Raises ValueError if it is none."""
        return json.loads(self.content)

    def chunks(self) -> Iterator[bytes]:
        """The body's bytes as soon as they are there. Raises EngineProblem if it breaks off."""
        return self._body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # --- below -----------------------------------------------------------------------------------

    def _parts(self, empty: bool) -> Iterator[bytes]:
        length = self.header("Content-Length")
        if empty:
            pass
        elif self.header("Transfer-Encoding").lower() == "chunked":
            yield from self._chunked()
        elif length:
            yield from self._exactly(_number(length, 10))
        else:
            while data := self._reader.some(READ_BYTES):
                yield data
            self.close()
            return
        self._give_back()

    def _chunked(self) -> Iterator[bytes]:
        while size := _number(self._line().partition(b";")[0].decode("ascii", "replace"), 16):
            yield from self._exactly(size)
            self._line()
        while self._line():
            pass  # trailers

    def _line(self) -> bytes:
        line = self._reader.until(b"\n", MAX_LINE_BYTES)
        if not line:
            raise broken_off("it ended in the middle of an answer")
        return line.rstrip(b"\r\n")

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            data = self._reader.some(size)
            if not data:
                raise broken_off("it ended in the middle of an answer")
            size -= len(data)
            yield data

    def _give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self.header("Connection").lower() == "close" or self._reader.take_ahead():
            connection.close()
        else:
            self._pool.give_back(connection)


class Pool:
    """Connections to one endpoint, kept for the next call. Thread-safe; closing twice is fine."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str] | None = None) -> None:
        """headers: of every request, unless it has them itself."""
        self._endpoint = endpoint
        self._headers = dict(headers or {})
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False

    def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None
    ) -> Answer:
        """target: path and query. A body in parts is sent chunked, as it is made.

        Raises what `dial` raises (status 0), and EngineProblem if the connection breaks.
        """
        connection = self._take()
        try:
            sent = _send(connection, method, target, {**self._headers, **headers}, body)
            reader = Reader(connection)
            try:
                status, found = read_head(reader)
            except EngineProblem as exc:
                # An engine that refuses an upload may close before it has read all of it: its answer, if
                # there is one, tells more than the broken pipe.
                problem = exc if sent is None else broken_off(sent)
                if self._endpoint.tls is not None and not self._endpoint.tls.cert:
                    # In TLS 1.3 the handshake is over before the engine looks for a certificate.
                    problem.add_note("it may want a certificate of the client: give --tlscert and --tlskey")
                raise problem from (sent or exc.__cause__)
        except BaseException:
            connection.close()
            raise
        empty = method == "HEAD" or status in _EMPTY
        return Answer(self, connection, reader, status, found, empty=empty)

    def give_back(self, connection: Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for connection in idle:
            connection.close()

    def _take(self) -> Connection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return dial(self._endpoint)
            if connection.is_quiet():
                return connection
            connection.close()  # the engine has closed it, or sent what nobody asked for


def _send(
    connection: Connection,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | Iterable[bytes] | None,
) -> OSError | None:
    """Sends a request; gives the error that stopped the body on its way. Raises EngineProblem."""
    lines = [f"{method} {target} HTTP/1.1", "Host: docker"]
    lines += [f"{name}: {value}" for name, value in {"User-Agent": _AGENT, **headers}.items()]
    if isinstance(body, bytes) or (body is None and method in {"POST", "PUT"}):
        lines.append(f"Content-Length: {len(body or b'')}")
    elif body is not None:
        lines.append("Transfer-Encoding: chunked")
    if any("\r" in line or "\n" in line for line in lines):
        raise EngineProblem("a request must not have line breaks in its head")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    parts: Iterable[bytes] = (head + body,) if isinstance(body, bytes) else _parts(head, body)
    # The parts are made outside the try: a file of the user's that cannot be read is another error.
    for part in parts:
        try:
            connection.sendall(part)
        except OSError as exc:
            return exc
    return None


def _parts(head: bytes, body: Iterable[bytes] | None) -> Iterator[bytes]:
    yield head
    if body is None:
        return
    for data in body:
        if data:  # an empty chunk would end the body
            yield b"%x\r\n%b\r\n" % (len(data), data)
    yield b"0\r\n\r\n"


def read_head(reader: Reader) -> tuple[int, dict[str, str]]:
    """Status and headers, their names in lower case. Interim answers are skipped. Raises EngineProblem."""
    while True:
        head = reader.until(b"\r\n\r\n", MAX_HEAD_BYTES)
        if not head:
            raise EngineProblem("the engine closed the connection before it answered; see its log")
        status, headers = parse_head(head)
        if status >= 200 or status == 101:
            return status, headers


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Raises EngineProblem."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise EngineProblem("the answer is not HTTP; is this address an engine's?")
    pairs = (line.partition(":") for line in lines if line)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _number(text: str, base: int) -> int:
    try:
        number = int(text, base)
    except ValueError:
        number = -1
    if number < 0:
        raise EngineProblem("the answer is not HTTP; is this address an engine's?")
    return number


def broken_off(cause: object) -> EngineProblem:
    return EngineProblem(f"the connection to the engine broke: {cause}; see `wherry machine logs`")


def message_of(body: bytes) -> str:
    """The text in an error body, JSON or not."""
    try:
        return str(json.loads(body)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip() or "no reason given"
