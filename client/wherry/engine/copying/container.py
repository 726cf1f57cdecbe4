"""The container's side of a copy. Source: Engine API, ContainerArchiveInfo and its neighbours."""

import base64
import contextlib
import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wherry.engine.client import EngineClient, Readable, body_of, segment
from wherry.errors import EngineProblem

_STAT_HEADER = "X-Docker-Container-Path-Stat"
# Bits of Go's os.FileMode.
_FOLDER, _SYMLINK, _DEVICE, _PIPE, _SOCKET, _CHARACTER, _IRREGULAR = (
    1 << bit for bit in (31, 27, 26, 25, 24, 21, 19)
)


@dataclass(frozen=True, slots=True)
class Status:
    """What is at a path. link_target: absolute, "" if it is no symbolic link."""

    mode: int
    link_target: str = ""

    @property
    def is_folder(self) -> bool:
        return bool(self.mode & _FOLDER)

    @property
    def is_link(self) -> bool:
        return bool(self.mode & _SYMLINK)

    @property
    def holds_data(self) -> bool:
        """Whether something can be copied into it: a folder or a regular file."""
        return not self.mode & (_DEVICE | _PIPE | _SOCKET | _CHARACTER | _IRREGULAR)


class Files:
    """The files of one container, running or not."""

    def __init__(self, client: EngineClient, container: str) -> None:
        self._client = client
        self._path = f"/containers/{segment(container)}/archive"

    def status(self, path: str) -> Status | None:
        """None if the engine cannot say; the copy that follows then tells why."""
        try:
            answer = self._client.call("HEAD", self._path, {"path": path})
        except EngineProblem as exc:
            if exc.status == 0:
                raise
            return None
        return _status(answer.header(_STAT_HEADER), path)

    @contextlib.contextmanager
    def read(self, path: str) -> Iterator[tuple[Status, Iterator[bytes]]]:
        """What is at path, and its archive, whose root is called after the last part of path.

        Raises EngineProblem.
        """
        answer = self._client.call("GET", self._path, {"path": path}, stream=True)
        with answer:
            yield _status(answer.header(_STAT_HEADER), path), body_of(answer)

    def write(self, folder: str, archive: Readable, *, owners: bool) -> None:
        """Extracts archive in folder. owners: keep its uid and gid."""
        params = {"path": folder, "noOverwriteDirNonDir": "true", "copyUIDGID": "true" if owners else None}
        self._client.call("PUT", self._path, params, upload=archive)


def _status(header: str, path: str) -> Status:
    try:
        found: dict[str, Any] = json.loads(base64.b64decode(header))
        mode, target = int(found["mode"]), str(found.get("linkTarget") or "")
    except (ValueError, KeyError, TypeError) as exc:
        raise EngineProblem(f"the engine's answer on {path} cannot be read: {exc}; see its log") from exc
    if target and not target.startswith("/"):
        target = posixpath.join(posixpath.dirname(path), target)
    return Status(mode, target)
