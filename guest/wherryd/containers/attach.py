"""Attachments: a client's connection to a container's streams, also before there is a process.

A client attaches, waits for the exit, and only then starts the container (docker run does). So an
attachment to a container that does not run is kept, and is connected between the moment its process
stands ready and the moment its gate opens: not a byte is lost, however short it lives.
"""

import asyncio
from dataclasses import dataclass

from wherryd.containers.store import Container
from wherryd.errors import Conflict, InvalidParameter
from wherryd.runtime.client import Monitor, Stream

MAX_PENDING = 64
DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachWish:
    stdin: bool
    stdout: bool
    stderr: bool


class Attachment:
    """`ready` gives the stream, or None when the container will not start any more."""

    def __init__(self, container: Container, wish: AttachWish) -> None:
        self.container = container
        self.wish = wish
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[Stream | None] = loop.create_future()
        #: Resolved by `close`: the client has everything, the monitor need not wait for it.
        self.drained: asyncio.Future[None] = loop.create_future()

    async def connect(self, monitor: Monitor) -> None:
        """Opens the stream. The container's clean-up then waits for `close`."""
        if self.ready.done():
            return
        stream = await monitor.attach(stdin=self.wish.stdin, stdout=self.wish.stdout, stderr=self.wish.stderr)
        if self.ready.done():
            stream.close()
            return
        self.container.draining.add(self.drained)
        self.ready.set_result(stream)

    def give_up(self) -> None:
        """The container will not run: the client's connection ends."""
        if not self.ready.done():
            self.ready.set_result(None)

    def close(self) -> None:
        """Forgets the attachment; the process runs on. May be called twice."""
        if self in self.container.pending:
            self.container.pending.remove(self)
        if self.ready.done() and not self.ready.cancelled():
            stream = self.ready.result()
            if stream is not None:
                stream.close()
        else:
            self.ready.cancel()
        self.container.draining.discard(self.drained)
        if not self.drained.done():
            self.drained.set_result(None)


async def attach(container: Container, wish: AttachWish) -> Attachment:
    """Raises Conflict for a paused or restarting container, as dockerd does."""
    name, record = container.record.name, container.record
    attachment = Attachment(container, wish)
    # No await between the check and the entry: a start in progress connects whoever is in `pending`.
    if record.status in ("paused", "restarting"):
        what = (
            "unpause the container before attach"
            if record.status == "paused"
            else "wait until the container is running"
        )
        raise Conflict(f"container {name} is {record.status}, {what}")
    if record.status in ("removing", "dead"):
        raise Conflict(f"container {name} is {record.status}")
    if record.alive and container.monitor is not None:
        await attachment.connect(container.monitor)
        return attachment
    if len(container.pending) >= MAX_PENDING:
        raise Conflict(f"container {name} has {MAX_PENDING} attached clients already")
    container.pending.append(attachment)
    return attachment


def parse_detach_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` -> 0x10 0x11; single characters stand for themselves. Raises InvalidParameter."""
    keys = bytearray()
    for word in (text or DEFAULT_DETACH_KEYS).split(","):
        if len(word) == 1 and word.isascii():
            keys += word.encode()
        elif word.lower().startswith("ctrl-") and len(word) == 6 and "@" <= word[5].upper() <= "_":
            keys.append(ord(word[5].upper()) & 0x1F)
        else:
            raise InvalidParameter(f"Unknown character: '{word}' in detach keys (hint: ctrl-p,ctrl-q)")
    if len(keys) > 16:
        raise InvalidParameter("detach keys: more than 16 keys")
    return bytes(keys)


class DetachKeys:
    """Finds the detach sequence in what the user types. Bytes in, bytes to forward out."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0
        self.detached = False

    def feed(self, data: bytes) -> bytes:
        """What is to be forwarded. A begun sequence is held back until it is decided."""
        forward = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self.detached = True
                    break
                continue
            forward += self._keys[: self._matched]
            self._matched = 0
            if byte == self._keys[0]:
                self._matched = 1
                if self._matched == len(self._keys):
                    self.detached = True
                    break
            else:
                forward.append(byte)
        return bytes(forward)
