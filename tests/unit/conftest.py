"""Unit tests run on every system; those of the engine and of the box only where these can exist."""

import sys

import pytest

collect_ignore_glob: list[str] = []
if sys.platform != "linux":
    collect_ignore_glob = [
        f"test_{area}_*.py"
        for area in (
            "api",
            "boxes",
            "cgroups",
            "containers",
            "content",
            "images",
            "metadata",
            "networks",
            "registry",
            "runtime",
            "snapshots",
            "spec",
            "sys",
        )
    ]


@pytest.fixture(autouse=True)
def no_docker_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own config.json must not change what a test sees."""
    monkeypatch.setenv("DOCKER_CONFIG", "/nonexistent/docker-config")
