"""Published ports: listeners on 127.0.0.1 that come and go with the containers."""

import asyncio
import errno
from collections.abc import Callable, Mapping
from typing import Any

from wherry.agent.events import Event
from wherry.agent.ports import Forward

Emit = Callable[..., None]
ProtocolFactory = Callable[[Forward], Callable[[], asyncio.Protocol]]

HOST = "127.0.0.1"


class Forwards:
    """factory: forward -> what serves an accepted connection. emit: writes an event.

    Used on the event loop only. Connections that stand outlive their listener, as docker's do.
    """

    def __init__(self, factory: ProtocolFactory, emit: Emit) -> None:
        self._factory = factory
        self._emit = emit
        self._open: dict[int, tuple[Forward, asyncio.Server]] = {}
        self._failed: dict[int, str] = {}
        self._lock = asyncio.Lock()

    async def reconcile(self, wanted: Mapping[int, Forward]) -> None:
        """Opens and closes listeners until they are what is wanted. A port that cannot be had is an
        event, said once, and is tried again at the next call.
        """
        async with self._lock:
            for port, (forward, _) in list(self._open.items()):
                if wanted.get(port) != forward:
                    self._close(port)
            for port in [port for port in self._failed if port not in wanted]:
                del self._failed[port]
            for port, forward in wanted.items():
                if port not in self._open:
                    await self._listen(forward)

    def close_container(self, container_id: str) -> None:
        """Closes a container's ports at once, without asking what else is wanted."""
        for port, (forward, _) in list(self._open.items()):
            if forward.container_id == container_id:
                self._close(port)

    def close(self) -> None:
        """Closes all. Closing twice is fine."""
        for port in list(self._open):
            self._close(port)

    def describe(self) -> list[dict[str, Any]]:
        """The forwards and the ports that could not be had, for `machine status`."""
        living = [
            {"port": port, "container": forward.container_id, "state": "open"}
            for port, (forward, _) in sorted(self._open.items())
        ]
        return living + [
            {"port": port, "state": "failed", "reason": reason}
            for port, reason in sorted(self._failed.items())
        ]

    async def _listen(self, forward: Forward) -> None:
        port = forward.port
        try:
            server = await asyncio.get_running_loop().create_server(
                self._factory(forward), HOST, port, backlog=512
            )
        except OSError as exc:
            reason = _reason(exc, port)
            if self._failed.get(port) != reason:
                self._failed[port] = reason
                self._emit(Event.PORT_FAILED, port=port, container=forward.container_id, reason=reason)
            return
        self._failed.pop(port, None)
        self._open[port] = (forward, server)
        self._emit(Event.PORT_FORWARDED, port=port, container=forward.container_id)

    def _close(self, port: int) -> None:
        forward, server = self._open.pop(port)
        server.close()
        self._emit(Event.PORT_CLOSED, port=port, container=forward.container_id)


def _reason(exc: OSError, port: int) -> str:
    if exc.errno == errno.EADDRINUSE:
        return f"another program on this host listens on port {port}; stop it, or publish another port"
    if exc.errno == errno.EACCES:
        return f"this user may not listen on port {port}; publish a port from 1024 up"
    return exc.strerror or str(exc)
