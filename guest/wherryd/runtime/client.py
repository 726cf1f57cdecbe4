"""The runtime's door for the engine: asyncio on this side, a zygote and monitors behind it.

    client = RuntimeClient(exec_root=Path("/run/wherry"))
    await client.open()
    monitor = await client.create(container_id, bundle=..., rootfs=mounts, io=ContainerIo(...))
    stream = await monitor.attach(stdin=False, stdout=True, stderr=True)   # before start: nothing is lost
    await monitor.start()
    status = await monitor.wait()
    await monitor.delete()

Errors of the container's side arrive with the class they were raised with (InvalidParameter, Conflict,
NotFound, NotSupported, Unavailable); all others as RuntimeFault with Docker's exit code.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wherryd import later
from wherryd.cgroups.stats import CgroupStats
from wherryd.errors import RuntimeFault
from wherryd.runtime.line import ConnectionLostError, MonitorLine
from wherryd.runtime.messages import error_from
from wherryd.runtime.monitorpool import MonitorHost, MonitorPool, check_size
from wherryd.runtime.request import CreateRequest
from wherryd.runtime.state import StateDir
from wherryd.runtime.types import ContainerIo, ExitStatus
from wherryd.runtime.zygoteprocess import ZygoteProcess
from wherryd.spec.mount import Mount

if TYPE_CHECKING:
    from wherryd.runtime import container
else:
    container = later.module("wherryd.runtime.container")

__all__ = ["ContainerIo", "ExecSession", "ExitStatus", "Monitor", "RuntimeClient", "Stream"]


class Stream:
    """A connection to the monitor that carries a process's output and input.

    Without a terminal the output arrives in Docker's 8-byte frames (wherrywire.rawstream), with one as
    plain bytes; it ends with EOF once the process is gone and all output was sent. Input is written
    plain; `writer.write_eof()` is the half-close that ends the process's stdin, if it is to end with it.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def close(self) -> None:
        """Detaches; the process runs on. May be called twice."""
        self.writer.close()


class ExecSession:
    """A further process in a container: created, perhaps attached, then started."""

    def __init__(self, exec_id: str, monitor: "Monitor") -> None:
        self.exec_id = exec_id
        self._monitor = monitor

    async def attach(self, *, stdin: bool, stdout: bool, stderr: bool) -> Stream:
        """Best before start: nothing is lost then."""
        return await self._monitor.attach_to(self.exec_id, stdin=stdin, stdout=stdout, stderr=stderr)

    async def start(self) -> int:
        """Starts it; its pid as the engine sees it. Raises RuntimeFault with exit_code 126 or 127."""
        return int((await self._monitor.call("exec_start", exec_id=self.exec_id))["pid"])

    async def kill(self, signum: int) -> None:
        """Signals its process alone. Raises Conflict when it does not run."""
        await self._monitor.call("kill", exec_id=self.exec_id, signum=signum)

    async def resize(self, height: int, width: int) -> None:
        """In characters; before start it is kept. Raises Conflict without a terminal."""
        await self._monitor.call("resize", exec_id=self.exec_id, height=height, width=width)

    async def wait(self) -> ExitStatus:
        """Also for a session that ended before; a start that failed has the exit code of its error."""
        try:
            return ExitStatus(**await self._monitor.call("wait", exec_id=self.exec_id))
        except ConnectionLostError:
            lost = await self._monitor.wait()
            return ExitStatus(lost.exit_code, lost.exited_at, False, "its container has gone")


class Monitor:
    """One container: its init process and the monitor that owns it."""

    def __init__(self, directory: StateDir, line: MonitorLine, pid: int, started_at: str = "") -> None:
        self.container_id = directory.container_id
        self.pid = pid
        #: When `create` has started it too: RFC 3339.
        self.started_at = started_at
        self._directory = directory
        self._line = line
        self._status: ExitStatus | None = None
        self._writing = asyncio.Lock()
        self.on_deleted: Callable[[], None] = lambda: None

    @property
    def is_open(self) -> bool:
        """Whether the connection to the monitor is there."""
        return not self._line.is_lost

    async def call(self, op: str, **arguments: Any) -> dict[str, Any]:
        """One request to the monitor. Raises what it answers, ConnectionLostError when it has gone."""
        return await self._line.call(op, **arguments)

    async def start(self) -> str:
        """Opens the start gate; when it started, RFC 3339. Raises RuntimeFault with exit_code 126 or 127."""
        return str((await self.call("start"))["started_at"])

    async def wait(self) -> ExitStatus:
        """How it ended, also if it did before. It is on disk already when this returns."""
        if self._status is None:
            try:
                self._status = ExitStatus(**await self.call("wait"))
            except ConnectionLostError:
                # The monitor was killed, and init with it. Or it was deleted: then there is no status.
                # Whoever waits for an exec of it comes here, too: only one of them writes.
                async with self._writing:
                    if self._status is None:
                        self._status = await asyncio.to_thread(container.lost, self._directory)
                if self._status is None:
                    raise
        return self._status

    async def kill(self, signum: int, *, everyone: bool = False) -> None:
        """Signals init, or every process of the container. Raises Conflict when it is not running."""
        await self.call("kill", signum=signum, everyone=everyone)

    async def pause(self) -> None:
        """Returns when all its processes are frozen. Raises Conflict."""
        await self.call("pause")

    async def resume(self) -> None:
        await self.call("resume")

    async def resize(self, height: int, width: int) -> None:
        """In characters, also before start. Raises Conflict without a terminal."""
        await self.call("resize", height=height, width=width)

    async def update(self, resources: Mapping[str, Any]) -> None:
        """resources: OCI linux.resources; what is not in it stays."""
        await self.call("update", resources=dict(resources))

    async def stats(self) -> CgroupStats:
        return CgroupStats.from_dict(await self.call("stats"))

    async def pids(self) -> list[int]:
        """All its processes, as the engine sees their numbers."""
        return list((await self.call("pids"))["pids"])

    async def attach(self, *, stdin: bool, stdout: bool, stderr: bool) -> Stream:
        """All output from now on, then EOF. Before start: all output there will ever be."""
        return await self.attach_to(None, stdin=stdin, stdout=stdout, stderr=stderr)

    async def attach_to(self, exec_id: str | None, *, stdin: bool, stdout: bool, stderr: bool) -> Stream:
        connection = await asyncio.to_thread(self._directory.connect)
        if connection is None:
            raise ConnectionLostError("the container's monitor has gone")
        # The default limit: what a slow reader may hold back here is small, the monitor has the buffer.
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        request = {"id": 1, "op": "attach", "stdin": stdin, "stdout": stdout, "stderr": stderr}
        if exec_id is not None:
            request["exec_id"] = exec_id
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            line = await reader.readline()
            if not line:
                raise ConnectionLostError("the container's monitor has gone")
            answer = json.loads(line)
            if "error" in answer:
                raise error_from(answer["error"])
        except BaseException:
            writer.close()
            raise
        return Stream(reader, writer)

    async def exec_create(
        self,
        exec_id: str,
        *,
        process: Mapping[str, Any],
        open_stdin: bool,
        console_size: tuple[int, int] | None = None,
    ) -> ExecSession:
        """process: OCI `process` object. Raises Conflict when the container is not running."""
        await self.call(
            "exec_create",
            exec_id=exec_id,
            process=dict(process),
            open_stdin=open_stdin,
            console_size=console_size,
        )
        return ExecSession(exec_id, self)

    async def delete(self) -> None:
        """After exit, or before start: cgroup, state and monitor are gone when it returns. Idempotent.

        Raises Conflict while it runs.
        """
        try:
            await self.call("delete")
        except ConnectionLostError:
            await asyncio.to_thread(_clear, self._directory)
        await self._line.close()
        self.on_deleted()

    async def close(self) -> None:
        """Lets go of the connection; monitor and container live on. For a daemon that ends."""
        await self._line.close()


def _clear(directory: StateDir) -> None:
    if directory.exists():
        container.discard_stale(directory)


class RuntimeClient:
    """exec_root: a directory on a tmpfs that this engine has for itself."""

    def __init__(self, *, exec_root: Path) -> None:
        self._exec_root = exec_root.absolute()
        self._zygote = ZygoteProcess(self._exec_root)
        self._pool = MonitorPool(self._zygote)
        self._monitors: list[Monitor] = []

    async def open(self) -> None:
        """Starts the zygote; the first `create` waits until it is warm. Raises RuntimeFault."""
        self._zygote.start()

    async def close(self) -> None:
        """Ends the zygote unless it has containers: monitors and they live on. May be called twice."""
        lives_on = self._pool.zygote_is_needed
        self._pool.close()
        await self._zygote.stop(lives_on=lives_on)
        monitors, self._monitors = self._monitors, []
        for monitor in monitors:
            await monitor.close()

    async def create(
        self,
        container_id: str,
        *,
        bundle: Path,
        rootfs: Sequence[Mount],
        io: ContainerIo,
        start: bool = False,
        runtime: Sequence[str] = (),
    ) -> Monitor:
        """A container from bundle/config.json, up to its start gate (OCI "created"), or past it.

        rootfs: mounts applied on the config's root.path inside the container's own mount namespace;
        empty: that directory as it is. start: saves a round trip for one that nobody wants to attach to
        before; nothing is left of it when it cannot be started. runtime: the command of another OCI runtime
        that is to run it. Raises InvalidParameter, NotSupported (config
        asks for what this runtime cannot do), Conflict (the id is taken), RuntimeFault (126, 127: no such
        program).
        """
        directory = StateDir(self._exec_root, container_id)
        request = CreateRequest(
            container_id=container_id,
            exec_root=self._exec_root,
            bundle=bundle.absolute(),
            layers=tuple(rootfs),
            io=io,
            start=start,
            runtime=tuple(runtime),
        ).encode()
        check_size(request)
        while True:
            host = await self._pool.choose()
            try:
                line, answer = await self._ask(host, request)
            except (ConnectionError, ConnectionLostError):
                if host.last_words:
                    raise RuntimeFault(host.last_words) from None
                if directory.exists() or host.is_alive:
                    raise
                # Killed with the request in its queue: nothing was begun, so another may be asked.
                continue
            return self._keep(Monitor(directory, line, int(answer["pid"]), answer.get("started_at", "")))

    async def _ask(self, host: MonitorHost, request: bytes) -> tuple[MonitorLine, dict[str, Any]]:
        host.busy += 1
        try:
            line = await MonitorLine.over(await host.request(request))
            try:
                answer = await line.first_answer()
            except BaseException:
                await line.close()
                raise
            host.keep(line)
            return line, answer
        finally:
            host.busy -= 1

    def _keep(self, monitor: Monitor) -> Monitor:
        self._monitors = [each for each in self._monitors if each.is_open]
        self._monitors.append(monitor)
        monitor.on_deleted = self._pool.trim
        return monitor

    async def recover(self, container_id: str) -> Monitor | None:
        """The container's monitor, found again after a daemon restart.

        None when none is alive: then `last_exit` says how the container ended, or gives None if it was
        never created or has been deleted.
        """
        directory = StateDir(self._exec_root, container_id)
        connection = await asyncio.to_thread(directory.connect)
        if connection is None:
            await asyncio.to_thread(container.lost, directory)
            return None
        line = await MonitorLine.over(connection)
        try:
            answer = await line.call("hello")
        except ConnectionLostError:
            await line.close()
            await asyncio.to_thread(container.lost, directory)
            return None
        return self._keep(Monitor(directory, line, int(answer["pid"])))

    def last_exit(self, container_id: str) -> ExitStatus | None:
        """From disk, written by the monitor before anybody was told."""
        return StateDir(self._exec_root, container_id).read_exit()

    async def forget(self, container_id: str) -> None:
        """Clears what a container without a living monitor has left on disk and in cgroups.

        Raises Conflict when its monitor lives: recover it and delete it.
        """
        await asyncio.to_thread(_clear, StateDir(self._exec_root, container_id))
