"""Web servers on loopback for tests, and files that scripts of the repository make once and keep."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[1]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""


@contextmanager
def serving(handler: "type[BaseHTTPRequestHandler] | partial[SimpleHTTPRequestHandler]") -> Iterator[str]:
    """A web server of such handlers, in a thread; gives its address, http://127.0.0.1:PORT."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
            thread.join()


@contextmanager
def served_folder(folder: Path) -> Iterator[str]:
    """A web server of a folder's files; gives its address."""
    with serving(partial(_Quiet, directory=str(folder))) as address:
        yield address


def made(script: str, *arguments: str) -> Path:
    """The path that a script of the repository prints last; it keeps what it makes in the cache."""
    done = subprocess.run(
        ["sh", str(ROOT / script), *arguments],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return Path(done.stdout.splitlines()[-1])


@contextmanager
def package_mirror(*packages: str) -> Iterator[str]:
    """These Debian packages and what they need, on loopback; the line of a sources.list."""
    with served_folder(made("tests/conformance/debian_packages.sh", *packages)) as address:
        yield f"deb [trusted=yes] {address} ./\n"
