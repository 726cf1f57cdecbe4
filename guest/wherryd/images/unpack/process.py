"""Starts the unpacking child, feeds it, and does the one thing it may not do itself.

A fresh interpreter and not a fork: the engine has threads. It starts with -I -S and the engine's own
module path, so it costs a few tens of milliseconds and reads no site packages' start-up files.
"""

import asyncio
import functools
import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from wherryd.errors import EngineError, InvalidParameter, SystemFault
from wherryd.images.unpack.order import Limits, Order
from wherryd.images.unpack.pipe import PipeWriter
from wherryd.snapshots.protocol import UnpackTarget, Whiteouts

_START = """
import sys
sys.path[:] = sys.argv.pop(1).split(":")
from wherryd.images.unpack.child import main
main()
"""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """diff_id: digest of the uncompressed archive. tar_bytes: its length. size_bytes: of all its files.
    root_entry: it has an entry for the root directory itself."""

    diff_id: str
    tar_bytes: int
    size_bytes: int
    entries: int
    root_entry: bool
    skipped_xattrs: tuple[str, ...]


class Unpacking:
    """One layer under way. `start`, `feed` until the end, then `finish`; or `abort`, which may come twice."""

    def __init__(self, process: asyncio.subprocess.Process, pipe: PipeWriter, control: socket.socket) -> None:
        #: Of the child, for logs and tests.
        self.pid = process.pid
        self._process = process
        self._pipe = pipe
        #: Set when the child wants no more: behind the end marker of an archive that is not compressed, and
        #: when it has given up. `finish` then tells how it went.
        self.ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        told = functools.partial(loop.call_soon_threadsafe, self.ended.set)
        self._answer = asyncio.ensure_future(asyncio.to_thread(_serve, control, told))
        self._answer.add_done_callback(lambda _: self.ended.set())

    @classmethod
    async def start(cls, target: UnpackTarget, recipe_fd: int, limits: Limits | None = None) -> "Unpacking":
        """recipe_fd stays the caller's."""
        limits = limits or Limits()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reading, writing = os.pipe()
        order = Order(
            directory=str(target.directory),
            overlay=target.whiteouts is Whiteouts.OVERLAY,
            control=theirs.fileno(),
            recipe=recipe_fd,
            max_entries=limits.entries,
            max_bytes=limits.bytes,
            ratio=(limits.ratio.times, limits.ratio.from_bytes),
        )
        path = ":".join(entry for entry in sys.path if entry)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", _START, path),
                json.dumps(asdict(order)),
                stdin=reading,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), recipe_fd),
                env={"LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            os.close(writing)
            raise
        finally:
            theirs.close()
            os.close(reading)
        return cls(process, PipeWriter(writing), ours)

    async def feed(self, data: bytes | memoryview) -> None:
        """Waits while the child is behind. Raises what `finish` raises when the child gave up."""
        try:
            await self._pipe.write(data)
        except BrokenPipeError:
            await self.finish()
            raise SystemFault("the unpacker stopped reading before the end of the archive") from None

    async def finish(self) -> Unpacked:
        """Says that the archive is complete, and waits. Raises InvalidParameter, SystemFault."""
        self._pipe.close()
        # Shielded: a finish that is cancelled must leave the answer for `abort` to wait for.
        answer = await asyncio.shield(self._answer)
        status = await self._process.wait()
        if answer is None:
            raise SystemFault(
                f"the unpacker ended with status {status} and no result; see the engine's log and free memory"
            )
        if "error" in answer:
            raise _error(answer)
        return Unpacked(
            diff_id=answer["diff_id"],
            tar_bytes=answer["tar_bytes"],
            size_bytes=answer["size"],
            entries=answer["entries"],
            root_entry=answer["root_entry"],
            skipped_xattrs=tuple(answer["skipped_xattrs"]),
        )

    async def abort(self) -> None:
        """Ends the child, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
        self._pipe.close()
        await self._process.wait()
        await self._answer


def _error(answer: dict[str, Any]) -> EngineError:
    if answer["fault"] == "archive":
        return InvalidParameter(f"cannot unpack the archive: {answer['error']}")
    return SystemFault(f"cannot unpack the archive: {answer['error']}")


def _serve(control: socket.socket, at_end: Callable[[], object]) -> dict[str, Any] | None:
    """Marks directories until the result comes; None when the child ended without one. Closes the socket.

    at_end: called at the archive's end marker.
    """
    with control:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 128 * 1024, 1)
            try:
                for descriptor in descriptors:
                    os.setxattr(descriptor, "trusted.overlay.opaque", b"y")
            except OSError as exc:
                return {"error": f"cannot mark a directory opaque: {exc.strerror}", "fault": "system"}
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            if not message:
                return None
            if message == b"e":
                at_end()
            elif message != b"o":
                return json.loads(message)  # type: ignore[no-any-return]
