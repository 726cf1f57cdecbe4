"""The system disk as a raw image: a FAT with SYSLINUX, kernel and initramfs; an ext4 with the system.

No loop device and no mount: mtools writes the FAT, `mke2fs -d` the ext4, so it works in a container too.

    sector 0      MBR code of SYSLINUX, partition table
    1 MiB         FAT16, active: ldlinux.sys, syslinux.cfg, vmlinuz, initrd
    1 + BOOT_MIB  ext4 with the system
"""

import subprocess
import uuid
from pathlib import Path

from boxes import recipe
from boxes.errors import BoxError

MIB = 1024 * 1024
_SECTORS = 2048  # in a MiB
_MBR_CODE_BYTES = 440
_MBR_PLACES = (Path("/usr/lib/SYSLINUX/mbr.bin"), Path("/usr/lib/syslinux/mbr/mbr.bin"))


def build(root: Path, kernel: Path, initrd: Path, target: Path, *, seed: str) -> None:
    """Writes the image of the tree root at target. seed: what the file system's id is derived from."""
    system = uuid.uuid5(uuid.NAMESPACE_OID, f"wherry system {seed}")
    start = 1 + recipe.BOOT_MIB
    with target.open("wb") as image:
        image.truncate((start + recipe.SYSTEM_MIB) * MIB)
    _partition(target, start)
    _system(root, target, start, system)
    _boot(kernel, initrd, target, system)


def _partition(target: Path, start: int) -> None:
    table = (
        "label: dos\n"
        f"start={_SECTORS}, size={recipe.BOOT_MIB * _SECTORS}, type=e, bootable\n"
        f"start={start * _SECTORS}, size={recipe.SYSTEM_MIB * _SECTORS}, type=83\n"
    )
    subprocess.run(["sfdisk", "-q", target], input=table, text=True, check=True)
    code = next((place for place in _MBR_PLACES if place.exists()), None)
    if code is None:
        raise BoxError("the boot loader's MBR is missing: run `apt-get install syslinux-common`")
    with target.open("r+b") as image:
        image.write(code.read_bytes()[:_MBR_CODE_BYTES])


def _system(root: Path, target: Path, start: int, system: uuid.UUID) -> None:
    """Few inodes and a small journal: the system hardly writes. All tables written here, none at boot."""
    subprocess.run(
        [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-L", "wherry-system", "-U", str(system), "-d", root),
            *("-m", "0", "-N", "131072", "-J", "size=16", "-O", "^resize_inode"),
            *("-E", f"offset={start * MIB},lazy_itable_init=0,lazy_journal_init=0,nodiscard"),
            *(target, f"{recipe.SYSTEM_MIB}M"),
        ],
        check=True,
    )


def _boot(kernel: Path, initrd: Path, target: Path, system: uuid.UUID) -> None:
    partition = target.with_suffix(".fat")
    config = target.with_suffix(".cfg")
    # PROMPT 0 and no TIMEOUT: SYSLINUX loads at once.
    config.write_text(
        "DEFAULT wherry\nPROMPT 0\nLABEL wherry\nLINUX vmlinuz\nINITRD initrd\n"
        f"APPEND {recipe.KERNEL_COMMAND_LINE.format(uuid=system)}\n"
    )
    with partition.open("wb") as file:
        file.truncate(recipe.BOOT_MIB * MIB)
    sectors = recipe.BOOT_MIB * _SECTORS
    # -H: how many sectors lie before the partition; the boot sector reads the disk by that number.
    # -c 16: clusters of 8 KiB, which makes it FAT16 and keeps the loader's map of the files short.
    subprocess.run(
        [
            "mformat",
            "-i",
            partition,
            "-H",
            str(_SECTORS),
            "-T",
            str(sectors),
            "-c",
            "16",
            "-v",
            "WHERRY",
            "::",
        ],
        check=True,
    )
    for source, name in ((kernel, "vmlinuz"), (initrd, "initrd"), (config, "syslinux.cfg")):
        subprocess.run(["mcopy", "-i", partition, source, f"::{name}"], check=True)
    subprocess.run(["syslinux", "--install", partition], check=True)
    subprocess.run(
        [
            "dd",
            f"if={partition}",
            f"of={target}",
            f"bs={MIB}",
            "seek=1",
            "conv=notrunc,sparse",
            "status=none",
        ],
        check=True,
    )
    partition.unlink()
    config.unlink()
