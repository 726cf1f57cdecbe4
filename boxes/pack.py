"""The box file: a tar of metadata.json, box.ovf and the stream-optimised VMDK.

Not compressed once more: the VMDK is, and Vagrant's bsdtar reads a plain tar.
"""

import io
import json
import subprocess
import tarfile
from pathlib import Path

from boxes import ovf, recipe

DISK = "box-disk1.vmdk"


def vmdk(raw: Path, target: Path) -> None:
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, target],
        check=True,
    )


def box(disk: Path, disk_bytes: int, target: Path, *, version: str, seed: str) -> None:
    """Writes the box at target from the VMDK at disk."""
    metadata = {"provider": "virtualbox", "architecture": recipe.ARCHITECTURE}
    description = ovf.document(disk=DISK, disk_bytes=disk_bytes, name=f"wherry-{version}", seed=seed)
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in (("metadata.json", json.dumps(metadata) + "\n"), ("box.ovf", description)):
            data = text.encode()
            archive.addfile(_member(name, len(data)), io.BytesIO(data))
        with disk.open("rb") as file:
            archive.addfile(_member(DISK, disk.stat().st_size), file)


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Without owner or time: the same inputs give the same bytes."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member
