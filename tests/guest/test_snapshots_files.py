"""What is in the files: every driver shows the same root file system for the same layers, and makes the same
layer of the same changes. Names and records: tests/contract/test_snapshots_contract.py.

devicemapper takes part where the kernel has dm-thin-pool, as the box's has.
"""

import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from file_systems import DEVICEMAPPER_PROBLEM, POOL_OPTIONS, POOL_SIZES, TESTABLE_DRIVERS, btrfs, file_system
from images_engine import Engine, seen_through
from images_rig import Entry, archive, directory, entry, hard_link, saved, symlink

from wherryd.content import digest as digests
from wherryd.errors import Conflict
from wherryd.images.image import Image
from wherryd.snapshots.drivers import DRIVERS
from wherryd.snapshots.overlay import OverlayDriver
from wherryd.snapshots.thinpool import ThinPool

pytestmark = pytest.mark.root

#: Layers that the kernel stacks in one mount: overlay.MAX_LAYERS.
MANY_LAYERS = 127
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep


@pytest.fixture(scope="module")
def btrfs_root() -> Iterator[Path]:
    with btrfs() as mounted:
        yield mounted


@pytest.fixture(params=TESTABLE_DRIVERS)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    options = POOL_OPTIONS if request.param == "devicemapper" else ()
    folder = request.getfixturevalue("btrfs_root") if request.param == "btrfs" else None
    # A short path: that of every layer stands in the options of one mount.
    root = Path(tempfile.mkdtemp(prefix="w", dir=folder))
    engine = Engine(root, request.param, options)
    try:
        await engine.images.open()
        yield engine
        await engine.images.keep_rootfs(set())
        for image in engine.images.list(all_images=True):
            await engine.images.remove(image["Id"], force=True)
        await engine.images.close()
    finally:
        engine.database.close()
        if request.param == "devicemapper":
            ThinPool(root / "devicemapper", POOL_SIZES).close()
        shutil.rmtree(root)


def test_devicemapper_takes_part_where_the_kernel_has_it() -> None:
    if DEVICEMAPPER_PROBLEM:
        pytest.skip(DEVICEMAPPER_PROBLEM)


async def image_of(engine: Engine, *layers: bytes) -> Image:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digests.of(layer) for layer in layers]},
    }
    await engine.load(saved(json.dumps(config).encode(), list(dict.fromkeys(layers)), ["box:1"]))
    return engine.images.resolve("box:1")


async def shown(engine: Engine, image: Image, script: str, tmp_path: Path, key: str = "look") -> str:
    """What the script prints in a new container's root file system."""
    mounts = await engine.images.prepare_rootfs(key, image)
    try:
        return seen_through(mounts, script, tmp_path)
    finally:
        await engine.images.remove_rootfs(key)


async def changed(engine: Engine, image: Image, script: str, tmp_path: Path) -> tuple[Image, list[str]]:
    """The image with the script's changes on top, and the names in that layer."""
    mounts = await engine.images.prepare_rootfs("work", image)
    seen_through(mounts, script, tmp_path)
    with engine.images.pinned() as pins:
        layer = await engine.images.commit_rootfs("work", pins)
        assert layer is not None
        config = {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [*image.config["rootfs"]["diff_ids"], layer.diff_id]},
        }
        made = engine.images.add(config, layer=layer, parent=image)
    await engine.images.remove_rootfs("work")
    data = b"".join(engine.images._layers.archive(layer))
    assert digests.of(data) == layer.diff_id
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return made, sorted(member.name for member in tar)


FIND = r"find . -mindepth 1 ! -name lost+found -printf '%p %y %#m %U:%G\n' | sort"
BASE = archive(
    directory("./", mode=0o751),
    directory("gone/deep"),
    entry("gone/deep/f", b"1"),
    directory("opaque/sub"),
    entry("opaque/old", b"old"),
    entry("opaque/sub/old", b"old"),
    directory("kept"),
    entry("kept/a", b"a"),
    entry("kept/b", b"b"),
    entry("file", b"file"),
    directory("swap"),
    entry("swap/in", b"in"),
)
ABOVE = archive(
    entry(".wh.gone"),
    directory("opaque"),
    entry("opaque/new", b"new"),
    entry("opaque/.wh..wh..opq"),
    directory("kept"),
    entry("kept/.wh.a"),
    entry("kept/.wh.never-was"),
    directory("file"),
    entry("file/now-a-directory", b"d"),
    entry("swap", b"now a file"),
)


async def test_whiteouts_and_opaque_directories_hide_what_is_below(engine: Engine, tmp_path: Path) -> None:
    image = await image_of(engine, BASE, ABOVE)
    found = await shown(
        engine, image, "stat -c %a .; find . -mindepth 1 -printf '%p\\n' | sort; cat swap", tmp_path
    )
    assert found.split() == [
        "751", "./file", "./file/now-a-directory", "./kept", "./kept/b", "./opaque", "./opaque/new",
        "./swap", "now", "a", "file",
    ]  # fmt: skip


async def test_directory_in_the_place_of_a_whiteout_shows_nothing_of_before(
    engine: Engine, tmp_path: Path
) -> None:
    again = archive(entry(".wh.kept"), directory("kept"), entry("kept/c", b"c"))
    image = await image_of(engine, BASE, again)
    assert await shown(engine, image, "ls kept", tmp_path) == "c\n"


KINDS: list[Entry] = [
    directory("./"),
    entry("plain", b"p", mode=0o640, uid=1000, gid=1001),
    entry("none", b"secret", mode=0),
    entry("suid", b"s", mode=0o6755, uid=5),
    directory("sticky", mode=0o1777),
    hard_link("other-name", "plain"),
    symlink("link", "/absolute/../plain"),
    symlink("dangling", "nowhere"),
    entry("fifo", kind=tarfile.FIFOTYPE, mode=0o600),
    entry("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
    entry("disk", kind=tarfile.BLKTYPE, devmajor=7, devminor=200, mode=0o660, gid=6),
    entry("ünï\udcff", b"bytes"),
]


async def test_every_kind_of_file_is_shown_with_owner_mode_and_links(engine: Engine, tmp_path: Path) -> None:
    image = await image_of(engine, archive(*KINDS))
    script = FIND + "; stat -c %h plain; stat -c %t:%T null disk; readlink link; cat none other-name"
    lines = (await shown(engine, image, script, tmp_path)).splitlines()
    assert "./none f 0 0:0" in lines
    assert "./plain f 0640 1000:1001" in lines
    assert "./other-name f 0640 1000:1001" in lines
    assert "./suid f 06755 5:0" in lines
    assert "./sticky d 01777 0:0" in lines
    assert "./fifo p 0600 0:0" in lines
    assert "./null c 0666 0:0" in lines
    assert "./disk b 0660 0:6" in lines
    assert lines[len(KINDS) - 1 :] == ["2", "1:3", "7:c8", "/absolute/../plain", "secretp"]


async def test_extended_attributes_and_capabilities_are_kept_and_copied_up(
    engine: Engine, tmp_path: Path
) -> None:
    headers = {
        "SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.user.note": "kept",
    }
    image = await image_of(
        engine, archive(directory("./"), entry("ping", b"p", mode=0o755, pax_headers=headers))
    )
    script = (
        'python3 -c \'import os; print(os.getxattr("ping", "security.capability").hex(), '
        'os.getxattr("ping", "user.note").decode())\''
    )
    expected = f"{CAPABILITY.hex()} kept\n"
    assert await shown(engine, image, script, tmp_path) == expected
    # chmod copies the file up where layers are stacked; its attributes come along.
    assert await shown(engine, image, f"chmod 700 ping; {script}", tmp_path) == expected
    again, names = await changed(engine, image, "chmod 700 ping", tmp_path)
    assert names == ["ping"]
    assert await shown(engine, again, f"stat -c %a ping; {script}", tmp_path) == "700\n" + expected


async def test_attribute_alone_is_a_change(engine: Engine, tmp_path: Path) -> None:
    image = await image_of(engine, archive(directory("./"), entry("a", b"a"), entry("b", b"b")))
    script = 'python3 -c \'import os; os.setxattr("a", "user.note", b"new")\''
    _, names = await changed(engine, image, script, tmp_path)
    assert names == ["a"]


async def test_hole_stays_a_hole_in_every_copy(engine: Engine, tmp_path: Path) -> None:
    script = 'cd "$1" && truncate -s 300M big && printf end >> big && tar --format=pax -cSf - big'
    holes = subprocess.run(
        ["sh", "-c", script, "sh", tmp_path],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    image = await image_of(engine, holes)
    found = await shown(engine, image, "stat -c '%s %b' big; tail -c 3 big", tmp_path)
    size, blocks, end = found.split()
    assert (int(size), end) == ((300 << 20) + 3, "end")
    assert int(blocks) < 1000


async def test_huge_sparse_file_can_be_written(engine: Engine, tmp_path: Path) -> None:
    image = await image_of(engine, BASE)
    size = "300G" if engine.driver != "devicemapper" else "3G"
    found = await shown(
        engine, image, f"truncate -s {size} big && printf x >> big && tail -c 1 big", tmp_path
    )
    assert found == "x"


async def test_changes_of_every_kind_become_the_same_layer(engine: Engine, tmp_path: Path) -> None:
    image = await image_of(engine, BASE)
    script = """
        rm -r gone; rm -r opaque; mkdir opaque; echo new > opaque/new
        echo more >> kept/a; rm file; mkdir file; rm -r swap; echo s > swap
        mknod null c 1 3; mkfifo pipe; ln kept/b kept/c; chmod 0 kept/a; ln -s x link
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'
    """
    again, names = await changed(engine, image, script, tmp_path)
    hides = {name for name in names if "/.wh." in f"/{name}"}
    assert {"kept/a", "kept/c", "opaque/new", "file", "swap", "null", "pipe", "link"} <= set(names)
    assert ".wh.gone" in hides
    assert "sock" not in names
    assert "gone" not in names
    expected = await shown(
        engine,
        again,
        "find . -mindepth 1 -printf '%p %y\\n' | sort; stat -c %h kept/b; cat kept/a kept/c",
        tmp_path,
    )
    assert expected.splitlines() == [
        "./file d", "./kept d", "./kept/a f", "./kept/b f", "./kept/c f", "./link l", "./null c",
        "./opaque d", "./opaque/new f", "./pipe p", "./swap f", "2", "amore", "b",
    ]  # fmt: skip


async def test_directory_of_a_lower_layer_can_be_renamed(engine: Engine, tmp_path: Path) -> None:
    image = await image_of(engine, BASE)
    again, names = await changed(
        engine, image, "mv kept moved && mv gone/deep up && mv moved kept2", tmp_path
    )
    assert {"kept2", "kept2/a", "kept2/b", "up/f"} <= set(names)
    found = await shown(
        engine, again, "cat kept2/a kept2/b up/f; ls -d kept moved gone/deep 2>&1 | wc -l", tmp_path
    )
    assert found == "ab13\n"


async def test_containers_on_one_image_do_not_see_each_other(engine: Engine, tmp_path: Path) -> None:
    image = await image_of(engine, BASE)
    one = await engine.images.prepare_rootfs("one", image)
    two = await engine.images.prepare_rootfs("two", image)
    seen_through(one, "echo mine > file; rm kept/a", tmp_path)
    assert seen_through(two, "cat file; cat kept/a", tmp_path) == "filea"
    assert seen_through(one, "cat file; ls kept", tmp_path) == "mine\nb\n"
    await engine.restart()
    again = await engine.images.rootfs_mounts("one")
    assert seen_through(again, "cat file", tmp_path) == "mine\n"


async def test_usage_is_of_what_was_written_on_top(engine: Engine, tmp_path: Path) -> None:
    image = await image_of(engine, archive(directory("./"), entry("big", os.urandom(3_000_000))))
    mounts = await engine.images.prepare_rootfs("c", image)
    before = await engine.images.rootfs_usage("c")
    seen_through(mounts, "head -c 1000000 /dev/urandom > new; sync -f new", tmp_path)
    grown = await engine.images.rootfs_usage("c") - before
    assert 1_000_000 <= grown < 1_200_000
    if engine.driver != "vfs":  # whole copies take their whole size
        assert before < 100_000


async def test_view_shows_the_image_and_cannot_be_written(engine: Engine, tmp_path: Path) -> None:
    image = await image_of(engine, BASE, ABOVE)
    mounts = await engine.images.view_rootfs("look", image)
    found = seen_through(mounts, "ls kept; touch new 2>/dev/null || echo read-only", tmp_path)
    assert found == "b\nread-only\n"
    with pytest.raises(Conflict):
        await engine.images.view_rootfs("look", image)


async def test_as_many_layers_as_the_limit_lie_on_each_other(engine: Engine, tmp_path: Path) -> None:
    """Made below the unpacker, which would be most of the time."""
    snapshotter, parent = engine.images._snapshotter, ""
    for number in range(MANY_LAYERS):
        snapshotter.prepare("making", parent)
        top = snapshotter.unpack_target("making").directory
        (top / f"f{number}").write_text(str(number))
        (top / "last").write_text(str(number))
        parent = f"layer-{number}"
        snapshotter.commit("making", parent)
    try:
        mounts = snapshotter.prepare("all", parent)
        found = seen_through(mounts, "ls | wc -l; cat last f0 f63; echo x > last; cat last", tmp_path)
        assert found == f"{MANY_LAYERS + 1}\n{MANY_LAYERS - 1}063x\n"
    finally:
        for info in reversed(list(snapshotter.walk())):
            snapshotter.remove(info.key)


async def test_all_goes_with_the_image_and_its_containers(engine: Engine, tmp_path: Path) -> None:
    image = await image_of(engine, BASE, ABOVE, archive(*KINDS))
    mounts = await engine.images.prepare_rootfs("c", image)
    seen_through(mounts, "mkdir -p x/y && chmod 0 x && echo a > opaque/z", tmp_path)
    await engine.images.remove("box:1", force=True)
    assert engine.layers_on_disk() > 0
    await engine.images.remove_rootfs("c")
    assert engine.nothing_left()
    assert engine.audit().clean, engine.audit()


def test_socket_in_a_directory_does_not_stop_a_copy(tmp_path: Path) -> None:
    """vfs copies with cp, which must take them too."""
    driver = DRIVERS["vfs"](tmp_path / "vfs")
    driver.prepare("making", "")
    place = str(driver.unpack_target("making").directory / "s")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(place)
    driver.commit("making", "base")
    driver.prepare("c", "base")
    assert (driver.unpack_target("c").directory / "s").is_socket()


@pytest.mark.parametrize(("kind", "takes_hints"), [("ext4", True), ("btrfs", False)])
def test_layers_are_spread_over_a_disk_whose_file_system_can(kind: str, takes_hints: bool) -> None:
    with file_system(kind, 128 << 20) as root:
        OverlayDriver(root / "overlay")
        shown = subprocess.run(["lsattr", "-d", root / "overlay" / "l"], capture_output=True, check=True)
        assert (b"T" in shown.stdout.split()[0]) is takes_hints
