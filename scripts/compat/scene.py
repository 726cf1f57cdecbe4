"""An engine with something in it, a registry, an index to search: what the page's requests are made to."""

import http.client
import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from native_engine import IMAGE, NativeEngine
from registry_rig import real_registry

from compat.endpoints import ENDED, RUNNING, SPARE, Ask

SECONDS = 30.0
_LIVING = {"HostConfig": {"Init": True}}
_INDEX = {"results": [{"name": "box", "description": "", "star_count": 0, "is_official": False}]}


@dataclass(frozen=True, slots=True)
class Answer:
    """message: of an error."""

    status: int
    message: str


class Scene:
    """words: what stands for {exec} and the like in requests and command lines."""

    def __init__(self, engine: NativeEngine, words: dict[str, str]) -> None:
        self.engine = engine
        self.words = words
        folder = engine.folder / "build"
        folder.mkdir()
        (folder / "Dockerfile").write_text(f"FROM {IMAGE}\nLABEL made=here\n")
        engine.run("sleep", "600", name=RUNNING, **_LIVING)
        engine.wait(engine.run("echo", "ended", name=ENDED))
        engine.create("sleep", "600", name=SPARE, **_LIVING, Tty=True)
        made = engine.call("POST", f"/containers/{RUNNING}/exec", {"Cmd": ["sleep", "1"], "Tty": True})
        self.words |= {"run": RUNNING, "end": ENDED, "dir": str(folder), "exec": made.json["Id"]}
        self._archive = engine.call("GET", f"/images/{IMAGE}/get").body

    def ask(self, label: str, wanted: Ask) -> Answer:
        """One request; an error that comes behind a success counts as one."""
        method, _, path = label.partition(" ")
        for name, value in wanted.names.items():
            path = path.replace(f"{{{name}}}", quote(self._filled(value), safe=""))
        # Parts that nothing was said of belong to what this engine does not have.
        path = path.replace("{id}", "none").replace("{name}", "none")
        if wanted.query:
            path += "?" + urlencode({key: self._filled(value) for key, value in wanted.query.items()})
        connection = http.client.HTTPConnection("localhost", timeout=SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(SECONDS)
        connection.sock.connect(str(self.engine.socket))
        try:
            body, headers = self._body(wanted)
            connection.request(method, f"/v1.51{path}", body=body, headers=headers)
            answer = connection.getresponse()
            if answer.status == 101:
                return Answer(answer.status, "")
            text = answer.read()
            if b'"errorDetail"' in text:
                return Answer(500, text.decode(errors="replace"))
            return Answer(answer.status, json.loads(text)["message"] if text and answer.status >= 400 else "")
        finally:
            connection.close()

    def _body(self, wanted: Ask) -> tuple[bytes | None, dict[str, str]]:
        headers = dict(wanted.headers)
        if wanted.body is None or isinstance(wanted.body, bytes):
            return wanted.body, headers
        if wanted.body == "{tar}":
            return self._archive, headers
        return self._filled(json.dumps(wanted.body)).encode(), {"Content-Type": "application/json", **headers}

    def _filled(self, text: str) -> str:
        for word, value in self.words.items():
            text = text.replace(f"{{{word}}}", value)
        return text

    def docker(self, arguments: tuple[str, ...]) -> tuple[int, str]:
        """The real client: exit status, and the last line of what it said against it."""
        environment = {**self.engine.docker_environment(), "DOCKER_BUILDKIT": "0"}
        process = subprocess.Popen(
            ["docker", *(self._filled(each) for each in arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        ends = None
        if "attach" in arguments:
            # Restarting ends it for who is attached, and leaves it running for what comes next.
            ends = threading.Timer(0.5, self.engine.call, ("POST", f"/containers/{RUNNING}/restart"))
            ends.start()
        _, said = process.communicate(timeout=SECONDS)
        if ends is not None:
            ends.join()
        lines = said.strip().splitlines()
        return process.returncode, lines[-1] if lines else ""


class _Index(BaseHTTPRequestHandler):
    """A registry that can be searched: GET /v1/search?q=."""

    def do_GET(self) -> None:  # noqa: N802 - its caller's name
        body = json.dumps(_INDEX if self.path.startswith("/v1/search") else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def scene() -> Iterator[Scene]:
    """Needs root, busybox-static and docker-registry."""
    index = ThreadingHTTPServer(("127.0.0.1", 0), _Index)
    threading.Thread(target=index.serve_forever, daemon=True).start()
    engine = NativeEngine(Path(tempfile.mkdtemp(prefix="wherry-compat-")), 7)
    try:
        with real_registry(engine.folder / "registry") as registry:
            engine.start()
            engine.import_busybox()
            words = {"registry": registry.host, "index": f"127.0.0.1:{index.server_port}"}
            yield Scene(engine, words)
    except Exception:
        sys.stderr.write(engine.log_tail(20) + "\n")
        raise
    finally:
        index.shutdown()
        index.server_close()
        engine.end()
