"""Runs the health checks of running containers: one task for each, a probe at a time, through exec.

A probe is an exec like any other: its events are seen, and its process is ended when it takes too long.
The health stands in the container's record, so it lasts when the engine is restarted.
"""

import asyncio
import contextlib
import logging
import signal
import time

from wherryd import clock
from wherryd.containers import health
from wherryd.containers.deps import Deps
from wherryd.containers.execs import Exec, ExecService
from wherryd.containers.health import MAX_OUTPUT_BYTES, HealthCheck, Probe
from wherryd.containers.state import Status
from wherryd.containers.store import Container
from wherryd.errors import EngineError
from wherryd.runtime.client import Stream
from wherrywire import rawstream

log = logging.getLogger(__name__)

#: After SIGTERM, for a probe that took too long.
_GRACE_SECONDS = 1.0
_BLOCK = 16 * 1024


class Prober:
    def __init__(self, deps: Deps, execs: ExecService) -> None:
        self._deps = deps
        self._execs = execs

    def begin(self, container: Container) -> None:
        """Call when it runs, with the health in its record. Begun twice is begun anew."""
        self.end(container)
        check = health.check_of(container.record.config)
        if check is not None and container.record.health is not None:
            container.prober = asyncio.create_task(self._probe_for_ever(container, check))

    def end(self, container: Container) -> None:
        """A probe under way is given up. Done twice is fine."""
        if container.prober is not None:
            container.prober.cancel()
            container.prober = None

    async def _probe_for_ever(self, container: Container, check: HealthCheck) -> None:
        started_at = clock.to_nanoseconds(container.record.started_at)
        while True:
            assert container.record.health is not None, "begin checks"  # noqa: S101
            lived = (time.time_ns() - started_at) / 1e9
            await asyncio.sleep(check.pause(lived, container.record.health["Status"]))
            if container.record.status is Status.PAUSED:
                continue
            self._enter(container, await self._probe(container, check), check, started_at)

    def _enter(self, container: Container, probe: Probe, check: HealthCheck, started_at: int) -> None:
        before = container.record.health
        if before is None or container.record.status is not Status.RUNNING:
            return
        now = health.after(before, probe, check, started_at)
        record = self._deps.store.update(container, health=now)
        if now["Status"] != before["Status"]:
            self._deps.publish(record, f"health_status: {now['Status']}")

    async def _probe(self, container: Container, check: HealthCheck) -> Probe:
        start = time.time_ns()
        output = _Output()
        code = -1
        try:
            code = await self._run(container, check, output)
        except TimeoutError:
            output.text = f"Health check exceeded timeout ({_duration(check.timeout)}): {output.text}"
        except EngineError as exc:
            output.text = str(exc)
        return Probe(start=start, end=time.time_ns(), exit_code=code, output=output.text)

    async def _run(self, container: Container, check: HealthCheck, output: "_Output") -> int:
        """Its exit code. Raises TimeoutError with its process ended, EngineError."""
        wish = {"Cmd": list(check.command), "AttachStdout": True, "AttachStderr": True}
        execution = self._execs.create(container, wish)
        try:
            await self._execs.prepare(execution, None)
            stream = await self._execs.attach(execution)
            try:
                await self._execs.start(execution)
                async with asyncio.timeout(check.timeout):
                    await output.read(stream)
                    return await self._execs.wait(execution)
            except (TimeoutError, asyncio.CancelledError):
                await self._put_down(execution)
                raise
            finally:
                stream.close()
        finally:
            self._execs.drop(execution)

    async def _put_down(self, execution: Exec) -> None:
        with contextlib.suppress(EngineError):
            await self._execs.signal(execution, signal.SIGTERM)
            try:
                async with asyncio.timeout(_GRACE_SECONDS):
                    await self._execs.wait(execution)
            except TimeoutError:
                await self._execs.signal(execution, signal.SIGKILL)
                await self._execs.wait(execution)


class _Output:
    """The beginning of what a probe prints, both streams as they come."""

    def __init__(self) -> None:
        self.text = ""
        self._kept = bytearray()

    async def read(self, stream: Stream) -> None:
        """Up to its end; what is too much is read and dropped."""
        decoder = rawstream.Decoder()
        while block := await stream.reader.read(_BLOCK):
            for frame in decoder.feed(block):
                self._kept += frame.payload[: MAX_OUTPUT_BYTES + 1 - len(self._kept)]
            self._show()

    def _show(self) -> None:
        cut = bytes(self._kept[:MAX_OUTPUT_BYTES]).decode("utf-8", "replace")
        self.text = f"{cut}..." if len(self._kept) > MAX_OUTPUT_BYTES else cut


def _duration(seconds: float) -> str:
    """As Go prints it, for the seconds and milliseconds that come up: 2s, 500ms, 1m30s."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
