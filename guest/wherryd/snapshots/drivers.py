"""Choosing a driver: by name, by what the data root has been used with, or the best one that works there."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from wherryd.errors import InvalidParameter, KernelFault
from wherryd.snapshots.btrfs import BtrfsDriver
from wherryd.snapshots.devicemapper import DevicemapperDriver
from wherryd.snapshots.overlay import OverlayDriver
from wherryd.snapshots.protocol import Snapshotter
from wherryd.snapshots.thinpool import PoolSizes
from wherryd.snapshots.vfs import VfsDriver
from wherryd.sys import btrfs, devicemapper

#: In the order in which they are tried when none is named: vfs always works.
DRIVERS: dict[str, Callable[[Path], Snapshotter]] = {
    "overlay": OverlayDriver,
    "btrfs": BtrfsDriver,
    "vfs": VfsDriver,
    "devicemapper": DevicemapperDriver,
}

#: --storage-opt of devicemapper, under Docker's names -> field of PoolSizes.
_POOL_OPTIONS = {"dm.basesize": "base", "dm.loopdatasize": "data", "dm.loopmetadatasize": "metadata"}
_SIZE = re.compile(r"([0-9]{1,9})([kmgt]?)i?b?", re.IGNORECASE)
_LEAST_BYTES = 16 << 20

# Docker's name for its second overlay driver, which people have in their scripts.
_ALIASES = {"overlay2": "overlay", "overlayfs": "overlay"}


def canonical(name: str) -> str:
    """A driver's own name; "" stays "". Raises InvalidParameter for an unknown one."""
    wanted = _ALIASES.get(name, name)
    if wanted == "aufs":
        raise InvalidParameter(
            "storage driver aufs is in no current kernel; overlay is its successor: --storage-driver overlay"
        )
    if wanted and wanted not in DRIVERS:
        raise InvalidParameter(f'unknown storage driver "{name}"; use one of: {", ".join(sorted(DRIVERS))}')
    return wanted


def open_driver(data_root: Path, name: str = "", options: Sequence[str] = ()) -> Snapshotter:
    """The driver `name` below data_root/<driver>; "" takes the one that has snapshots there, or else the
    first of DRIVERS that works there.

    options: "dm.basesize=10G" and the like, for devicemapper alone; they count when its pool is made.

    Raises InvalidParameter for an unknown name or option, for one that cannot work there, and for another
    than the one that has snapshots there: they would be out of reach.
    """
    data_root.mkdir(parents=True, exist_ok=True)
    wanted = canonical(name)
    prior = [driver for driver in DRIVERS if _in_use(data_root / driver)]
    if wanted and prior and wanted not in prior:
        raise InvalidParameter(
            f"storage driver {wanted}: images and containers below {data_root} are kept by {prior[0]}; start "
            f"with --storage-driver {prior[0]}, or give another --data-root (save and load move images)"
        )
    wanted = wanted or (prior[0] if prior else "")
    if wanted:
        if problem := _PROBLEMS[wanted](data_root):
            raise InvalidParameter(
                f"storage driver {wanted}: {problem}; use --storage-driver {_best(data_root)}"
                + (" and another --data-root" if prior else "")
            )
    else:
        wanted = _best(data_root)
    sizes = pool_sizes(wanted, options)
    if sizes is not None:
        return DevicemapperDriver(data_root / wanted, sizes)
    return DRIVERS[wanted](data_root / wanted)


def pool_sizes(driver: str, options: Sequence[str]) -> PoolSizes | None:
    """None without options. Raises InvalidParameter."""
    sizes: dict[str, int] = {}
    for option in options:
        key, _, value = option.partition("=")
        if driver != "devicemapper" or key not in _POOL_OPTIONS:
            known = ", ".join(_POOL_OPTIONS) if driver == "devicemapper" else "none"
            raise InvalidParameter(
                f'--storage-opt {option}: {driver} has no option "{key}" (it has: {known})'
            )
        match = _SIZE.fullmatch(value)
        if not match:
            raise InvalidParameter(f"--storage-opt {option}: wants a size such as {key}=10G")
        size = int(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " ")
        if size < _LEAST_BYTES:
            raise InvalidParameter(f"--storage-opt {option}: less than 16M is no file system")
        sizes[_POOL_OPTIONS[key]] = size
    return PoolSizes(**sizes) if sizes else None


def _best(data_root: Path) -> str:
    return next(driver for driver in DRIVERS if not _PROBLEMS[driver](data_root))


def _in_use(folder: Path) -> bool:
    """Whether a driver has snapshots there: index.py's records."""
    try:
        return any((folder / "m").iterdir())
    except FileNotFoundError:
        return False


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


def btrfs_problem(directory: Path) -> str:
    """Why there can be no subvolumes; "" when there can."""
    if not btrfs.is_btrfs(directory):
        return f"{directory} is not on a btrfs file system"
    return ""


def devicemapper_problem(_directory: Path) -> str:
    """Why there can be no thin pool; "" when there can."""
    if shutil.which("modprobe"):
        subprocess.run(
            ["modprobe", "-q", "-a", "dm-thin-pool", "loop"], check=False, stdin=subprocess.DEVNULL
        )
    try:
        kinds = devicemapper.versions()
    except KernelFault as exc:
        return f"this kernel has no device mapper ({exc})"
    if "thin-pool" not in kinds:
        return "this kernel's device mapper has no thin-pool"
    for program in ("losetup", "mkfs.ext4"):
        if shutil.which(program) is None:
            return f"{program} is missing"
    return ""


_PROBLEMS: dict[str, Callable[[Path], str]] = {
    "overlay": overlay_problem,
    "btrfs": btrfs_problem,
    "vfs": lambda _directory: "",
    "devicemapper": devicemapper_problem,
}


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
