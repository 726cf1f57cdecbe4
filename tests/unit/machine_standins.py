"""Stand-ins for the tests of machine, tunnel and agent: a real sshd on loopback for the guest's, a small
engine on a unix socket, and a provider without a hypervisor.
"""

import getpass
import http.server
import json
import os
import queue
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from wherry.machine import keys, sshport
from wherry.machine.provider import Capabilities, SshEndpoint
from wherry.machine.state import MachineState
from wherry.tunnel.dial import SshTarget
from wherrywire import datagrams

if os.name == "nt":
    pytest.skip("needs unix sockets and an sshd", allow_module_level=True)

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
LIMIT_SECONDS = 20.0

needs_sshd = pytest.mark.skipif(SSHD is None, reason="no sshd on this host")


def wait_for(what: Callable[[], Any], limit_seconds: float = LIMIT_SECONDS) -> Any:
    """The first true answer; fails the test after the limit."""
    deadline = time.monotonic() + limit_seconds
    while not (answer := what()):
        if time.monotonic() > deadline:
            pytest.fail(f"nothing in {limit_seconds} s")
        time.sleep(0.01)
    return answer


@dataclass
class Sshd:
    """A running sshd. `target` is how to dial it."""

    folder: Path
    port: int
    host_key: str
    process: "subprocess.Popen[bytes]"

    @property
    def target(self) -> SshTarget:
        return SshTarget(
            host="127.0.0.1",
            port=self.port,
            user=getpass.getuser(),
            private_key=self.folder / "id_ed25519",
            host_key=self.host_key,
        )

    def connections(self) -> list[int]:
        """The processes that serve a connection: their leaders are children of the listener."""
        answer = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, check=False
        )
        return [int(pid) for pid in answer.stdout.split()]


@contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    folder.mkdir(parents=True, exist_ok=True)
    keys.make_key_pair(folder / "host_key", folder / "host_key.pub", comment="stand-in")
    line = keys.make_key_pair(folder / "id_ed25519", folder / "id_ed25519.pub", comment="client")
    (folder / "authorized_keys").write_text(line + "\n")
    port = sshport.pick()
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
        "AllowTcpForwarding yes\nAllowStreamLocalForwarding yes\nPrintMotd no\nMaxSessions 500\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    assert SSHD is not None
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    sshd = Sshd(folder, port, keys_fingerprint(folder / "host_key"), process)
    try:
        wait_for(lambda: _listens(port))
        yield sshd
    finally:
        for pid in sshd.connections():
            os.kill(pid, 9)
        process.terminate()
        process.wait(LIMIT_SECONDS)


def keys_fingerprint(private_key: Path) -> str:
    import paramiko

    return str(paramiko.Ed25519Key.from_private_key_file(str(private_key)).fingerprint)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def unix_server(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[Path]:
    """Calls `serve` with each connection, in a thread of its own."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                serve(self.request)
            except OSError:
                return

    with _UnixServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()


def echo(connection: socket.socket) -> None:
    """Sends back what it gets; answers the end of file with a farewell, so that half-close is seen."""
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.sendall(b"<end>")


@dataclass
class FakeEngine:
    """As much of the Engine API as the agent asks for."""

    containers: list[dict[str, Any]] = field(default_factory=list)
    #: Container id -> HostConfig.PortBindings, as GET /containers/{id}/json has them.
    bindings: dict[str, dict[str, Any]] = field(default_factory=dict)
    listeners: "list[queue.Queue[dict[str, Any] | None]]" = field(default_factory=list)

    def publish(self, action: str, container_id: str, kind: str = "container") -> None:
        event = {"Type": kind, "Action": action, "Actor": {"ID": container_id, "Attributes": {}}}
        for listener in list(self.listeners):
            listener.put(event)

    def start_container(
        self,
        container_id: str,
        *ports: int,
        kind: str = "tcp",
        addresses: tuple[str, ...] = ("0.0.0.0", "::"),  # noqa: S104 - said, not bound
    ) -> None:
        listed = [
            {"IP": address, "PrivatePort": 80, "PublicPort": port, "Type": kind}
            for port in ports
            for address in addresses
        ]
        self.containers.append({"Id": container_id, "Ports": listed})
        self.publish("start", container_id)

    def end_container(self, container_id: str) -> None:
        self.containers = [c for c in self.containers if c["Id"] != container_id]
        self.publish("die", container_id)

    def close(self) -> None:
        for listener in list(self.listeners):
            listener.put(None)


@contextmanager
def fake_engine(path: Path) -> Iterator[FakeEngine]:
    engine = FakeEngine()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802
            if self.path.startswith("/events"):
                self._events()
            elif self.path.endswith("/containers/json"):
                self._answer(json.dumps(engine.containers).encode())
            elif self.path.startswith("/containers/"):
                bindings = engine.bindings.get(self.path.split("/")[2], {})
                self._answer(json.dumps({"HostConfig": {"PortBindings": bindings}}).encode())
            else:
                self._answer(b"OK")

        def do_POST(self) -> None:  # noqa: N802
            """Frames of datagrams, which come back in capitals; "hang up" ends the connection."""
            self.wfile.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            decoder = datagrams.Decoder()
            while data := self.connection.recv(65536):
                for each in decoder.feed(data):
                    if each.payload == b"hang up":
                        self.close_connection = True
                        return
                    self.wfile.write(datagrams.encode(each.client, each.payload.upper()))
            self.close_connection = True

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _events(self) -> None:
            mine: queue.Queue[dict[str, Any] | None] = queue.Queue()
            engine.listeners.append(mine)
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while (event := mine.get()) is not None:
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            engine.listeners.remove(mine)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

        def address_string(self) -> str:
            return "unix"

    def serve(connection: socket.socket) -> None:
        Handler(connection, ("unix", 0), None)  # type: ignore[arg-type]

    with unix_server(path, serve):
        try:
            yield engine
        finally:
            engine.close()


@dataclass
class FakeProvider:
    """A VM that only has a state. `fail` maps a method's name to what it raises."""

    endpoint: SshEndpoint = field(default_factory=lambda: SshEndpoint("127.0.0.1", 1))
    now: MachineState = MachineState.STOPPED
    calls: list[str] = field(default_factory=list)
    fail: dict[str, Exception] = field(default_factory=dict)
    on_start: Callable[[], None] | None = None
    log: Path = Path("vagrant.log")
    data_disk: Path | None = None
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(save=True, emulated=False))

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fail:
            raise self.fail[name]

    def check(self) -> None:
        self._call("check")

    def create(self) -> None:
        self._call("create")
        self.now = MachineState.STOPPED
        if self.data_disk is not None:
            self.data_disk.touch()

    def start(self) -> None:
        self._call("start")
        self.now = MachineState.RUNNING
        if self.on_start is not None:
            self.on_start()

    def stop(self, *, grace_seconds: float) -> bool:
        self._call("stop")
        self.now = MachineState.STOPPED if self.now.is_on else self.now
        return False

    def save(self) -> None:
        self._call("save")
        self.now = MachineState.SAVED if self.now.is_on else self.now

    def delete(self, *, keep_data: bool) -> None:
        self._call("delete")
        self.now = MachineState.ABSENT
        if self.data_disk is not None and not keep_data:
            self.data_disk.unlink(missing_ok=True)

    def state(self) -> MachineState:
        return self.now

    def ssh_endpoint(self) -> SshEndpoint:
        return self.endpoint
