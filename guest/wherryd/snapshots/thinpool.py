"""A thin pool in two files of a driver's folder, and the thin devices in it.

    <root>/data       sparse; blocks of all thin devices
    <root>/metadata   sparse; the pool's own
    <root>/pool.json  sizes; written when the pool and its empty base (device 0) are complete

The files are attached to loop devices, as Docker's devicemapper does without a volume of its own. Slower
than a logical volume, and it needs none.

Devices are numbered by the snapshots' ids. Their names in the kernel carry the folder's device and inode
number, so that several data roots, and Docker's own, do not meet.
"""

import errno
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from wherryd.errors import InvalidParameter, KernelFault, SystemFault
from wherryd.sys import devicemapper as dm
from wherryd.sys import mounts

SECTOR = 512
#: Blocks of 64 KiB: small enough to share well, and Docker's choice.
_BLOCK_SECTORS = 128
_LOW_WATER_BLOCKS = 1024
_MAX_ID = (1 << 24) - 1
_BASE = 0
_BUSY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PoolSizes:
    """In bytes. base: of each snapshot's file system; data: what all of them may fill together."""

    base: int = 10 << 30
    data: int = 100 << 30
    metadata: int = 2 << 30


class ThinPool:
    """`open` first. Blocking; one writer process."""

    def __init__(self, root: Path, sizes: PoolSizes) -> None:
        self._root = root
        self._sizes = sizes
        status = root.stat()
        self._prefix = f"wherry-{os.major(status.st_dev)}:{os.minor(status.st_dev)}-{status.st_ino}"

    @property
    def _pool(self) -> str:
        return f"{self._prefix}-pool"

    def name(self, number: int) -> str:
        """Of a thin device, in the kernel."""
        return f"{self._prefix}-{number}"

    def open(self) -> None:
        """Attaches the files and makes the pool live, unless an earlier process has. Raises SystemFault."""
        record = self._root / "pool.json"
        if record.exists():
            self._sizes = PoolSizes(**json.loads(record.read_text()))
        if dm.status(self._pool) is None:
            metadata = self._attach("metadata", self._sizes.metadata)
            data = self._attach("data", self._sizes.data)
            sectors = self._sizes.data // SECTOR // _BLOCK_SECTORS * _BLOCK_SECTORS
            parameters = f"{metadata} {data} {_BLOCK_SECTORS} {_LOW_WATER_BLOCKS} 1 skip_block_zeroing"
            dm.create(self._pool, [dm.Target("thin-pool", sectors, parameters)])
        if not record.exists():
            self._make_base()
            temporary = self._root / "pool.json.new"
            sizes = {"base": self._sizes.base, "data": self._sizes.data, "metadata": self._sizes.metadata}
            with temporary.open("w") as file:
                json.dump(sizes, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(record)

    def _attach(self, name: str, size: int) -> str:
        path = self._root / name
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(size)
        done = subprocess.run(
            # The file's loop device if it has one, else a new one.
            ["losetup", "--find", "--show", "--nooverlap", "--direct-io=on", str(path)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemFault(f"cannot attach {path} to a loop device: {done.stderr.strip()}")
        return done.stdout.strip()

    def _make_base(self) -> None:
        self.delete(_BASE)  # of a start that was interrupted
        dm.message(self._pool, f"create_thin {_BASE}")
        node = self.activate(_BASE)
        try:
            done = subprocess.run(
                ["mkfs.ext4", "-q", "-E", "nodiscard", "-m", "0", str(node)],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
                check=False,
            )
            if done.returncode:
                raise SystemFault(f"cannot make a file system in the thin pool: {done.stderr.strip()}")
            mounted = self._root / "base"
            mounted.mkdir(exist_ok=True)
            mounts.mount(str(node), str(mounted), "ext4", 0)
            try:
                # fsck makes it again where it needs it; an image has none.
                (mounted / "lost+found").rmdir()
                mounted.chmod(0o755)
            finally:
                mounts.umount2(str(mounted))
            mounted.rmdir()
        finally:
            self.deactivate(_BASE)

    def create(self, number: int, origin: int = _BASE) -> None:
        """A thin device with what `origin` has now; the base is an empty file system.

        Raises InvalidParameter when the pool has no number left, KernelFault: ENOSPC.
        """
        if not 0 < number <= _MAX_ID:
            raise InvalidParameter(
                "the thin pool has no device number left; save the images to a new data root"
            )
        active = dm.status(self.name(origin)) is not None
        if active:
            dm.suspend(self.name(origin))
        try:
            dm.message(self._pool, f"create_snap {number} {origin}")
        finally:
            if active:
                dm.resume(self.name(origin))

    def activate(self, number: int) -> Path:
        """The device's node; idempotent."""
        found = dm.status(self.name(number))
        if found is None:
            pool = dm.status(self._pool)
            if pool is None:
                raise SystemFault(f"the thin pool of {self._root} is gone; start wherryd again")
            sectors = self._sizes.base // SECTOR
            found = dm.create(self.name(number), [dm.Target("thin", sectors, f"{pool.node} {number}")])
        return found.node

    def deactivate(self, number: int) -> None:
        """Idempotent. Waits a moment for a mount that goes with its last process. KernelFault: EBUSY."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                dm.remove(self.name(number))
            except KernelFault as exc:
                if exc.errno == errno.ENXIO:
                    return
                if exc.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def delete(self, number: int) -> None:
        """Idempotent; the device must not be active."""
        try:
            dm.message(self._pool, f"delete {number}")
        except KernelFault as exc:
            if exc.errno not in (errno.ENODATA, errno.ENOENT):
                raise

    def close(self) -> None:
        """Takes the pool out of the kernel; for tests and for who removes the data root."""
        try:
            dm.remove(self._pool)
        except KernelFault as exc:
            if exc.errno != errno.ENXIO:
                raise
        for name in ("data", "metadata"):
            listed = subprocess.run(
                ["losetup", "--noheadings", "--output", "NAME", "--associated", str(self._root / name)],
                capture_output=True,
                text=True,
                check=False,
            )
            for device in listed.stdout.split():
                subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)
