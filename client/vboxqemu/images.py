"""Disk images through qemu-img, and what can be told from a file's first bytes.

Disks made here are qcow2, whatever format was asked for and whatever the file is called. QEMU refuses to save
the state of a VM that has a VDI, VMDK or VHD disk (those drivers register a migration blocker), and cannot
grow a VDI; with qcow2 suspend, resize and discard all work. Files that other programs made keep their format.
"""

from __future__ import annotations

import hashlib
import json
import os
import time

from vboxqemu import files, paths, tools
from vboxqemu.errors import FileProblem, NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes at the start of a file -> QEMU's driver. A raw disk has no such mark: the guest writes its first
#: bytes, so they must never decide what it is. Hence raw by name only, and recorded once.
MAGIC = ((b"QFI\xfb", "qcow2"), (b"KDMV", "vmdk"), (b"# Disk DescriptorFile", "vmdk"), (b"conectix", "vpc"))
VDI_MAGIC = (64, b"\x7f\x10\xda\xbe")
#: Seconds for which a base that nobody lies over is kept.
RECENT_S = 3600.0
RAW_SUFFIXES = frozenset({".img", ".raw", ".iso"})


def detect(path: str) -> str:
    """QEMU's driver name for the file. Raises FileProblem: missing, unreadable, or of no known format."""
    if os.path.splitext(path)[1].lower() in RAW_SUFFIXES:
        if not os.path.exists(path):
            raise _missing(path)
        return "raw"
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as exc:
        raise FileProblem(f"Could not open the medium '{path}': {exc.strerror}") from exc
    for magic, driver in MAGIC:
        if head.startswith(magic):
            return driver
    offset, magic = VDI_MAGIC
    if head[offset : offset + 4] in (magic, magic[::-1]):
        return "vdi"
    raise FileProblem(f"Could not get the storage format of the medium '{path}' (VERR_NOT_SUPPORTED)")


def _missing(path: str) -> FileProblem:
    return FileProblem(f"Could not find file for the medium '{path}' (VERR_FILE_NOT_FOUND)")


def flat_extent(path: str) -> str | None:
    """The data file of a VMDK that is a text descriptor over one flat file beside it; None for any other
    file.

    Such a pair is opened as the raw disk it is: QEMU's VMDK driver would forbid saving the VM's state. Only a
    plain name is followed: a descriptor from elsewhere must not name files of the host.
    """
    with open(path, "rb") as file:
        head = file.read(8192)
    if not head.startswith(b"# Disk DescriptorFile"):
        return None
    extents = [
        line.split()
        for line in head.decode(errors="replace").splitlines()
        if line.startswith(("RW ", "RDONLY "))
    ]
    if (
        len(extents) != 1
        or len(extents[0]) not in (4, 5)
        or extents[0][2] != "FLAT"
        or extents[0][4:] not in ([], ["0"])
    ):
        return None
    name = extents[0][3].strip('"')
    if not name or name != os.path.basename(name) or "\\" in name:
        raise FileProblem(f"The medium '{path}' names a data file outside its own folder")
    return os.path.join(os.path.dirname(path), name)


def info(path: str, driver: str) -> Any:
    """qemu-img's JSON: "virtual-size" and "actual-size" in bytes. Works while a VM uses the disk."""
    return json.loads(tools.run("qemu-img", "info", "--force-share", "--output=json", "-f", driver, path))


def create(path: str, size_bytes: int, *, fixed: bool = False) -> None:
    """A new empty qcow2. fixed: room for all of it is taken now. Raises FileProblem when the file exists."""
    if os.path.exists(path):
        raise FileProblem(f"Could not create the medium storage unit '{path}' (VERR_ALREADY_EXISTS)")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    allocation = "falloc" if fixed else "off"
    tools.run(
        "qemu-img", "create", "-q", "-f", "qcow2", "-o", f"preallocation={allocation}", path, str(size_bytes)
    )


def overlay(path: str, base: str) -> None:
    """A new qcow2 that starts as `base` (qcow2) and keeps only what differs."""
    if os.path.exists(path):
        raise FileProblem(f"Could not create the medium storage unit '{path}' (VERR_ALREADY_EXISTS)")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    tools.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, path)


def convert(source: str, source_driver: str, target: str, target_driver: str) -> None:
    """Copies a disk into another format. The target appears whole or not at all."""
    partial = f"{target}.{os.getpid()}.part"
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        tools.run(
            *("qemu-img", "convert", "-q", "-W", "-f", source_driver, "-O", target_driver, source, partial),
        )
        os.replace(partial, target)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


def resize(path: str, driver: str, size_bytes: int) -> None:
    """Grows (or, for qcow2 and raw, refuses to shrink) a disk."""
    if driver not in ("qcow2", "raw"):
        raise NotSupported(
            f"Resizing a {driver.upper()} disk is not supported on QEMU; make the disk with createmedium"
        )
    if size_bytes < info(path, driver)["virtual-size"]:
        raise NotSupported(f"Resizing to a smaller size is not supported: '{path}'")
    tools.run("qemu-img", "resize", "-q", "-f", driver, path, str(size_bytes))


def base_for(source: str) -> str:
    """The qcow2 made from a box's disk, made now if this content was never seen.

    Only a sparse VMDK is taken: a descriptor or a qcow2 from a downloaded box could name files of the host.
    """
    with open(source, "rb") as file:
        if file.read(4) != b"KDMV":
            raise NotSupported(
                f"The disk '{source}' is not a stream-optimised VMDK; package the box with VirtualBox"
            )
    with files.Lock(os.path.join(paths.bases(), "lock"), wait_s=600.0):
        digest = _digest(source)
        base = os.path.join(paths.bases(), f"{digest}.qcow2")
        if not os.path.exists(base):
            convert(source, "vmdk", base, "qcow2")
            _prune_bases()
        os.utime(base)
        return base


def _prune_bases() -> None:
    """Removes bases under no VM's disk; not those used lately, whose overlay may be in the making."""
    from vboxqemu import store

    used = {
        backing(each["file"], each["format"])
        for _, vm in store.walk()
        for controller in vm["controllers"]
        for each in controller["attachments"]
        if each["format"] == "qcow2" and os.path.exists(each["file"])
    }
    for name in os.listdir(paths.bases()):
        path = os.path.join(paths.bases(), name)
        recent = time.time() - os.stat(path).st_mtime < RECENT_S
        if name.endswith(".qcow2") and path not in used and not recent:
            os.unlink(path)


def _digest(source: str) -> str:
    """SHA-256 of the content, remembered by path, size and time of change."""
    stat = os.stat(source)
    key = f"{stat.st_size} {stat.st_mtime_ns} {os.path.realpath(source)}"
    index_path = os.path.join(paths.bases(), "index.json")
    index: dict[str, str] = files.read_json(index_path) or {}
    if key not in index:
        with open(source, "rb") as file:
            index[key] = hashlib.file_digest(file, "sha256").hexdigest()
        files.write_json(index_path, index)
    return index[key]


def backing(path: str, driver: str) -> str:
    """The base of an overlay, or ''."""
    return str(info(path, driver).get("full-backing-filename", ""))
