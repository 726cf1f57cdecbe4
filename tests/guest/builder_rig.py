"""Builds for tests: contexts, answers, image trees; and a dockerd of the tests' own to compare with."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from native_engine import BUSYBOX, NativeEngine, UnixConnection, busybox_tar, unmount_below
from serving import serving

#: A fixed time for files of contexts, so that two contexts with the same files are the same.
MTIME = 1_700_000_000


def context(files: Mapping[str, bytes | str | tuple[int, bytes | str]]) -> bytes:
    """A context's archive. A value is the content, or (mode, content); a name with "/" at its end a folder,
    a content that begins with "-> " a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, value in files.items():
            mode, content = value if isinstance(value, tuple) else (0o644, value)
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name.rstrip("/"))
            info.mode, info.mtime = mode, MTIME
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, mode if isinstance(value, tuple) else 0o755
                archive.addfile(info)
            elif data.startswith(b"-> "):
                info.type, info.linkname = tarfile.SYMTYPE, data[3:].decode()
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@contextlib.contextmanager
def served(files: Mapping[str, bytes]) -> Iterator[str]:
    """A web server on loopback with these paths, all of one time; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - the library's name
            data = files.get(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.send_header("Last-Modified", formatdate(MTIME, usegmt=True))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: object) -> None:
            """Not into the tests' output."""

    with serving(Handler) as address:
        yield address


def busybox_file() -> tuple[int, bytes]:
    return 0o755, BUSYBOX.read_bytes()


@dataclass
class Built:
    """lines: of the answer. text: what a person sees."""

    status: int
    lines: list[dict[str, Any]]
    text: str = ""
    image: str = ""
    error: dict[str, Any] = field(default_factory=dict)


def build(engine: NativeEngine, files: Mapping[str, Any] | bytes, **query: Any) -> Built:
    data = files if isinstance(files, bytes) else context(files)
    answer = engine.call("POST", "/build", data, headers={"Content-Type": "application/x-tar"}, **query)
    if answer.status != 200:
        return Built(answer.status, [], answer.message)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    built = Built(200, lines, "".join(line.get("stream", "") for line in lines))
    for line in lines:
        built.image = (line.get("aux") or {}).get("ID", built.image)
        built.error = line.get("errorDetail", built.error)
    return built


def built(engine: NativeEngine, files: Mapping[str, Any] | bytes, **query: Any) -> Built:
    """A build that must work."""
    found = build(engine, files, **query)
    assert found.status == 200, found.text
    assert not found.error, f"{found.error}\n{found.text}"
    return found


def shell(engine: NativeEngine, image: str, command: str) -> str:
    """What a command prints in a container of the image."""
    found = engine.docker("run", "--rm", "--network=none", image, "sh", "-c", command)
    assert found.returncode == 0, found.stderr
    return found.stdout.decode()


def layers(engine: NativeEngine, image: str) -> list[str]:
    return list(engine.call("GET", f"/images/{image}/json").json["RootFS"]["Layers"])


Tree = dict[str, tuple[Any, ...]]


def tree(archive: bytes, *, times: bool = False) -> Tree:
    """A saved image's files with all layers applied: path -> (kind, mode, uid, gid, what it holds)."""
    files: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        manifest = json.loads(_member(outer, "manifest.json"))[0]
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(_member(outer, layer))) as inner:
                _apply(files, inner, times)
    return files


def config(archive: bytes) -> dict[str, Any]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        manifest = json.loads(_member(outer, "manifest.json"))[0]
        document: dict[str, Any] = json.loads(_member(outer, manifest["Config"]))
        return document


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def _apply(files: Tree, layer: tarfile.TarFile, times: bool) -> None:
    own: set[str] = set()
    for member in layer:
        path = member.name.strip("/").removeprefix("./")
        folder, _, name = path.rpartition("/")
        if name == ".wh..wh..opq":
            _drop(files, folder + "/", own)
            continue
        if name.startswith(".wh."):
            gone = f"{folder}/{name[4:]}".lstrip("/")
            files.pop(gone, None)
            _drop(files, gone + "/", own)
            continue
        if not member.isdir():
            _drop(files, path + "/", own)
        own.add(path)
        if member.islnk():
            files[path] = files[member.linkname.strip("/").removeprefix("./")]
            continue
        content: Any = ""
        if member.isreg():
            file = layer.extractfile(member)
            assert file is not None
            content = hashlib.sha256(file.read()).hexdigest()
        elif member.issym():
            content = member.linkname
        xattrs = {key: value for key, value in member.pax_headers.items() if key.startswith("SCHILY")}
        row = (
            member.type,
            oct(member.mode & 0o7777),
            member.uid,
            member.gid,
            content,
            *sorted(xattrs.items()),
        )
        files[path] = (*row, int(member.mtime)) if times and member.isreg() else row


def _drop(files: Tree, prefix: str, own: set[str]) -> None:
    for path in [each for each in files if each.startswith(prefix) and each not in own]:
        del files[path]


def saved(engine: NativeEngine, image: str) -> bytes:
    answer = engine.call("GET", f"/images/{image}/get")
    assert answer.status == 200, answer.text
    return answer.body


class DockerDaemon:
    """dockerd with roots of its own, without networks: only its builder is wanted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            "dockerd", "-H", f"unix://{self.socket}",
            "--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec"),
            "--pidfile", str(self.folder / "pid"), "--config-file", str(self.folder / "none.json"),
            "--bridge", "none", "--iptables=false", "--ip-masq=false",
        ]  # fmt: skip
        (self.folder / "none.json").write_text("{}")
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.call("GET", "/_ping")[0] == 200:
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.2)
        raise AssertionError((self.folder / "log").read_text()[-3000:])

    def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = UnixConnection(self.socket, timeout=120)
        try:
            connection.request(method, path, body=body, headers={"Content-Type": "application/x-tar"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def import_busybox(self) -> None:
        status, answer = self.call(
            "POST",
            "/images/create?fromSrc=-&repo=busybox&tag=test&changes=CMD+%5B%22sh%22%5D&changes=ENV+FROM_IMAGE%3Dyes",
            busybox_tar(),
        )
        assert status == 200, answer

    def build(self, files: Mapping[str, Any], tag: str, query: str = "") -> str:
        """What it prints."""
        # Without a network of its own it has none to give to RUN.
        status, answer = self.call("POST", f"/build?t={tag}&networkmode=none&{query}", context(files))
        assert status == 200, answer
        lines = [json.loads(line) for line in answer.decode().splitlines()]
        assert not any("error" in line for line in lines), lines[-1]
        return "".join(line.get("stream", "") for line in lines)

    def saved(self, image: str) -> bytes:
        status, answer = self.call("GET", f"/images/{image}/get")
        assert status == 200, answer
        return answer

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        unmount_below(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def docker_daemon() -> Iterator[DockerDaemon]:
    # Short: a unix socket's path has 107 bytes at most.
    daemon = DockerDaemon(
        Path(tempfile.mkdtemp(prefix="wherry-dockerd-", dir=os.environ.get("TMPDIR", "/tmp")))
    )
    try:
        daemon.start()
        daemon.import_busybox()
        yield daemon
    finally:
        daemon.end()
