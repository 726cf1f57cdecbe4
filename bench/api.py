"""An engine's API as a plain client sees it: http.client over the unix socket, one connection kept.

No SDK and no command in between, so that every engine pays for the same client, and as little as can be.
"""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

#: Spoken by dockerd 20.10, by podman 4.3 and by ours.
VERSION = "/v1.41"
_TIMEOUT_SECONDS = 120.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Api:
    """socket_path: where the engine listens. Not for two threads at once."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        self._connection = _UnixConnection(socket_path)

    def another(self) -> "Api":
        """The same engine, over a connection of its own."""
        return Api(self._path)

    def close(self) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON, or None. Raises RuntimeError for a status of 400 and more."""
        data = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        self._connection.request(method, VERSION + path, data, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {content.decode(errors='replace')}")
        return json.loads(content) if content.strip() else None

    def create(self, body: Any) -> str:
        """The id of a new container."""
        return str(self.call("POST", "/containers/create", body)["Id"])

    def start(self, container_id: str) -> None:
        self.call("POST", f"/containers/{container_id}/start")

    def wait(self, container_id: str) -> int:
        """Its exit code."""
        return int(self.call("POST", f"/containers/{container_id}/wait")["StatusCode"])

    def remove(self, container_id: str, *, force: bool = False) -> None:
        self.call("DELETE", f"/containers/{container_id}" + ("?force=1" if force else ""))
