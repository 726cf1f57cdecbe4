"""JSON files that are whole or not there, and locks between processes."""

from __future__ import annotations

import json
import os

from vboxqemu.system import acquire, is_held, release

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any

__all__ = ["Lock", "acquire", "is_held", "read_json", "release", "write_json"]


def read_json(path: str) -> Any:
    """The document, or None when there is no such file. Raises ValueError when it is not JSON."""
    try:
        with open(path, "rb") as file:
            return json.loads(file.read())
    except FileNotFoundError:
        return None


def write_json(path: str, document: Mapping[str, Any]) -> None:
    """Replaces the file in one step: temporary name, fsync, rename. Makes the folder if need be."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.new"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


class Lock:
    """`with Lock(path): ...` keeps other commands out. Raises TimeoutError after `wait_s` seconds."""

    def __init__(self, path: str, *, wait_s: float = 60.0) -> None:
        self._path = path
        self._wait_s = wait_s
        self._handle = -1

    def __enter__(self) -> None:
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        self._handle = acquire(self._path, wait_s=self._wait_s)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        release(self._handle)
