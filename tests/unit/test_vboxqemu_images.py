"""What a disk file is, told without trusting what a guest can write."""

from pathlib import Path

import pytest

from vboxqemu import images
from vboxqemu.errors import FileProblem

DESCRIPTOR = '# Disk DescriptorFile\nversion=1\n\nRW 2048 FLAT "{name}" 0\n'


@pytest.mark.parametrize(
    ("head", "driver"),
    [
        (b"QFI\xfb\0\0\0\3", "qcow2"),
        (b"KDMV\1\0\0\0", "vmdk"),
        (b"# Disk DescriptorFile\n", "vmdk"),
        (b"conectix", "vpc"),
        (b"<<< QEMU VM Virtual Disk Image >>>\n".ljust(64, b"\0") + b"\x7f\x10\xda\xbe", "vdi"),
    ],
)
def test_container_formats_are_known_by_their_first_bytes(tmp_path: Path, head: bytes, driver: str) -> None:
    disk = tmp_path / "disk.vdi"
    disk.write_bytes(head.ljust(1024, b"\0"))
    assert images.detect(str(disk)) == driver


@pytest.mark.parametrize("suffix", [".img", ".raw", ".iso"])
def test_raw_disk_stays_raw_although_its_guest_wrote_a_qcow2_header(tmp_path: Path, suffix: str) -> None:
    disk = tmp_path / f"disk{suffix}"
    disk.write_bytes(b"QFI\xfb".ljust(1024, b"\0"))
    assert images.detect(str(disk)) == "raw"


def test_unknown_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.vdi").write_text("hello")
    with pytest.raises(FileProblem, match="VERR_NOT_SUPPORTED"):
        images.detect(str(tmp_path / "text.vdi"))
    for name in ("none.vdi", "none.img"):
        with pytest.raises(FileProblem, match="VERR_FILE_NOT_FOUND"):
            images.detect(str(tmp_path / name))


def test_flat_pair_is_the_raw_file_beside_its_descriptor(tmp_path: Path) -> None:
    descriptor = tmp_path / "seed.vmdk"
    descriptor.write_text(DESCRIPTOR.format(name="seed-flat.img"))
    assert images.flat_extent(str(descriptor)) == str(tmp_path / "seed-flat.img")


@pytest.mark.parametrize("name", ["/etc/shadow", "../x", "a/b", "..\\x"])
def test_descriptor_that_names_a_file_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    descriptor = tmp_path / "seed.vmdk"
    descriptor.write_text(DESCRIPTOR.format(name=name))
    with pytest.raises(FileProblem, match="outside its own folder"):
        images.flat_extent(str(descriptor))


def test_other_disks_have_no_flat_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk.vmdk"
    disk.write_bytes(b"KDMV".ljust(1024, b"\0"))
    assert images.flat_extent(str(disk)) is None
    disk.write_text("# Disk DescriptorFile\n" + 'RW 9 FLAT "a" 0\n' * 2)
    assert images.flat_extent(str(disk)) is None
