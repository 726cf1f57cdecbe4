"""Every snapshot driver keeps the same promises about names and records. Nothing is mounted here, but for the
file system that a driver needs. What is in the files: tests/guest/test_snapshots_files.py.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from file_systems import TESTABLE_DRIVERS, btrfs, open_driver, remove_driver

from wherryd.errors import Conflict, InvalidParameter, NotFound
from wherryd.snapshots.protocol import Kind, SnapshotInfo, Snapshotter

Open = Callable[[], Snapshotter]


@pytest.fixture(scope="module")
def btrfs_root() -> Iterator[Path]:
    with btrfs() as mounted:
        yield mounted


@pytest.fixture(params=TESTABLE_DRIVERS)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The driver's own folder."""
    if request.param == "btrfs":
        mounted: Path = request.getfixturevalue("btrfs_root")
        return Path(tempfile.mkdtemp(dir=mounted)) / "btrfs"
    return tmp_path / str(request.param)


@pytest.fixture
def reopen(root: Path) -> Iterator[Open]:
    """Opens the driver on the same directory again, as a restarted engine does."""
    yield lambda: open_driver(root)
    remove_driver(root, open_driver(root))


@pytest.fixture
def snapshotter(reopen: Open) -> Snapshotter:
    return reopen()


def layer(snapshotter: Snapshotter, name: str, parent: str, files: dict[str, str]) -> None:
    key = f"making-{name}"
    snapshotter.prepare(key, parent)
    directory = snapshotter.unpack_target(key).directory
    for path, text in files.items():
        (directory / path).write_text(text)
    snapshotter.commit(key, name)


def test_empty_writable_snapshot_is_one_bind(snapshotter: Snapshotter) -> None:
    (mount,) = snapshotter.prepare("one", "")
    assert mount.type == "bind"
    assert mount.target == ""
    assert "rw" in mount.options
    assert Path(mount.source).is_dir()


def test_mounts_are_the_same_when_asked_again(snapshotter: Snapshotter) -> None:
    layer(snapshotter, "base", "", {"a": "1"})
    assert snapshotter.prepare("box", "base") == snapshotter.mounts("box")
    assert snapshotter.view("look", "base") == snapshotter.mounts("look")


def test_commit_gives_the_key_up_and_takes_the_name(snapshotter: Snapshotter) -> None:
    layer(snapshotter, "base", "", {"a": "1"})
    assert snapshotter.stat("base") == SnapshotInfo("base", "", Kind.COMMITTED)
    with pytest.raises(NotFound):
        snapshotter.stat("making-base")
    assert (snapshotter.layer_directory("base") / "a").read_text() == "1"


def test_commit_to_a_taken_name_is_a_conflict_and_keeps_the_active_one(snapshotter: Snapshotter) -> None:
    layer(snapshotter, "base", "", {})
    snapshotter.prepare("again", "")
    with pytest.raises(Conflict):
        snapshotter.commit("again", "base")
    assert snapshotter.stat("again").kind is Kind.ACTIVE


def test_key_can_be_taken_only_once(snapshotter: Snapshotter) -> None:
    snapshotter.prepare("one", "")
    with pytest.raises(Conflict):
        snapshotter.prepare("one", "")
    with pytest.raises(Conflict):
        snapshotter.view("one", "")


def test_parent_must_exist_and_be_committed(snapshotter: Snapshotter) -> None:
    with pytest.raises(NotFound):
        snapshotter.prepare("one", "missing")
    snapshotter.prepare("active", "")
    with pytest.raises(Conflict):
        snapshotter.prepare("two", "active")
    assert [info.key for info in snapshotter.walk()] == ["active"]


def test_parent_cannot_be_removed_before_its_child(snapshotter: Snapshotter) -> None:
    layer(snapshotter, "base", "", {})
    snapshotter.prepare("box", "base")
    with pytest.raises(Conflict, match="parent"):
        snapshotter.remove("base")
    snapshotter.remove("box")
    snapshotter.remove("base")
    assert list(snapshotter.walk()) == []


@pytest.mark.parametrize("restart", [False, True])
def test_a_snapshot_set_aside_is_gone_at_once_and_its_files_by_the_next_start(
    snapshotter: Snapshotter, reopen: Open, restart: bool
) -> None:
    snapshotter.prepare("box", "")
    directory = snapshotter.unpack_target("box").directory
    (directory / "file").write_text("x")
    free = snapshotter.set_aside("box")
    if free is None:
        pytest.skip("this driver removes in one step")
    with pytest.raises(NotFound):
        snapshotter.stat("box")
    assert not directory.exists()
    trash = directory.parent.parent / "trash"
    assert len(list(trash.iterdir())) == 1
    snapshotter.prepare("box", "")
    if restart:
        reopen()
    else:
        free()
    assert list(trash.iterdir()) == []


def test_remove_of_the_unknown_is_not_found(snapshotter: Snapshotter) -> None:
    with pytest.raises(NotFound):
        snapshotter.remove("nothing")


@pytest.mark.parametrize("key", ["", "a/b", "../up", "a|b", "a b", "x" * 300])
def test_key_that_is_no_plain_word_is_refused(snapshotter: Snapshotter, key: str) -> None:
    with pytest.raises(InvalidParameter):
        snapshotter.prepare(key, "")


def test_committed_snapshot_cannot_be_written(snapshotter: Snapshotter) -> None:
    layer(snapshotter, "base", "", {})
    with pytest.raises(Conflict):
        snapshotter.unpack_target("base")
    with pytest.raises(Conflict):
        snapshotter.commit("base", "other")


def test_view_is_read_only(snapshotter: Snapshotter) -> None:
    layer(snapshotter, "base", "", {"a": "1"})
    layer(snapshotter, "top", "base", {"b": "2"})
    for parent in ("base", "top"):
        (mount,) = snapshotter.view(f"look-{parent}", parent)
        assert "ro" in mount.options or not any(option.startswith("upperdir=") for option in mount.options)


def test_walk_shows_parents_before_children(snapshotter: Snapshotter) -> None:
    layer(snapshotter, "z", "", {})
    layer(snapshotter, "m", "z", {})
    layer(snapshotter, "a", "m", {})
    snapshotter.prepare("box", "a")
    assert [info.key for info in snapshotter.walk()] == ["z", "m", "a", "box"]


def test_usage_counts_a_hard_link_once(snapshotter: Snapshotter) -> None:
    snapshotter.prepare("one", "")
    directory = snapshotter.unpack_target("one").directory
    before = snapshotter.usage("one")
    (directory / "a").write_bytes(b"x" * 100_000)
    os.link(directory / "a", directory / "b")
    after = snapshotter.usage("one")
    assert after.inodes == before.inodes + 1
    assert 100_000 <= after.size_bytes - before.size_bytes < 150_000


def test_everything_is_there_again_after_a_restart(reopen: Open) -> None:
    first = reopen()
    layer(first, "sha256:" + "a" * 64, "", {"a": "1"})
    mounts = first.prepare("box", "sha256:" + "a" * 64)
    second = reopen()
    assert list(second.walk()) == list(first.walk())
    assert second.mounts("box") == mounts
    second.prepare("other", "sha256:" + "a" * 64)
    assert second.mounts("other") != mounts


def test_restart_removes_folders_without_a_record(reopen: Open, root: Path) -> None:
    first = reopen()
    first.prepare("kept", "")
    kept = first.unpack_target("kept").directory
    stray = kept.parent / "zz"
    (stray / "deep").mkdir(parents=True)
    unfinished = root / "m" / "zz.new"
    unfinished.symlink_to("committed|x|")
    reopen()
    assert kept.is_dir()
    assert not stray.exists()
    assert not unfinished.is_symlink()


def test_failed_prepare_leaves_nothing(snapshotter: Snapshotter, root: Path) -> None:
    with pytest.raises(NotFound):
        snapshotter.prepare("one", "missing")
    assert list((root / "l").iterdir()) == []


def test_new_snapshot_has_its_parents_mode_on_the_root(snapshotter: Snapshotter) -> None:
    snapshotter.prepare("making", "")
    snapshotter.unpack_target("making").directory.chmod(0o1751)
    snapshotter.commit("making", "base")
    snapshotter.prepare("box", "base")
    assert snapshotter.unpack_target("box").directory.stat().st_mode & 0o7777 == 0o1751


def test_tree_deeper_than_the_recursion_limit_is_removed(snapshotter: Snapshotter) -> None:
    snapshotter.prepare("deep", "")
    top = snapshotter.unpack_target("deep").directory
    here = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)  # noqa: PTH102 - deeper than a path may be long
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    snapshotter.remove("deep")
    assert not top.exists()
    assert list((top.parent.parent / "trash").iterdir()) == []
