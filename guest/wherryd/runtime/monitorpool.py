"""The client's end of the processes that monitors run in: who is asked for the next container, when a further
process is made, and when one is let go.

One process serves up to CONTAINERS_EACH containers. While it brings one up, the next is asked of another,
as long as there are no more such processes at work than processors can keep busy.
"""

import asyncio
import os
import socket
from typing import Final

from wherryd.errors import RuntimeFault
from wherryd.runtime.line import MonitorLine
from wherryd.runtime.request import MAX_REQUEST_BYTES
from wherryd.runtime.zygoteprocess import ZygoteProcess

#: When a process is killed, this many containers die with it at most.
CONTAINERS_EACH: Final = 8
_AT_WORK: Final = 2 * (os.cpu_count() or 1)
_PAUSE_S: Final = 0.002


class MonitorHost:
    """One process, as far as this daemon asks it for containers. `close` lets it end when it has none."""

    def __init__(self, control: socket.socket, *, is_zygote: bool = False) -> None:
        control.setblocking(False)
        self.is_zygote = is_zygote
        self._control = control
        self._lines: list[MonitorLine] = []
        #: Containers it is bringing up.
        self.busy = 0

    @property
    def containers(self) -> int:
        self._lines = [line for line in self._lines if not line.is_lost]
        return len(self._lines) + self.busy

    @property
    def is_alive(self) -> bool:
        """It never says anything on this socket: what can be read is its end, or why it never began."""
        return self._said() is None

    @property
    def last_words(self) -> str:
        """Why it could not be forked, if that is so."""
        return (self._said() or b"").decode()

    def _said(self) -> bytes | None:
        try:
            return self._control.recv(1024, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    async def request(self, payload: bytes) -> socket.socket:
        """Has a container created; our end of the connection to its monitor. Raises ConnectionError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                while True:
                    try:
                        socket.send_fds(self._control, [payload], [theirs.fileno()])
                        break
                    except BlockingIOError:
                        await asyncio.sleep(_PAUSE_S)  # its queue is full
        except BaseException:
            ours.close()
            raise
        return ours

    def keep(self, line: MonitorLine) -> None:
        """A container of it, as long as the line is not lost."""
        self._lines.append(line)

    def close(self) -> None:
        self._control.close()


class MonitorPool:
    def __init__(self, zygote: ZygoteProcess) -> None:
        self._zygote = zygote
        self._hosts: list[MonitorHost] = []

    async def choose(self) -> MonitorHost:
        """The process to ask for a container: at rest if possible. Raises RuntimeFault."""
        self._forget_dead()
        free = [host for host in self._hosts if host.containers < CONTAINERS_EACH]
        free.sort(key=lambda host: (host.busy, -host.containers))
        at_work = sum(1 for host in self._hosts if host.busy)
        if free and (not free[0].busy or at_work >= _AT_WORK):
            return free[0]
        control = await self._zygote.itself()
        is_zygote = control is not None
        host = MonitorHost(control or await self._zygote.fork(), is_zygote=is_zygote)
        self._hosts.append(host)
        return host

    def _forget_dead(self) -> None:
        for host in [host for host in self._hosts if not host.is_alive]:
            self._hosts.remove(host)
            host.close()

    def trim(self) -> None:
        """Lets all but one of the processes without a container go; the zygote stays in any case."""
        idle = [host for host in self._hosts if not host.containers]
        idle.sort(key=lambda host: not host.is_zygote)
        for host in idle[1:]:
            self._hosts.remove(host)
            host.close()

    @property
    def zygote_is_needed(self) -> bool:
        """Whether the zygote has some, and lives on for them."""
        return any(host.containers for host in self._hosts if host.is_zygote)

    def close(self) -> None:
        """Containers run on. Done twice is fine."""
        hosts, self._hosts = self._hosts, []
        for host in hosts:
            host.close()


def check_size(payload: bytes) -> None:
    """Raises RuntimeFault for what does not fit into a packet."""
    if len(payload) > MAX_REQUEST_BYTES:
        raise RuntimeFault(f"the request of {len(payload)} bytes is too large: use fewer or shorter mounts")
