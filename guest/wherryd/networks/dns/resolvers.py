"""Which containers have a resolver, and its sockets at 127.0.0.11 inside their namespaces.

Usually they are bound to port 53 itself, and no rule is needed. A container that serves names itself wants
port 53 on every address: where it says so (EXPOSE 53, -p 53) or has taken it already, the resolver takes
any free port instead, and two rules in the container's own namespace send what goes to 127.0.0.11:53 there.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wherryd.errors import EngineError
from wherryd.networks import namespaces
from wherryd.networks.dns.answering import Answerer
from wherryd.networks.dns.directory import NameDirectory
from wherryd.networks.dns.receiver import Receiver
from wherryd.networks.dns.reply import Reply
from wherryd.networks.dns.server import Server, Sockets
from wherryd.networks.fabric import Fabric
from wherryd.networks.members import Members
from wherryd.networks.naming import NameDefaults
from wherryd.networks.nft import Nft
from wherryd.networks.resolv import EMBEDDED

_log = logging.getLogger(__name__)
ADDRESS = EMBEDDED
PORT = 53
_BACKLOG = 64
_TABLE = "wherry_names"


@dataclass(frozen=True, slots=True)
class _Answers:
    """What one container's server asks."""

    answerer: Answerer
    members: Members
    container_id: str

    def at_once(self, query: bytes, *, tcp: bool) -> Reply | None:
        return self.answerer.at_once(self.container_id, query, tcp=tcp)

    async def forward(self, query: bytes, *, tcp: bool) -> bytes:
        return await self.answerer.forward(self.container_id, query, tcp=tcp)

    def revision(self) -> int:
        return self.members.revision


class Resolvers:
    """Of one event loop. directory: where the namespaces' files are. names: the engine's."""

    def __init__(
        self,
        *,
        members: Members,
        fabric: Fabric,
        directory: Path,
        container_name: Callable[[str], str],
        names: NameDefaults,
    ) -> None:
        self._members = members
        self._directory = directory
        self._names = NameDirectory(members, fabric, container_name)
        self._fabric = fabric
        self._answerer = Answerer(self._names, names, self._path)
        self._receiver = Receiver()
        self._servers: dict[str, Server] = {}

    def serves(self, container_id: str) -> bool:
        return container_id in self._servers

    async def open(self, container_id: str) -> None:
        """Starts answering, if it does not yet. Raises SystemFault, OSError."""
        path = self._path(container_id)
        if path is None or container_id in self._servers:
            return
        aside = self._members.sandboxes[container_id].serves_port_53
        sockets = await asyncio.to_thread(namespaces.make_inside, path, partial(_open_sockets, aside=aside))
        server = Server(_Answers(self._answerer, self._members, container_id), self._receiver)
        await server.start(sockets)
        self._servers[container_id] = server

    async def reopen(self) -> None:
        """After a restart: for everybody on a user's network. What fails is logged: the rest must work."""
        for container_id, record in tuple(self._members.sandboxes.items()):
            on_own = any(
                endpoint.has_device and self._fabric.named(endpoint.network).network.user_defined
                for endpoint in self._members.of(container_id)
            )
            if not on_own or not record.owns_namespace:
                continue
            try:
                await self.open(container_id)
            except (EngineError, OSError) as exc:
                _log.error("container %s has no resolver: %s", container_id, exc)

    def stop(self, container_id: str) -> None:
        """Closes its sockets, which would keep the namespace. Idempotent."""
        server = self._servers.pop(container_id, None)
        if server is not None:
            server.close()

    def close(self) -> None:
        for container_id in tuple(self._servers):
            self.stop(container_id)
        self._receiver.close()

    def _path(self, container_id: str) -> Path | None:
        record = self._members.sandboxes.get(container_id)
        if record is None or not record.owns_namespace:
            return None
        return namespaces.path_of(self._directory, record.sandbox_id)


def _open_sockets(*, aside: bool) -> Sockets:
    """In a thread inside the namespace. aside: on any port, with rules. Raises OSError, SystemFault."""
    if not aside:
        try:
            return _bound(PORT)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    sockets = _bound(0)
    try:
        _redirect(sockets.udp.getsockname()[1], sockets.tcp.getsockname()[1])
    except BaseException:
        sockets.close()
        raise
    return sockets


def _bound(port: int) -> Sockets:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        udp.bind((ADDRESS, port))
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # Connections of a resolver before, in TIME_WAIT, are no obstacle.
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((ADDRESS, port))
            tcp.listen(_BACKLOG)
        except BaseException:
            tcp.close()
            raise
    except BaseException:
        udp.close()
        raise
    for each in (udp, tcp):
        each.setblocking(False)
    return Sockets(udp, tcp)


def _redirect(udp_port: int, tcp_port: int) -> None:
    """The rules, in the namespace of the calling thread, in place of those of a resolver before."""
    nft = Nft()
    try:
        nft.run(
            f"""\
add table ip {_TABLE}
delete table ip {_TABLE}
table ip {_TABLE} {{
  chain output {{
    type nat hook output priority -100; policy accept;
    ip daddr {ADDRESS} udp dport {PORT} dnat to {ADDRESS}:{udp_port}
    ip daddr {ADDRESS} tcp dport {PORT} dnat to {ADDRESS}:{tcp_port}
  }}
}}
"""
        )
    finally:
        nft.close()
