"""Bundles on a busybox root, and a client to run them: what the runtime's tests share.

Everything a rig makes is below one temporary folder and the cgroup /wherry-rig-<pid>; `end` removes it
also after a failure.
"""

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wherryd.cgroups import tree
from wherryd.cgroups.manager import layout
from wherryd.errors import EngineError
from wherryd.runtime.client import ContainerIo, ExitStatus, Monitor, RuntimeClient, Stream
from wherryd.runtime.container import lost
from wherryd.runtime.state import StateDir
from wherryd.spec import defaults
from wherryd.spec.mount import Mount
from wherrywire import rawstream

BUSYBOX = Path("/bin/busybox")
CGROUP = f"/wherry-rig-{os.getpid()}"
TIMEOUT_S = 60.0
_APPLETS = (
    "sh cat chmod dd echo env false grep head hostname id kill ls mkdir mknod mount ps pwd readlink sleep "
    "sort stty tail touch tr true tty umount uname unshare usleep wc yes"
)


def make_root(directory: Path) -> None:
    """A root file system of busybox, with a user and a group to be found by name."""
    for name in ("bin", "etc", "tmp", "home/my"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(BUSYBOX, directory / "bin/busybox")
    for applet in _APPLETS.split():
        (directory / "bin" / applet).symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nmy:x:101:102::/home/my:/bin/sh\n")
    (directory / "etc/group").write_text("root:x:0:\nmy:x:102:\nextra:x:200:my\n")
    (directory / "bin/notexec").write_text("#!/bin/sh\n")
    script = directory / "bin/nointerpreter"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)


def config(*args: str, **process: Any) -> dict[str, Any]:
    """What `docker run` would give without options. Change it before it goes into a bundle."""
    caps = list(defaults.CAPABILITIES)
    return {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "hostname": "box",
        "process": {
            "args": list(args),
            "env": [f"PATH={defaults.PATH}"],
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), caps),
            **process,
        },
        "mounts": defaults.mounts(),
        "linux": {
            "namespaces": [{"type": kind} for kind in defaults.NAMESPACES],
            "maskedPaths": list(defaults.MASKED_PATHS),
            "readonlyPaths": list(defaults.READONLY_PATHS),
            "resources": {"devices": list(defaults.DEVICE_RULES)},
            "cgroupsPath": CGROUP,
        },
    }


@dataclass(slots=True)
class Output:
    status: ExitStatus
    stdout: str
    stderr: str


@dataclass(slots=True)
class Rig:
    base: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="wherry-rt-")))
    numbers: int = 0
    monitors: list[Monitor] = field(default_factory=list)
    client: RuntimeClient = field(init=False)

    def __post_init__(self) -> None:
        make_root(self.base / "image")
        self.client = RuntimeClient(exec_root=self.exec_root)

    @property
    def exec_root(self) -> Path:
        return self.base / "run"

    def name(self) -> str:
        self.numbers += 1
        return f"c{self.numbers}"

    def bundle(self, name: str, document: dict[str, Any]) -> tuple[Path, tuple[Mount, ...]]:
        """A folder with config.json, and the overlay that makes its root."""
        bundle = self.base / name
        for part in ("rootfs", "upper", "work"):
            (bundle / part).mkdir(parents=True)
        document["linux"]["cgroupsPath"] = f"{CGROUP}/{name}"
        (bundle / "config.json").write_text(json.dumps(document))
        options = (f"lowerdir={self.base}/image", f"upperdir={bundle}/upper", f"workdir={bundle}/work")
        return bundle, (Mount("overlay", "overlay", "", options),)

    async def create(self, document: dict[str, Any], name: str = "", **io: Any) -> Monitor:
        name = name or self.name()
        bundle, layers = self.bundle(name, document)
        streams = ContainerIo(
            **{"terminal": False, "open_stdin": False, "stdin_once": False, "log_path": self.log(name)} | io
        )
        async with asyncio.timeout(TIMEOUT_S):
            monitor = await self.client.create(name, bundle=bundle, rootfs=layers, io=streams)
        self.monitors.append(monitor)
        return monitor

    def log(self, name: str) -> Path:
        return self.base / f"{name}.log"

    def records(self, name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.log(name).read_text().splitlines()]

    async def run(self, document: dict[str, Any], **io: Any) -> Output:
        """create, attach, start, read to the end, wait, delete."""
        monitor = await self.create(document, **io)
        stream = await monitor.attach(stdin=False, stdout=True, stderr=True)
        async with asyncio.timeout(TIMEOUT_S):
            await monitor.start()
            raw = await stream.reader.read()
            status = await monitor.wait()
        stream.close()
        await monitor.delete()
        if io.get("terminal"):
            return Output(status, raw.decode(), "")
        stdout, stderr = split(raw)
        return Output(status, stdout.decode(), stderr.decode())

    async def sh(self, script: str, **process: Any) -> Output:
        return await self.run(config("sh", "-c", script, **process))

    async def running(self, script: str = "sleep 1000", **process: Any) -> Monitor:
        monitor = await self.create(config("sh", "-c", script, **process))
        await monitor.start()
        return monitor

    async def end(self) -> None:
        """Nothing is left: no process, no cgroup, no file."""
        for monitor in self.monitors:
            try:
                await _end(monitor)
            except EngineError as error:
                print(f"clean-up of {monitor.container_id}: {error}")  # noqa: T201 - pytest shows it
        await self.client.close()
        folder = self.exec_root / "containers"
        for directory in folder.iterdir() if folder.is_dir() else ():
            lost(StateDir(self.exec_root, directory.name))
        for mount in dict.fromkeys(layout().mounts.values()):
            tree.remove(mount / CGROUP.lstrip("/"))
        shutil.rmtree(self.base)


async def _end(monitor: Monitor) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        if monitor.is_open:
            try:
                await monitor.kill(signal.SIGKILL, everyone=True)
                await monitor.wait()
            except EngineError:
                pass  # it has ended before
        await monitor.delete()


async def pids_of(monitor: Monitor, count: int) -> list[int]:
    """Its processes, once there are at least count of them."""
    async with asyncio.timeout(TIMEOUT_S):
        while len(pids := await monitor.pids()) < count:
            await asyncio.sleep(0.01)
    return pids


async def read_until(stream: Stream, wanted: bytes) -> bytes:
    """Raw bytes of the stream up to and with wanted."""
    async with asyncio.timeout(TIMEOUT_S):
        found = b""
        while wanted not in found:
            data = await stream.reader.read(65536)
            assert data, f"the stream ended before {wanted!r}: {found!r}"
            found += data
    return found


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that waits for whoever adopted it does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def plain_io() -> ContainerIo:
    """No terminal, no stdin, no log."""
    return ContainerIo(terminal=False, open_stdin=False, stdin_once=False, log_path=None)


def split(raw: bytes) -> tuple[bytes, bytes]:
    """(stdout, stderr) of a framed stream."""
    decoder = rawstream.Decoder()
    frames = decoder.feed(raw)
    assert decoder.at_boundary
    return tuple(  # type: ignore[return-value]
        b"".join(frame.payload for frame in frames if frame.stream == stream)
        for stream in (rawstream.StreamId.STDOUT, rawstream.StreamId.STDERR)
    )


def children_of_cgroup(name: str) -> Sequence[int]:
    mount = layout().mounts.get("pids") or next(iter(layout().mounts.values()))
    return tree.pids(mount / f"{CGROUP}/{name}".lstrip("/"))
