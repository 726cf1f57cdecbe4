"""How `wherry machine` speaks to an agent: a JSON line there, a JSON line back, on RUNTIME/<name>.ctl.

{"do": "stop"}    -> {"ok": true}                     and the agent ends
{"do": "status"}  -> {"ok": true, "phase": "running", "ports": [...], "connections": 3}
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

from wherry.errors import MachineProblem
from wherry.host import connect_local
from wherry.paths import MachinePaths
from wherrywire import jsonlines

ANSWER_SECONDS = 5.0
MAX_LINE_BYTES = 64 * 1024


class ControlProtocol(asyncio.Protocol):
    """Serves one connection. answer: request -> response; runs on the loop and must not wait."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._answer = answer
        self._decoder = jsonlines.Decoder(MAX_LINE_BYTES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            requests = self._decoder.feed(data)
        except jsonlines.LineError as exc:
            self._transport.write(jsonlines.encode({"ok": False, "error": str(exc)}))
            self._transport.close()
            return
        for request in requests:
            known = request if isinstance(request, dict) else {}
            self._transport.write(jsonlines.encode(self._answer(known)))


def ask(files: MachinePaths, request: dict[str, Any]) -> dict[str, Any] | None:
    """The agent's answer, or None when no agent listens. Raises MachineProblem when one hangs."""
    try:
        connection = connect_local(files.control, files.control_pipe, timeout_seconds=ANSWER_SECONDS)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    try:
        with connection:
            connection.write(jsonlines.encode(request))
            line = b""
            while not line.endswith(b"\n"):
                data = connection.read(4096)
                if not data:
                    return None  # it ended before it answered
                line += data
        answer = json.loads(line)
    except TimeoutError as exc:
        raise MachineProblem(f'the agent of "{files.name}" does not answer; see {files.agent_log}') from exc
    except (ConnectionError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None
