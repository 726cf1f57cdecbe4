"""A small engine in this process, for the client's tests: HTTP over a unix socket (TCP on Windows).

Routes are functions; a route may take the connection over (`hijack`) or answer a stream line by line.
"""

import contextlib
import json
import os
import re
import socket
import socketserver
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

API_VERSION = "1.47"


@dataclass
class Request:
    method: str
    path: str  # without the version
    version: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    #: Parts sent as chunks, one by one; each may wait for something before it is yielded.
    stream: Iterator[bytes] | None = None
    #: Takes the socket after the 101 head; what it sends first goes out with the head.
    hijack: Callable[[socket.socket], None] | None = None
    first: bytes = b""


Route = Callable[[Request], Answer]


@dataclass
class FakeEngine:
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    routes: list[tuple[str, re.Pattern[str], Route]] = field(default_factory=list)

    def on(self, method: str, pattern: str, route: Route | Answer) -> None:
        """Later routes win, so that a test can replace a common one."""
        call = (lambda _: route) if isinstance(route, Answer) else route
        self.routes.insert(0, (method, re.compile(pattern + "$"), call))

    def asked(self, method: str, path: str) -> list[Request]:
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        for method, pattern, route in self.routes:
            if method == request.method and pattern.match(request.path):
                return route(request)
        return Answer(404, {"message": "page not found"})


def _handler(engine: FakeEngine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            version = re.match(r"/v(\d+\.\d+)(/.*)", parts.path)
            request = Request(
                self.command,
                version[2] if version else parts.path,
                version[1] if version else "",
                parse_qs(parts.query),
                dict(self.headers.items()),
                self._body(),
            )
            answer = engine.answer(request)
            if answer.hijack:
                head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
                self.connection.sendall(head + answer.first)
                self.close_connection = True
                answer.hijack(self.connection)
            elif answer.stream is not None:
                self._head(answer.status, {"Transfer-Encoding": "chunked"})
                for part in answer.stream:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")
            else:
                body = b"" if answer.body is None else json.dumps(answer.body).encode()
                self._head(answer.status, {"Content-Length": str(len(body))})
                self.wfile.write(body)

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {
                "Api-Version": API_VERSION,
                "Content-Type": "application/json",
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler


@contextlib.contextmanager
def fake_engine(tls: ssl.SSLContext | None = None) -> Iterator[FakeEngine]:
    """Serves until the end of the block. Its socket's path is short: macOS allows 104 bytes.

    tls: serves TCP with it.
    """
    engine = FakeEngine()
    engine.on("GET", "/_ping", Answer(200, "OK"))
    with tempfile.TemporaryDirectory(prefix="we") as folder, contextlib.ExitStack() as stack:
        server: socketserver.BaseServer
        if sys.platform == "win32" or tls is not None:

            class TcpServer(socketserver.ThreadingTCPServer):
                daemon_threads = True

                def handle_error(self, request: Any, client_address: Any) -> None:
                    """Clients that go away, also in the middle of a handshake, are part of the tests."""
                    if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
                        super().handle_error(request, client_address)

            server = TcpServer(("127.0.0.1", 0), _handler(engine))
            if tls is not None:
                # Handshakes belong to the threads of connections.
                server.socket = tls.wrap_socket(
                    server.socket, server_side=True, do_handshake_on_connect=False
                )
            engine.url = f"tcp://127.0.0.1:{server.server_address[1]}"
        else:
            # BaseHTTPRequestHandler wants an address it can index; a unix client has none.
            class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
                daemon_threads = True

                def handle_error(self, request: Any, client_address: Any) -> None:
                    """A client that goes away in the middle is part of many tests; other errors are shown."""
                    if not isinstance(sys.exception(), ConnectionError):
                        super().handle_error(request, client_address)

                def get_request(self) -> tuple[socket.socket, Any]:
                    connection, _ = super().get_request()
                    return connection, ("unix", 0)

            path = str(Path(folder) / "d.sock")
            server = Server(path, _handler(engine))
            engine.url = f"unix://{path}"
        stack.enter_context(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        stack.callback(thread.join, 5)
        stack.callback(server.shutdown)
        yield engine


def frame(stream: int, payload: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def read_to_end(connection: socket.socket) -> bytes:
    """What the client sends until it half-closes."""
    got = b""
    while data := connection.recv(4096):
        got += data
    return got


@dataclass
class Container:
    """A scripted container on a fake engine: `main` runs at start with the attached socket."""

    engine: FakeEngine
    main: Callable[[socket.socket], int]
    tty: bool = False
    identifier: str = "c0ffee" + "0" * 58
    attached: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    status: int = 0
    killed: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        path = f"/containers/({self.identifier}|db)"
        state = {"Running": True, "Paused": False, "Restarting": False}
        config = {"Tty": self.tty, "OpenStdin": True}
        self.engine.on("POST", "/containers/create", self._create)
        self.engine.on(
            "GET",
            f"{path}/json",
            Answer(200, {"Id": self.identifier, "State": state, "Config": config, "HostConfig": {}}),
        )
        self.engine.on("POST", f"{path}/attach", lambda _: Answer(hijack=self._attach))
        self.engine.on("POST", f"{path}/wait", self._wait)
        self.engine.on("POST", f"{path}/start", self._start)
        self.engine.on("POST", f"{path}/kill", self._kill)
        self.engine.on("POST", f"{path}/resize", self._resize)

    def _create(self, _: Request) -> Answer:
        self.order.append("create")
        return Answer(201, {"Id": self.identifier, "Warnings": []})

    def _attach(self, connection: socket.socket) -> None:
        self.order.append("attach")
        self.attached.set()
        # A client that leaves in the middle resets the connection; the container has then lost its reader.
        with contextlib.suppress(OSError):
            if self.started.wait(10):
                self.status = self.main(connection)
            connection.shutdown(socket.SHUT_RDWR)
        self.ended.set()

    def _wait(self, _: Request) -> Answer:
        # Before the head goes out: who has it may start the container.
        self.order.append("wait")
        return Answer(stream=self._until_the_end())

    def _until_the_end(self) -> Iterator[bytes]:
        yield b" "  # flushes the head at once, as engines must
        self.ended.wait(10)
        yield json.dumps({"StatusCode": self.status}).encode()

    def _start(self, _: Request) -> Answer:
        self.order.append("start")
        self.started.set()
        return Answer(204)

    def _kill(self, request: Request) -> Answer:
        self.killed += request.query.get("signal", ["KILL"])
        return Answer(204)

    def _resize(self, request: Request) -> Answer:
        self.sizes.append((int(request.query["h"][0]), int(request.query["w"][0])))
        return Answer(200)


def environment(engine: FakeEngine) -> dict[str, str]:
    """For a client in another process."""
    return {**os.environ, "DOCKER_HOST": engine.url, "WHERRY_HOST": "", "NO_COLOR": "1"}
