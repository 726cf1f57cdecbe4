"""File systems of the tests' own, in files on loop devices."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from wherryd.snapshots.devicemapper import DevicemapperDriver
from wherryd.snapshots.drivers import DRIVERS, devicemapper_problem
from wherryd.snapshots.protocol import Snapshotter
from wherryd.snapshots.thinpool import PoolSizes, ThinPool

#: Why devicemapper cannot be tested on this kernel, or "". The box's kernel has it.
DEVICEMAPPER_PROBLEM = devicemapper_problem(Path("/")) if os.geteuid() == 0 else "needs root"
TESTABLE_DRIVERS = sorted(set(DRIVERS) - ({"devicemapper"} if DEVICEMAPPER_PROBLEM else set()))
POOL_SIZES = PoolSizes(base=600 << 20, data=2 << 30, metadata=32 << 20)
POOL_OPTIONS = ("dm.basesize=600M", "dm.loopdatasize=2G", "dm.loopmetadatasize=32M")


def open_driver(root: Path) -> Snapshotter:
    """root: the driver's own folder, with its name."""
    if root.name == "devicemapper":
        return DevicemapperDriver(root, POOL_SIZES)
    return DRIVERS[root.name](root)


def remove_driver(root: Path, snapshotter: Snapshotter) -> None:
    """With all its snapshots, and what it has in the kernel."""
    for info in reversed(list(snapshotter.walk())):
        snapshotter.remove(info.key)
    if root.name == "devicemapper":
        ThinPool(root, POOL_SIZES).close()


def btrfs() -> AbstractContextManager[Path]:
    return file_system("btrfs", 600 << 20)


@contextmanager
def file_system(kind: str, size_bytes: int) -> Iterator[Path]:
    """A folder on a new file system, mounted for as long as the context lives."""
    if os.geteuid() != 0 or shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"needs root and mkfs.{kind} (scripts/setup.sh dev)")
    folder = Path(tempfile.mkdtemp(prefix=f"wherry-{kind}-"))
    disk, mounted = folder / "disk", folder / "m"
    mounted.mkdir()
    with disk.open("wb") as file:
        file.truncate(size_bytes)
    try:
        subprocess.run([f"mkfs.{kind}", "-q", str(disk)], check=True, capture_output=True)
        done = subprocess.run(["mount", "-o", "loop", disk, mounted], check=False, capture_output=True)
        if done.returncode:
            pytest.skip(f"cannot mount {kind} on a loop device: {done.stderr.decode().strip()}")
        yield mounted
    finally:
        subprocess.run(["umount", "-l", mounted], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
