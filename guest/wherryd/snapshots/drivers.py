"""Choosing a driver by name, or the best one that works on a directory."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from wherryd.errors import InvalidParameter
from wherryd.snapshots.overlay import OverlayDriver
from wherryd.snapshots.protocol import Snapshotter
from wherryd.snapshots.vfs import VfsDriver

DRIVERS: dict[str, Callable[[Path], Snapshotter]] = {"overlay": OverlayDriver, "vfs": VfsDriver}

# Docker's name for its second overlay driver, which people have in their scripts.
_ALIASES = {"overlay2": "overlay", "overlayfs": "overlay"}


def open_driver(data_root: Path, name: str = "") -> Snapshotter:
    """The driver `name` below data_root/<driver>; "" picks overlay where it works, else vfs.

    Raises InvalidParameter for an unknown name, or when overlay is asked for where it cannot work.
    """
    data_root.mkdir(parents=True, exist_ok=True)
    wanted = _ALIASES.get(name, name)
    if wanted and wanted not in DRIVERS:
        raise InvalidParameter(f'unknown storage driver "{name}"; use one of: {", ".join(sorted(DRIVERS))}')
    if wanted != "vfs":
        problem = overlay_problem(data_root)
        if not problem:
            wanted = "overlay"
        elif wanted == "overlay":
            raise InvalidParameter(f"storage driver overlay: {problem}; use --storage-driver vfs")
        else:
            wanted = "vfs"
    return DRIVERS[wanted](data_root / wanted)


def overlay_problem(directory: Path) -> str:
    """Why overlayfs cannot have its upper directory there; "" when it can."""
    if not _kernel_knows("overlay"):
        # Loading by name is what the kernel itself does on the first mount.
        if shutil.which("modprobe"):
            subprocess.run(["modprobe", "-q", "overlay"], check=False, stdin=subprocess.DEVNULL)
        if not _kernel_knows("overlay"):
            return "this kernel has no overlayfs"
    kind = _file_system(directory)
    if kind in {"overlay", "nfs", "nfs4", "vfat", "9p", "fuse"}:
        return f"{directory} is on {kind}, which cannot hold its upper directories"
    return ""


def _kernel_knows(name: str) -> bool:
    return any(line.split()[-1] == name for line in Path("/proc/filesystems").read_text().splitlines())


def _file_system(directory: Path) -> str:
    """Type of the file system of a directory, by device number; "" if /proc does not tell (btrfs)."""
    device = directory.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[2] == wanted:
            return fields[fields.index("-") + 1]
    return ""
