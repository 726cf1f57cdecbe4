#!/usr/bin/env python3
"""Builds the box, or finds it in the cache. Prints its path as the last line.

CACHE/boxes/base/<hash>.tar         Debian without our files (base.py)
CACHE/boxes/<inputs hash>/wherry.box
CACHE/boxes/<version>-amd64.json    pointer to the newest: {"box": path, "sha256": hex, "inputs": hex}
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from boxes import base, disk, initramfs, inputs, mirror, pack, recipe, system
from boxes.errors import BoxError
from wherry.paths import paths
from wherrywire.version import __version__

#: Newest boxes and base layers that are kept; older ones are removed after a build.
KEEP = 3


def say(text: str) -> None:
    print(f"box: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One build at a time per cache; a second one waits, and then finds the box there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is under way, waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def base_layer(boxes: Path, *, fresh: bool) -> Path:
    target = boxes / "base" / f"{inputs.digest(inputs.BASE, values=base.VALUES)}.tar"
    if fresh or not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        say("installing Debian by mmdebstrap (about two minutes, once per recipe)")
        unfinished = target.with_name(f"unfinished-{target.name}")
        base.build(mirror.find(), unfinished)
        unfinished.rename(target)
        prune(target.parent, keep=target)
    return target


def assemble(layer: Path, box: Path, inputs_hash: str) -> None:
    """Writes the box file, through a folder beside it that is gone afterwards."""
    box.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=box.parent, prefix="build-") as temporary:
        work = Path(temporary)
        root = work / "root"
        root.mkdir(mode=0o755)
        say("laying the engine over it")
        system.unpack(layer, root)
        system.finish(root, version=__version__)
        # The boot partition holds the kernel; a second copy would make the box a tenth larger.
        kernel = (root / "boot/vmlinuz").rename(work / "vmlinuz")
        initramfs.build(root, work / "initrd")
        say("writing the disk")
        raw = work / "disk.img"
        disk.build(root, kernel, work / "initrd", raw, seed=inputs_hash)
        shutil.rmtree(root)
        say("compressing it")
        pack.vmdk(raw, work / pack.DISK)
        finished = work / "wherry.box"
        pack.box(work / pack.DISK, raw.stat().st_size, finished, version=__version__, seed=inputs_hash)
        finished.rename(box)


def point(boxes: Path, box: Path, inputs_hash: str) -> None:
    """Makes the pointer say this box; it is replaced whole."""
    pointer = boxes / f"{__version__}-{recipe.ARCHITECTURE}.json"
    with contextlib.suppress(FileNotFoundError, ValueError):
        if json.loads(pointer.read_text()).get("inputs") == inputs_hash:
            return
    with box.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    unfinished = pointer.with_suffix(".new")
    unfinished.write_text(json.dumps({"box": str(box), "sha256": checksum, "inputs": inputs_hash}) + "\n")
    unfinished.rename(pointer)


def prune(folder: Path, *, keep: Path) -> None:
    """Removes all but the newest entries whose name is a hash; never keep."""
    entries = [entry for entry in folder.iterdir() if len(entry.name.removesuffix(".tar")) == 32]
    entries.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    for entry in entries[KEEP:]:
        if entry == keep:
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def build(boxes: Path, *, fresh: bool) -> Path:
    """The box in the cache folder, built if need be. Raises BoxError."""
    inputs_hash = inputs.digest(inputs.BOX)
    box = boxes / inputs_hash / "wherry.box"
    if fresh or not box.exists():
        with locked(boxes):
            if fresh or not box.exists():
                begun = time.monotonic()
                assemble(base_layer(boxes, fresh=fresh), box, inputs_hash)
                (boxes / f"{__version__}-{recipe.ARCHITECTURE}.json").unlink(missing_ok=True)
                prune(boxes, keep=box.parent)
                size = box.stat().st_size / 1e6
                say(f"{size:.0f} MB, built in {time.monotonic() - begun:.0f} s")
    point(boxes, box, inputs_hash)
    return box


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds the box, or finds it in the cache.")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="cache folder (default: the user's, or WHERRY_CACHE)"
    )
    parser.add_argument("--fresh", action="store_true", help="build anew, with the mirror's newest packages")
    options = parser.parse_args()
    os.umask(0o022)
    boxes = (options.cache.absolute() / "boxes") if options.cache else paths().boxes
    try:
        print(build(boxes, fresh=options.fresh))
    except BoxError as exc:
        print(f"box: {exc}", file=sys.stderr)
        return 1
    except FileNotFoundError as exc:
        print(f"box: {exc.filename} is not installed: run `make setup`", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as exc:
        print(f"box: {exc}: see the lines above", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
