"""examples/: the PHP box and MyApp on top of it, built and served as their comments say."""

import time
from pathlib import Path

import pytest
import requests
from native_engine import NativeEngine
from shapes_rig import BASE, base_context, mirror, shape, wherry

pytestmark = pytest.mark.root
_START_SECONDS = 60.0


def page(address: str) -> str:
    """What the site answers, once it does."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            answer = requests.get(address, timeout=5)
            answer.raise_for_status()
            return answer.text
        except requests.RequestException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_my_app_is_served_by_the_php_box(engine: NativeEngine, tmp_path: Path) -> None:
    ours = wherry(engine.socket)
    with mirror() as sources:
        ours.build(base_context(tmp_path / "base-image", sources), BASE)
        for name in ("php_box", "myapp"):
            ours.build(shape(name, tmp_path), name)
    started = ours.run("run", "-d", "-p", "127.0.0.1::80", "myapp").stdout.strip()
    try:
        where = ours.run("port", started, "80/tcp").stdout.strip()
        found = page(f"http://{where}/")
        assert "<h1>MyApp</h1>" in found
        assert "MySQL: ready" in found
        # The server's words are the container's.
        assert '"GET / HTTP/1.1" 200' in ours.run("logs", started).stdout
    finally:
        ours.run("rm", "-f", started)
