"""Which driver keeps the layers: the named one, the one that was there before, or the best that works."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_systems import DEVICEMAPPER_PROBLEM, btrfs

from wherryd.errors import InvalidParameter
from wherryd.snapshots.drivers import open_driver

pytestmark = pytest.mark.root


@pytest.fixture
def on_overlay(tmp_path: Path) -> Iterator[Path]:
    """A folder on overlayfs, as in a container: no upper directory can be there."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    merged = tmp_path / "merged"
    subprocess.run(["mount", "-t", "overlay", "none", "-o", options, merged], check=True)
    try:
        yield merged
    finally:
        subprocess.run(["umount", merged], check=True)


def test_overlay_is_taken_where_it_works(tmp_path: Path) -> None:
    assert open_driver(tmp_path / "data").name == "overlay"
    with btrfs() as disk:
        assert open_driver(disk / "data").name == "overlay"


def test_where_overlay_cannot_be_the_next_one_that_works_is_taken(on_overlay: Path) -> None:
    assert open_driver(on_overlay / "data").name == "vfs"
    with pytest.raises(InvalidParameter, match="is on overlay, which cannot hold its upper directories"):
        open_driver(on_overlay / "data", "overlay")


@pytest.mark.parametrize("name", ["overlay", "overlay2", "vfs"])
def test_named_driver_is_taken(tmp_path: Path, name: str) -> None:
    assert open_driver(tmp_path, name).name == name.removesuffix("2")


def test_named_driver_that_cannot_work_there_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="is not on a btrfs file system"):
        open_driver(tmp_path, "btrfs")
    with btrfs() as disk:
        assert open_driver(disk, "btrfs").name == "btrfs"
    if DEVICEMAPPER_PROBLEM:
        with pytest.raises(InvalidParameter, match="device mapper|thin-pool|missing"):
            open_driver(tmp_path, "devicemapper")
    with pytest.raises(InvalidParameter, match="overlay is its successor"):
        open_driver(tmp_path, "aufs")


def test_what_has_snapshots_there_is_taken_again_and_no_other(tmp_path: Path) -> None:
    first = open_driver(tmp_path, "vfs")
    first.prepare("kept", "")
    assert open_driver(tmp_path).name == "vfs"
    with pytest.raises(InvalidParameter, match="are kept by vfs"):
        open_driver(tmp_path, "overlay")
    first.remove("kept")
    assert open_driver(tmp_path, "overlay").name == "overlay"
