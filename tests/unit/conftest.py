"""Unit tests run on every system; those of the engine and of the box only where these can exist."""

import sys

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
