# ruff: noqa: T201
"""Cuts the power of an engine's disk at random moments: FOLDER ROUNDS SEED. Status 77: not possible here.

The data root is an ext4 file system on a loop device. Shutting it down without flushing its journal
(EXT4_IOC_SHUTDOWN, what xfstests use for the same purpose) loses all that was not yet written, as a power
cut does; mounting it again replays the journal, as a boot does. What a disk's own cache could lose on top
is not simulated: the loop device keeps what was written to it.
"""

import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from crashes_rig import Workload, image_archive, publish, run_until  # noqa: E402
from native_engine import NativeEngine  # noqa: E402
from registry_rig import real_registry  # noqa: E402

EXT4_IOC_SHUTDOWN = 0x8004587D
NOLOGFLUSH = 2
UNMOUNT_SECONDS = 20.0


def main() -> int:
    folder, rounds, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate(400 << 20)
    if shutil.which("mkfs.ext4") is None:
        print("needs mkfs.ext4")
        return 77
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=True)
    engine = NativeEngine(folder / "e", 7)
    (folder / "e" / "data").mkdir(parents=True)
    if subprocess.run(["mount", "-o", "loop", disk, engine.data_root], check=False).returncode:
        print("needs loop devices")
        return 77
    try:
        with real_registry(folder / "registry") as registry:
            _rounds(engine, disk, f"{registry.host}/pulled:1", publish(registry), rounds, seed)
    finally:
        engine.end()
        subprocess.run(["umount", "-l", engine.data_root], check=False, capture_output=True)
    return 0


def _rounds(engine: NativeEngine, disk: Path, pulled: str, index: str, rounds: int, seed: int) -> None:
    engine.start()
    assert engine.call("POST", "/images/load", image_archive(pulled, 9)).status == 200
    repository, _, tag = pulled.rpartition(":")
    assert b'"aux"' in engine.call("POST", f"/images/{repository}/push", tag=tag).body
    moments = random.Random(seed)  # noqa: S311 - no secret
    for number in range(rounds):
        workload = Workload(engine, pulled, index, seed + number)
        run_until(workload, moments.uniform(0.2, 3.0))
        cut = os.open(engine.data_root, os.O_RDONLY)
        fcntl.ioctl(cut, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        os.close(cut)
        engine.kill()
        workload.unexpected.clear()  # what the dying engine said of its disk
        workload.stop()
        workload.unexpected.clear()
        _end_all(engine)
        _remount(engine.data_root, disk)
        engine.start()
        try:
            workload.check()
        except AssertionError as exc:
            raise AssertionError(f"round {number} of seed {seed}: {exc}") from exc
        print(number, dict(workload.done), flush=True)
        engine.remove_containers()


def _end_all(engine: NativeEngine) -> None:
    """The zygote, monitors and unpackers too: each may hold the file system."""
    deadline = time.monotonic() + UNMOUNT_SECONDS
    while pids := engine.processes():
        assert time.monotonic() < deadline, pids
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def _remount(target: Path, disk: Path) -> None:
    deadline = time.monotonic() + UNMOUNT_SECONDS
    while subprocess.run(["umount", target], capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, "the file system is still in use"
        time.sleep(0.05)
    # An unpacker that is just dying may still have it, in a mount namespace of its own: then a new mount
    # would be of the same file system, shut down as it is. Its loop device goes with the last of them.
    while subprocess.run(["losetup", "--associated", disk], capture_output=True, check=False).stdout:
        assert time.monotonic() < deadline, "somebody holds the file system"
        time.sleep(0.05)
    while subprocess.run(["mount", "-o", "loop", disk, target], capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, "the file system cannot be mounted again"
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
