"""File systems of the tests' own, in files on loop devices."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def btrfs(size_bytes: int = 600 << 20) -> Iterator[Path]:
    """A folder on a new btrfs file system, mounted for as long as the context lives."""
    if os.geteuid() != 0 or shutil.which("mkfs.btrfs") is None:
        pytest.skip("needs root and mkfs.btrfs (scripts/setup.sh dev)")
    folder = Path(tempfile.mkdtemp(prefix="wherry-btrfs-"))
    disk, mounted = folder / "disk", folder / "m"
    mounted.mkdir()
    with disk.open("wb") as file:
        file.truncate(size_bytes)
    try:
        subprocess.run(["mkfs.btrfs", "-q", str(disk)], check=True, capture_output=True)
        done = subprocess.run(["mount", "-o", "loop", disk, mounted], check=False, capture_output=True)
        if done.returncode:
            pytest.skip(f"cannot mount btrfs on a loop device: {done.stderr.decode().strip()}")
        yield mounted
    finally:
        subprocess.run(["umount", "-l", mounted], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
