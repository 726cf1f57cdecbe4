"""Copies for tests: archives made and read, the header's document, an engine per kind of storage and ids."""

import base64
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from native_engine import Answer, NativeEngine

#: What an engine is started with. Files must go in and out the same way on each.
KINDS = {
    "overlay": (),
    "vfs": ("--storage-driver", "vfs"),
    "remapped": ("--userns-remap", "auto"),
}


@contextmanager
def engine_of(kind: str, number: int) -> Iterator[NativeEngine]:
    # Short: a unix socket's path holds 107 bytes.
    engine = NativeEngine(Path(tempfile.mkdtemp(prefix="wherry-cp-")), number)
    try:
        engine.start(*KINDS[kind])
        engine.import_busybox()
        yield engine
    except BaseException:
        print(engine.log_tail())  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        engine.end()


def member(name: str, content: bytes | None = None, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """An entry: a file with content, or whatever type the fields say."""
    info = tarfile.TarInfo(name)
    info.mtime = 1_700_000_000
    if content is not None:
        info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content or b""


def folder(name: str, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as made:
        for info, content in members:
            made.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def url(container: str, path: str, **query: Any) -> str:
    return f"/containers/{container}/archive?{urlencode({'path': path, **query})}"


def put(engine: NativeEngine, container: str, path: str, data: bytes, **query: Any) -> Answer:
    return engine.call(
        "PUT",
        url(container, path, **query),
        data,
        headers={"Content-Type": "application/x-tar"},
    )


def get(engine: NativeEngine, container: str, path: str) -> Answer:
    return engine.call("GET", url(container, path))


def stat(engine: NativeEngine, container: str, path: str) -> dict[str, Any]:
    answer = engine.call("HEAD", url(container, path))
    assert answer.status == 200, answer.status
    return stat_of(answer)


def stat_of(answer: Answer) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))
    return document


def entries(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        return {info.name: info for info in found}


def content(data: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        file = found.extractfile(name)
        assert file is not None
        return file.read()


def said(engine: NativeEngine, container: str, *command: str) -> str:
    """What a command in a running container prints."""
    found = engine.docker("exec", container, *command)
    assert found.returncode == 0, found.stderr
    return found.stdout.decode()
