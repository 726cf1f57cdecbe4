"""The control connection to a running QEMU (QEMU Machine Protocol: one JSON object per line)."""

from __future__ import annotations

import json
import time

from vboxqemu import system
from vboxqemu.errors import Hypervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any


class Qmp:
    """`with Qmp(folder, run["qmp"]) as qmp: qmp.command("stop")`. Closes with the block; closing twice is
    fine.

    timeout_s bounds each answer. Raises Hypervisor: nobody listens, QEMU hangs up, or it answers with an
    error.
    """

    def __init__(self, folder: str, door: str, *, timeout_s: float = 30.0) -> None:
        self._timeout_s = timeout_s
        try:
            self._socket = system.connect_control(folder, door, timeout_s=timeout_s)
        except OSError as exc:
            raise Hypervisor(f"QEMU's control socket does not answer: {exc}") from exc
        self._buffer = b""
        try:
            self._receive(time.monotonic() + timeout_s)  # the greeting
            self.command("qmp_capabilities")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Qmp:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def command(
        self, name: str, arguments: dict[str, Any] | None = None, *, descriptor: int | None = None
    ) -> Any:
        """Runs one command and returns what it returns. descriptor: passed along (for `getfd`), POSIX
        only."""
        line = json.dumps({"execute": name, "arguments": arguments or {}}).encode() + b"\n"
        try:
            if descriptor is None:
                self._socket.sendall(line)
            else:
                system.send_with_descriptor(self._socket, line, descriptor)
        except OSError as exc:
            raise Hypervisor(f"QEMU hung up before {name}: {exc}") from exc
        deadline = time.monotonic() + self._timeout_s
        while True:
            answer = self._receive(deadline)
            if "error" in answer:
                raise Hypervisor(f"QEMU refused {name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
            # Anything else is an event; callers here poll state instead, so none is lost.

    def human(self, line: str) -> str:
        """Runs a command of the human monitor and returns what it printed, '' when it had nothing to say."""
        return str(self.command("human-monitor-command", {"command-line": line})).strip()

    def _receive(self, deadline: float) -> Any:
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Hypervisor(f"QEMU did not answer in {self._timeout_s:.0f} s")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            except OSError as exc:
                raise Hypervisor(f"the connection to QEMU broke: {exc}") from exc
            if not data:
                raise Hypervisor("QEMU ended while it was asked")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)
