"""Follows the engine's events through the tunnel, and says what the ports should be.

Runs in a thread of its own per tunnel, since the stream blocks; it reports through a Listener whose
methods are called from that thread.
"""

import json
import threading
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import paramiko

from wherry.agent.ports import Forward, Key, asked_of, publishes_everywhere, wanted
from wherry.errors import TunnelProblem
from wherry.tunnel.dial import Tunnel
from wherry.tunnel.http import ask, get_json
from wherrywire import jsonlines

LIST_SECONDS = 30.0
#: Between two attempts while the engine does not answer.
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)

_EVENTS = "/events?" + urlencode({"filters": json.dumps({"type": ["container", "network"]})})
#: The actions after which other ports are open than before. Health checks' exec_* come every second.
_CHANGES = frozenset({"start", "die", "destroy", "rename"})
#: A running container's ports go with its last network and come with its first.
_NETWORK_CHANGES = frozenset({"connect", "disconnect"})
_ENDS = frozenset({"die", "destroy"})


class Listener(Protocol):
    def engine_answers(self, forwards: dict[Key, Forward]) -> None: ...
    def engine_lost(self, reason: str) -> None: ...
    def ports_wanted(self, forwards: dict[Key, Forward]) -> None: ...
    def container_ended(self, container_id: str) -> None: ...


class Watcher:
    """start() begins, stop() ends the thread; both return at once. It also ends when the tunnel does."""

    def __init__(self, tunnel: Tunnel, listener: Listener) -> None:
        self._tunnel = tunnel
        self._listener = listener
        self._stop = threading.Event()
        self._channels: list[paramiko.Channel] = []
        self._asked: dict[str, dict[tuple[str, str], str]] = {}
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        for channel in list(self._channels):
            channel.close()

    def join(self, timeout_seconds: float) -> None:
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set() and self._tunnel.alive:
            try:
                # Listed before the stream is asked for, so that the first answer is quick, and again
                # inside it, so that nothing that happened in between is missed.
                self._listener.engine_answers(self._list())
                failures = 0
                self._follow()
                reason = "the engine closed its stream of events"
            except (TunnelProblem, jsonlines.LineError) as exc:
                reason = str(exc)
            if self._stop.is_set() or not self._tunnel.alive:
                return
            self._listener.engine_lost(reason)
            self._stop.wait(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    def _list(self) -> dict[Key, Forward]:
        return wanted(self._containers(), self._asked)

    def _containers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = get_json(self._tunnel, "/containers/json", timeout_seconds=LIST_SECONDS)
        return found

    def _report(self) -> None:
        """On the loopback at once; wider, where a user asked for it, one more answer later."""
        containers = self._containers()
        self._listener.ports_wanted(wanted(containers, self._asked))
        if self._learn(containers):
            self._listener.ports_wanted(wanted(containers, self._asked))

    def _learn(self, containers: list[dict[str, Any]]) -> bool:
        """Looks containers up that it has not seen. Whether one of them asks for more than the loopback."""
        living = {str(container["Id"]) for container in containers}
        for gone in self._asked.keys() - living:
            del self._asked[gone]
        more = False
        for container in containers:
            container_id = str(container["Id"])
            if container_id in self._asked or not publishes_everywhere(container):
                continue
            target = f"/containers/{quote(container_id)}/json"
            try:
                whole = get_json(self._tunnel, target, timeout_seconds=LIST_SECONDS)
            except TunnelProblem:
                continue  # it has gone meanwhile; or the tunnel has, as the stream of events will tell
            self._asked[container_id] = asked_of(whole)
            more = more or bool(self._asked[container_id])
        return more

    def _follow(self) -> None:
        """Until the stream ends. Raises TunnelProblem when it breaks."""
        decoder = jsonlines.Decoder()
        with ask(self._tunnel, _EVENTS, timeout_seconds=None, channels=self._channels) as stream:
            self._report()
            while data := stream.read1(65536):
                events = decoder.feed(data)
                for event in events:
                    if _action(event) in _ENDS:
                        self._listener.container_ended(str(event["Actor"]["ID"]))
                if any(map(_changes_ports, events)):
                    self._report()


def _changes_ports(event: Any) -> bool:
    return _action(event) in _CHANGES or _action(event, "network") in _NETWORK_CHANGES


def _action(event: Any, kind: str = "container") -> str:
    """The event's action, "" for one of another kind. Source: Engine API, ``GET /events``."""
    if not isinstance(event, dict) or event.get("Type") != kind:
        return ""
    actor = event.get("Actor")
    return str(event.get("Action", "")) if isinstance(actor, dict) and "ID" in actor else ""
