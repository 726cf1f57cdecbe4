"""The runtime's door for the engine: asyncio on this side, a zygote and one monitor per container behind it.

client = RuntimeClient(exec_root=Path("/run/wherry"))
await client.open()
monitor = await client.create(container_id, bundle=..., rootfs=mounts, io=ContainerIo(...))
stream = await monitor.attach(stdin=False, stdout=True, stderr=True)   # before start: nothing is lost
await monitor.start()
status = await monitor.wait()
await monitor.delete()
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wherryd.cgroups.stats import CgroupStats
from wherryd.errors import RuntimeFault
from wherryd.runtime.types import ContainerIo, ExitStatus
from wherryd.spec.mount import Mount

__all__ = ["ContainerIo", "ExecSession", "ExitStatus", "Monitor", "RuntimeClient", "Stream"]

_LATER = "this build of the runtime cannot do that yet; update the checkout"


class Stream:
    """A connection to the monitor that carries a container's output and input.

    Without a terminal the output arrives in Docker's 8-byte frames (wherrywire.rawstream), with one as
    plain bytes; it ends with EOF once the process is gone and all output was sent. Input is written
    plain; `writer.write_eof()` is the half-close that ends the process's stdin.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def close(self) -> None:
        """Detaches; the process runs on. May be called twice."""
        self.writer.close()


class ExecSession:
    """A further process in a container: created, perhaps attached, then started."""

    exec_id: str

    async def attach(self, *, stdin: bool, stdout: bool, stderr: bool) -> Stream:
        raise RuntimeFault(_LATER)

    async def start(self) -> int:
        """Starts it; its pid as the engine sees it. Raises RuntimeFault with exit_code 126 or 127."""
        raise RuntimeFault(_LATER)

    async def resize(self, height: int, width: int) -> None:
        raise RuntimeFault(_LATER)

    async def wait(self) -> ExitStatus:
        raise RuntimeFault(_LATER)


class Monitor:
    """One container: its init process and the monitor that owns it."""

    container_id: str
    pid: int

    async def start(self) -> str:
        """Opens the start gate; when it started, RFC 3339. Raises RuntimeFault with exit_code 126 or 127."""
        raise RuntimeFault(_LATER)

    async def wait(self) -> ExitStatus:
        raise RuntimeFault(_LATER)

    async def kill(self, signum: int, *, everyone: bool = False) -> None:
        raise RuntimeFault(_LATER)

    async def pause(self) -> None:
        raise RuntimeFault(_LATER)

    async def resume(self) -> None:
        raise RuntimeFault(_LATER)

    async def resize(self, height: int, width: int) -> None:
        raise RuntimeFault(_LATER)

    async def update(self, resources: Mapping[str, Any]) -> None:
        raise RuntimeFault(_LATER)

    async def stats(self) -> CgroupStats:
        raise RuntimeFault(_LATER)

    async def pids(self) -> list[int]:
        raise RuntimeFault(_LATER)

    async def attach(self, *, stdin: bool, stdout: bool, stderr: bool) -> Stream:
        raise RuntimeFault(_LATER)

    async def exec_create(
        self,
        exec_id: str,
        *,
        process: Mapping[str, Any],
        open_stdin: bool,
        console_size: tuple[int, int] | None = None,
    ) -> ExecSession:
        raise RuntimeFault(_LATER)

    async def delete(self) -> None:
        raise RuntimeFault(_LATER)


class RuntimeClient:
    def __init__(self, *, exec_root: Path) -> None:
        self._exec_root = exec_root

    async def open(self) -> None:
        raise RuntimeFault(_LATER)

    async def close(self) -> None:
        """Ends the zygote; monitors and containers live on."""

    async def create(
        self, container_id: str, *, bundle: Path, rootfs: Sequence[Mount], io: ContainerIo
    ) -> Monitor:
        raise RuntimeFault(_LATER)

    async def recover(self, container_id: str) -> Monitor | None:
        raise RuntimeFault(_LATER)

    def last_exit(self, container_id: str) -> ExitStatus | None:
        raise RuntimeFault(_LATER)
