"""What the tests of networks stand on: a service with a bridge of its own, sockets in any namespace, and
another machine on a network next to this host."""

import contextlib
import ipaddress
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from wherryd.metadata.database import Database
from wherryd.networks import links, namespaces
from wherryd.networks.fabric import DefaultBridge
from wherryd.networks.naming import NameDefaults
from wherryd.networks.netlink import Netlink
from wherryd.networks.sandbox import PortBinding, Sandbox
from wherryd.networks.service import NetworkService
from wherryd.sys.namespaces import CLONE_NEWNET, setns

_Result = TypeVar("_Result")
WAIT_SECONDS = 3.0
# Names and subnets of tests that run at the same time must differ.
MARK = f"{os.getpid() % 100000:05d}"
_OCTET = os.getpid() % 250


def container_id(number: int) -> str:
    return f"{number:064x}"


def port(container_port: int, host_port: int = 0, *, host_ip: str = "", protocol: str = "tcp") -> PortBinding:
    return PortBinding(host_ip, host_port, container_port, protocol)


def publish(*bindings: PortBinding) -> dict[str, list[PortBinding]]:
    found: dict[str, list[PortBinding]] = {}
    for binding in bindings:
        found.setdefault(binding.key, []).append(binding)
    return found


class Rig:
    """Services on one database and one folder. `service()` again is the engine after a restart."""

    def __init__(self, folder: Path, *, number: int = 0) -> None:
        self.folder = folder
        self.bridge = f"wt{number}{MARK}"
        self.subnet = ipaddress.IPv4Interface(f"10.{190 + number}.{_OCTET}.1/24")
        #: Set it before the first service for a default network with IPv6.
        self.subnet6: ipaddress.IPv6Interface | None = None
        self.events: list[tuple[str, str, str, dict[str, str]]] = []
        self._databases: list[Database] = []

    @property
    def netns(self) -> Path:
        return self.folder / "run" / "netns"

    def service(self, dns: Sequence[str] = ()) -> NetworkService:
        database = Database(self.folder / "wherry.db")
        self._databases.append(database)
        return NetworkService(
            database=database,
            exec_root=self.folder / "run",
            bridge=DefaultBridge(device=self.bridge, subnet=self.subnet, subnet6=self.subnet6),
            names=NameDefaults(dns=tuple(dns)),
            publish=lambda *event: self.events.append((*event[:3], dict(event[3]))),
            container_name=lambda identity: f"name-{int(identity, 16)}",
        )

    async def remove(self) -> None:
        """Everything, whatever state the test ended in."""
        last = self.service()
        await last.open()
        await last.uninstall()
        for database in self._databases:
            database.close()


def in_namespace(path: str | None, work: Callable[[], _Result]) -> _Result:
    """Runs in a thread inside the namespace; sockets made there stay there. None: this one."""
    if path is None:
        return work()
    outcome: list[_Result] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            fd = os.open(path, os.O_RDONLY)
            try:
                setns(fd, CLONE_NEWNET, path)
            finally:
                os.close(fd)
            outcome.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def _socket(path: str | None, kind: int, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = in_namespace(path, lambda: socket.socket(family, kind))
    made.settimeout(WAIT_SECONDS)
    return made


@contextlib.contextmanager
def tcp_server(path: str | None, number: int, address: str = "0.0.0.0") -> Iterator[socket.socket]:  # noqa: S104
    with _socket(path, socket.SOCK_STREAM, address) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, number))
        server.listen(8)
        yield server


@contextlib.contextmanager
def udp_server(path: str | None, number: int, address: str = "0.0.0.0") -> Iterator[socket.socket]:  # noqa: S104
    with _socket(path, socket.SOCK_DGRAM, address) as server:
        server.bind((address, number))
        yield server


def call(server: socket.socket, path: str | None, address: str, number: int) -> str:
    """Connects from the namespace, sends both ways; the peer's address as the server sees it.

    Raises OSError when the way is closed: ConnectionRefusedError or TimeoutError.
    """
    with _socket(path, socket.SOCK_STREAM, address) as client:
        client.settimeout(1.0)
        client.connect((address, number))
        accepted, peer = server.accept()
        with accepted:
            accepted.settimeout(WAIT_SECONDS)
            client.settimeout(WAIT_SECONDS)
            client.sendall(b"question")
            assert accepted.recv(64) == b"question"
            accepted.sendall(b"answer")
            assert client.recv(64) == b"answer"
        return str(peer[0])


def call_udp(server: socket.socket, path: str | None, address: str, number: int) -> str:
    """As `call`, with one datagram each way. The client hears nobody but whom it called."""
    with _socket(path, socket.SOCK_DGRAM, address) as client:
        client.connect((address, number))
        client.send(b"question")
        data, peer = server.recvfrom(64)
        assert data == b"question"
        server.sendto(b"answer", peer)
        assert client.recv(64) == b"answer"
        return str(peer[0])


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another machine: its namespace, its address, and the address of this host on the way to it."""

    path: str
    address: str
    host_address: str
    address6: str
    host_address6: str


@contextlib.contextmanager
def neighbour(folder: Path) -> Iterator[Neighbour]:
    """A machine on a network of its own, whose default route is this host."""
    device = f"wl{MARK}"
    here = ipaddress.IPv4Interface(f"10.189.{_OCTET}.1/24")
    there = ipaddress.IPv4Interface(f"10.189.{_OCTET}.2/24")
    here6 = ipaddress.IPv6Interface(f"fd57:189:{_OCTET:x}::1/64")
    there6 = ipaddress.IPv6Interface(f"fd57:189:{_OCTET:x}::2/64")
    directory = folder / "neighbour"
    directory.mkdir()
    with Netlink() as nl, contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, directory)
        links.create_bridge(nl, device, mac="02:57:00:00:00:01", mtu=1400)
        undo.callback(links.delete, nl, device)
        links.write_sysctl(f"net/ipv6/conf/{device}/accept_dad", "0")
        bridge = links.find(nl, device)
        assert bridge is not None
        nl.send([links.add_address_message(bridge.index, each, device) for each in (here, here6)])
        links.set_up(nl, bridge)
        namespace = namespaces.create(directory)
        undo.callback(namespaces.remove, namespace.path)
        with contextlib.closing(namespace):
            veth = f"wv{MARK}"
            links.create_veth(
                nl,
                veth,
                bridge_index=bridge.index,
                netns_fd=namespace.fd,
                mac="02:57:00:00:00:02",
                mtu=1400,
            )
            undo.callback(links.delete, nl, veth)
            namespaces.allow_ipv6(namespace.path, links.FIRST_DEVICE)
            links.configure_container(
                namespace.inside, addresses=[there, there6], gateways=[here.ip, here6.ip]
            )
            links.find(namespace.inside, links.FIRST_DEVICE)
            links.wait_for_addresses(namespace.inside)
            for name in (veth, device):
                links.find(nl, name)  # makes the kernel see the carrier now, as the bridge of the engine
        yield Neighbour(str(namespace.path), str(there.ip), str(here.ip), str(there6.ip), str(here6.ip))


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def path_of(sandbox: Sandbox) -> str:
    assert sandbox.netns_path is not None
    return sandbox.netns_path


async def attach(
    service: NetworkService, identity: str, *bindings: PortBinding, mode: str = "default"
) -> Sandbox:
    return await service.attach(identity, mode=mode, hostname="h", ports=publish(*bindings))


def ports_of(rig: Rig) -> list[str]:
    """Devices plugged into the bridge."""
    folder = Path("/sys/class/net", rig.bridge, "brif")
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def nft(*arguments: str) -> str:
    done = subprocess.run(["nft", *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout


def published(rig: Rig) -> list[str]:
    """The published ports, as the kernel has them."""
    text = nft("list", "map", "ip", f"wherry_{rig.bridge}", "published")
    with contextlib.suppress(ValueError):
        inner = text[text.index("elements = {") + len("elements = {") :]
        return [part.strip() for part in inner[: inner.index("}")].split(",")]
    return []
