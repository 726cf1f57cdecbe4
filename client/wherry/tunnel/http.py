"""HTTP to the engine straight over a tunnel channel, for the agent's own few questions.

Works the same on every system, since no local socket is in between.
"""

import http.client
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import paramiko

from wherry.errors import TunnelProblem
from wherry.tunnel.dial import Tunnel

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer


class ChannelSocket:
    """As much of a socket as http.client uses, on a channel."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def sendall(self, data: bytes) -> None:
        self._channel.sendall(data)

    def makefile(self, _mode: str, _buffering: int | None = None) -> io.BufferedReader:
        return io.BufferedReader(_ChannelReader(self._channel), 65536)

    def close(self) -> None:
        """Nothing: http.client closes its socket while the answer is still being read; see `ask`."""


class _ChannelReader(io.RawIOBase):
    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        data = self._channel.recv(len(view))
        view[: len(data)] = data
        return len(data)


@contextmanager
def ask(
    tunnel: Tunnel,
    target: str,
    *,
    timeout_seconds: float | None,
    channels: list[paramiko.Channel] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """GET `target` from the engine; the answer is open inside the `with`.

    timeout_seconds: for each wait, None for a stream that may be silent for hours. channels: where to note
    the channel while it is open, so that another thread can close it and so end the wait.
    Raises TunnelProblem, also when the status is not 200.
    """
    channel = tunnel.open_engine()
    channel.settimeout(timeout_seconds)
    if channels is not None:
        channels.append(channel)
    try:
        connection = http.client.HTTPConnection("wherry")
        connection.sock = cast("socket.socket", ChannelSocket(channel))
        connection.request("GET", target)
        response = connection.getresponse()
        if response.status != 200:
            text = response.read(65536).decode(errors="replace").strip()
            raise TunnelProblem(f"the engine answers {response.status} to GET {target}: {text}")
        yield response
    except (OSError, EOFError, http.client.HTTPException, paramiko.SSHException) as exc:
        raise TunnelProblem(f"GET {target} over the tunnel failed: {exc or type(exc).__name__}") from exc
    finally:
        channel.close()
        if channels is not None:
            channels.remove(channel)


def get_json(tunnel: Tunnel, target: str, *, timeout_seconds: float) -> Any:
    """The engine's JSON answer to GET `target`. Raises TunnelProblem."""
    with ask(tunnel, target, timeout_seconds=timeout_seconds) as response:
        try:
            return json.load(response)
        except ValueError as exc:
            raise TunnelProblem(f"the engine's answer to GET {target} is not JSON") from exc


def ping(tunnel: Tunnel, *, timeout_seconds: float) -> None:
    """GET /_ping. Raises TunnelProblem unless the engine says OK."""
    with ask(tunnel, "/_ping", timeout_seconds=timeout_seconds) as response:
        response.read(64)
