"""The agent's process: dials the guest, serves it locally, dials again when the connection is lost, and
ends with the VM or when it is asked to.

What a client sees when things go wrong: while the connection is down, the local socket answers at once
with HTTP 503 and a sentence, and published ports hang up; nothing waits for a guest that may not come back.
"""

import asyncio
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from wherry.agent.boot import GuestGone, check_on, learn_host_key
from wherry.agent.bridge import Bridge
from wherry.agent.control import ControlProtocol
from wherry.agent.datagrams import DatagramForward, open_frames
from wherry.agent.events import PHASES, Event, EventLog
from wherry.agent.forwards import Forwards
from wherry.agent.ports import Forward, Key
from wherry.agent.pulse import Pulse, Reading
from wherry.agent.watch import Watcher
from wherry.errors import TunnelProblem, WherryError
from wherry.host import LocalServer, serve_local
from wherry.machine.guard import held
from wherry.machine.record import write_json, write_text
from wherry.machine.store import Machine
from wherry.tunnel.dial import SshTarget, Tunnel, dial
from wherry.tunnel.transport import TunnelChannel
from wherrywire.version import __version__

SSH_USER = "wherry"
#: Between two attempts to dial.
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
#: Channels that are being opened at the same time; each costs a thread until the guest has answered.
OPENERS = 16
JOIN_SECONDS = 5.0


class StopAsked(Exception):  # noqa: N818 - how the agent ends, not an error
    pass


class Agent:
    """One machine's agent. `run` returns when it has ended and cleaned up."""

    def __init__(self, machine: Machine, *, resumed: bool) -> None:
        self._machine = machine
        self._resumed = resumed
        self._log = EventLog(machine.files.events)
        self._phase = Event.STARTING
        self._tunnel: Tunnel | None = None
        self._socket: LocalServer | None = None
        self._living: set[Bridge] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._openers = ThreadPoolExecutor(OPENERS, thread_name_prefix="open")

    async def run(self) -> None:
        """Holds the agent lock throughout; raises MachineProblem at once when another agent has it."""
        files = self._machine.files
        busy = f'an agent for machine "{self._machine.name}" runs already'
        with held(files.agent_lock, wait_seconds=2.0, busy=busy), ExitStack() as closing:
            self._loop = asyncio.get_running_loop()
            self._stop = asyncio.Event()
            self._forwards = Forwards(self._stream_factory, self._datagram_factory, self._emit)
            closing.callback(self._openers.shutdown, wait=False, cancel_futures=True)
            closing.callback(files.agent_state.unlink, missing_ok=True)
            write_json(files.agent_state, self._describe())
            control = await serve_local(
                files.control, files.control_pipe, lambda: ControlProtocol(self._answer)
            )
            closing.callback(control.close)
            closing.callback(self._hang_up)
            self._emit(Event.STARTING, resumed=self._resumed)
            reason, asked = "an error of its own; see agent.log", False
            try:
                await self._serve()
            except StopAsked:
                reason, asked = "asked to", True
            except GuestGone as gone:
                reason = str(gone)
            except WherryError as exc:
                reason = str(exc)
            finally:
                self._hang_up()
                self._emit(Event.STOPPED, reason=reason, asked=asked)

    async def _serve(self) -> None:
        host_key = await learn_host_key(
            self._machine, resumed=self._resumed, emit=self._emit, pause=self._pause
        )
        endpoint = await asyncio.to_thread(self._machine.provider.ssh_endpoint)
        target = SshTarget(
            host=endpoint.host,
            port=endpoint.port,
            user=SSH_USER,
            private_key=self._machine.files.private_key,
            host_key=host_key,
        )
        while True:
            tunnel = await self._dial(target)
            try:
                self._note_connected(tunnel, target)
                await self._use(tunnel)
            finally:
                self._tunnel = None
                tunnel.close()
            self._degraded("the connection to the guest was lost")
            await check_on(self._machine)

    async def _dial(self, target: SshTarget) -> Tunnel:
        """Until it works. Raises GuestGone or StopAsked."""
        attempts = 0
        while True:
            try:
                return await asyncio.to_thread(dial, target)
            except TunnelProblem as exc:
                self._degraded(str(exc))
            await check_on(self._machine)
            await self._pause(RETRY_SECONDS[min(attempts, len(RETRY_SECONDS) - 1)])
            attempts += 1

    async def _use(self, tunnel: Tunnel) -> None:
        """Until the tunnel is lost. Raises StopAsked."""
        self._tunnel = tunnel
        lost = asyncio.Event()
        pulse = Pulse(
            tunnel,
            on_lost=lambda: self._post(lost.set),
            stepped=lambda reading: self._post(lambda: self._note_clock(reading)),
            failed=lambda problem: print(f"clock: {problem}", flush=True),  # noqa: T201 - agent.log
        )
        watcher = Watcher(tunnel, self)
        pulse.start()
        watcher.start()
        stop = asyncio.ensure_future(self._stop.wait())
        gone = asyncio.ensure_future(lost.wait())
        try:
            await asyncio.wait({stop, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            gone.cancel()
            self._tunnel = None
            watcher.stop()
            await asyncio.to_thread(tunnel.close)
            await asyncio.to_thread(watcher.join, JOIN_SECONDS)
            await asyncio.to_thread(pulse.join, JOIN_SECONDS)
        if self._stop.is_set():
            raise StopAsked

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise StopAsked

    # --- watch.Listener: called from the watcher's thread ---

    def engine_answers(self, forwards: dict[Key, Forward]) -> None:
        self._post(lambda: self._start_task(self._note_running(forwards)))

    def engine_lost(self, reason: str) -> None:
        self._post(lambda: self._degraded(reason))

    def ports_wanted(self, forwards: dict[Key, Forward]) -> None:
        self._post(lambda: self._start_task(self._forwards.reconcile(forwards)))

    def container_ended(self, container_id: str) -> None:
        self._post(lambda: self._forwards.close_container(container_id))

    def _post(self, call: Callable[[], Any]) -> None:
        """From another thread to the loop. A loop that has ended needs no more news."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    def _start_task(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._tasks.discard)

    # --- what changed ---

    def _note_connected(self, tunnel: Tunnel, target: SshTarget) -> None:
        line = f"[{target.host}]:{target.port} {tunnel.host_key_line}\n"
        write_text(self._machine.files.known_hosts, line)
        self._emit(Event.CONNECTED, cipher=tunnel.cipher)

    async def _note_running(self, forwards: dict[Key, Forward]) -> None:
        files = self._machine.files
        if self._socket is None:
            self._socket = await serve_local(files.socket, files.pipe, self._engine_bridge)
        await self._forwards.reconcile(forwards)
        if self._phase is not Event.RUNNING:
            self._emit(Event.RUNNING, endpoint=files.endpoint)

    def _degraded(self, reason: str) -> None:
        """Only a machine that has been running can degrade; one that starts is still starting."""
        print(f"degraded: {reason}", flush=True)  # noqa: T201 - agent.log
        if self._phase is Event.RUNNING:
            self._emit(Event.DEGRADED, reason=reason)

    def _note_clock(self, reading: Reading) -> None:
        self._emit(Event.CLOCK_STEPPED, offset_seconds=round(reading.offset, 3))

    def _emit(self, event: Event, **fields: Any) -> None:
        if event in PHASES:
            self._phase = event
        self._log.write(event, **fields)

    # --- what is served ---

    def _engine_bridge(self) -> Bridge:
        return Bridge(self._open_engine, self._refusal, threads=self._openers, living=self._living)

    def _stream_factory(self, forward: Forward) -> Callable[[], Bridge]:
        def opener() -> TunnelChannel:
            return self._living_tunnel().open_tcp(forward.port, host=forward.guest_host)

        return lambda: Bridge(opener, lambda _: b"", threads=self._openers, living=self._living)

    def _datagram_factory(self, forward: Forward) -> Callable[[], DatagramForward]:
        def opener() -> TunnelChannel:
            channel = self._living_tunnel().open_engine()
            open_frames(channel, forward.guest_host, forward.port)
            return channel

        return lambda: DatagramForward(opener, threads=self._openers)

    def _open_engine(self) -> TunnelChannel:
        return self._living_tunnel().open_engine()

    def _living_tunnel(self) -> Tunnel:
        tunnel = self._tunnel
        if tunnel is None:
            raise TunnelProblem("the connection to the guest is down and being made again")
        return tunnel

    def _refusal(self, problem: TunnelProblem) -> bytes:
        """What an HTTP client reads instead of an answer of the engine."""
        name = self._machine.name
        option = "" if name == "default" else f" --name {name}"
        text = f'machine "{name}" does not answer: {problem}; see `wherry machine status{option}`'
        body = json.dumps({"message": text}).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """See control.py."""
        what = request.get("do")
        if what == "stop":
            self._stop.set()
            return {"ok": True}
        if what == "status":
            return {"ok": True, **self._describe()}
        return {"ok": False, "error": f"cannot do {what!r}"}

    def _describe(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "pid": os.getpid(),
            "version": __version__,
            "phase": self._phase,
            "endpoint": self._machine.files.endpoint,
            "ports": self._forwards.describe(),
            "connections": len(self._living),
            "threads": threading.active_count(),
        }

    def _hang_up(self) -> None:
        """Closes all that is served. Doing it twice is fine."""
        self._forwards.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for bridge in list(self._living):
            bridge.abort()


def main(machine: Machine, *, resumed: bool) -> None:
    """The process's whole life."""
    asyncio.run(Agent(machine, resumed=resumed).run())
