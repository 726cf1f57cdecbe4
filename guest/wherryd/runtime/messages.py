"""What is said between client and monitor, and between a parent and the child it brings up.

Client and monitor: one JSON object per line on a unix stream socket.

    client -> monitor   {"id": 7, "op": "kill", ...arguments}
    monitor -> client   {"id": 7, "ok": {...}}  or  {"id": 7, "error": {"kind", "message", "exit_code"}}

Answers come in any order (`wait` is answered when the process has ended). After the answer to `attach`
the connection is no longer lines but the process's stream, in both directions.

Parent and child: one message per packet on a SOCK_SEQPACKET pair; the child's end closes at exec.

    parent (monitor)                        child (stage, then init)
      --- fork ----------------------------> namespaces, mounts
      --- CGROUP + its entrances ----------> joins the cgroup that was made meanwhile (init only)
      <-- FORKED pid                         only when a second fork was needed
      <-- TERMINAL + pty master              only with a terminal; the master travels as SCM_RIGHTS
      <-- ENVIRONMENT                        only with hooks: namespaces and mounts are there; wants them run
      --- HOOKED --------------------------> goes on, into the root
      <-- READY                              everything is set up; waits at the start gate
      --- START ---------------------------> exec
      <-- (end of file)                      exec succeeded: close-on-exec closed the child's end
      <-- FAILED message exit_code           instead of any of the child's messages
"""

import json
import socket
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from wherryd import errors
from wherryd.errors import EngineError, RuntimeFault

MAX_PACKET_BYTES: Final = 64 * 1024
#: In one packet: one for each hierarchy of cgroup v1 at most.
_MAX_FDS: Final = 16

# --- parent and child ---


class Step(StrEnum):
    CGROUP = "cgroup"
    FORKED = "forked"
    TERMINAL = "terminal"
    ENVIRONMENT = "environment"
    HOOKED = "hooked"
    READY = "ready"
    START = "start"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildMessage:
    step: Step
    pid: int = 0
    kind: str = ""
    message: str = ""
    exit_code: int = 125

    def raise_if_failed(self) -> None:
        if self.step is Step.FAILED:
            raise error_from(asdict(self))


class Peer:
    """One end of the pair between parent and child."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end

    @staticmethod
    def pair() -> "tuple[Peer, Peer]":
        parent, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return Peer(parent), Peer(child)

    def send(self, message: ChildMessage, fds: tuple[int, ...] = ()) -> None:
        """Raises OSError: EPIPE when the other side is gone."""
        payload = json.dumps(asdict(message)).encode()[:MAX_PACKET_BYTES]
        if fds:
            socket.send_fds(self.socket, [payload], list(fds))
        else:
            self.socket.send(payload)

    def receive(self) -> tuple[ChildMessage, list[int]] | None:
        """None at end of file. Raises TimeoutError when the socket has a time limit."""
        try:
            received = self._receive()
        except ConnectionResetError:
            # The other side has gone with something of ours unread. The kernel tells that once, and before
            # what the other side had said first: the reason why it has gone is still to be read.
            received = self._receive()
        payload, fds, _, _ = received
        if not payload:
            return None
        document = json.loads(payload)
        document["step"] = Step(document["step"])
        return ChildMessage(**document), fds

    def _receive(self) -> tuple[bytes, list[int], int, Any]:
        return socket.recv_fds(self.socket, MAX_PACKET_BYTES, _MAX_FDS, socket.MSG_CMSG_CLOEXEC)

    def close(self) -> None:
        self.socket.close()


def failure(error: BaseException) -> ChildMessage:
    """What a child sends before it gives up."""
    document = error_document(error)
    return ChildMessage(
        step=Step.FAILED,
        kind=document["kind"],
        message=document["message"][: MAX_PACKET_BYTES // 8],
        exit_code=document["exit_code"],
    )


# --- client and monitor ---

#: Errors that keep their class across the socket; any other becomes a RuntimeFault.
_KINDS: Final = {
    name: getattr(errors, name)
    for name in ("NotFound", "InvalidParameter", "Conflict", "NotModified", "Unavailable", "NotSupported")
}


def error_document(error: BaseException) -> dict[str, Any]:
    kind = type(error).__name__ if type(error).__name__ in _KINDS else "RuntimeFault"
    text = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
    return {
        "kind": kind,
        "message": "\n".join([text, *getattr(error, "__notes__", ())]),
        "exit_code": error.exit_code if isinstance(error, RuntimeFault) else 125,
    }


def error_from(document: dict[str, Any]) -> EngineError:
    kind = _KINDS.get(document.get("kind", ""))
    if kind is not None:
        return kind(document["message"])  # type: ignore[no-any-return]
    return RuntimeFault(document["message"], int(document.get("exit_code", 125)))
