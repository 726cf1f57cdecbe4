"""What lies below a data root has an owner, and the sums are what `du` says."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from images_engine import ROOTFS, Engine, two_layers
from images_rig import archive, directory, entry
from native_engine import IMAGE, NativeEngine

from wherryd.errors import InvalidParameter, NotFound

pytestmark = pytest.mark.root


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    engine = Engine(tmp_path / "data", "overlay")
    await engine.images.open()
    yield engine
    await engine.images.close()
    engine.database.close()


def du(folder: Path) -> int:
    done = subprocess.run(["du", "-s", "-B1", str(folder)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


async def full(engine: Engine) -> None:
    """Images that share a layer, a container, a volume, a build's cache."""
    await engine.load(two_layers(["two:1"]))
    await engine.bring("one:1")
    big = archive(directory("bin"), *(entry(f"bin/{number}", os.urandom(50_000)) for number in range(60)))
    await engine.bring("big:1", big)
    with engine.database.transaction() as cursor:
        cursor.execute("INSERT INTO containers VALUES ('c1', 'one', '', '{}')")
    await engine.images.prepare_rootfs("c1", engine.images.resolve("one:1"))
    for place in ("containers/c1", "volumes/v/_data", "builder/cache/x"):
        (engine.root / place).mkdir(parents=True)
        (engine.root / place / "file").write_bytes(b"f" * 30_000)
    (engine.root / "volumes/v/volume.json").write_text("{}")


async def test_everything_of_a_full_engine_has_an_owner_and_the_sum_is_what_du_says(engine: Engine) -> None:
    await full(engine)
    report = engine.audit(verify=True)
    assert report.clean, report
    assert report.total_bytes == du(engine.root)
    assert report.sizes["layers"] > 3_000_000
    assert report.sizes["volumes"] >= 30_000
    assert report.sizes["containers"] >= 30_000


async def test_system_df_counts_a_shared_layer_once_and_agrees_with_the_files(engine: Engine) -> None:
    await full(engine)
    images, layers_size = engine.images.disk_usage()
    by_name = {image["RepoTags"][0]: image for image in images}
    assert by_name["one:1"]["SharedSize"] == by_name["one:1"]["Size"] == 1004
    assert by_name["two:1"]["SharedSize"] == 1004
    assert by_name["two:1"]["Size"] == 1014
    assert layers_size == sum(image["Size"] for image in images) - 1004
    script = r'find "$1" -type f -printf "%i %s\n" | sort -u | awk "{ sum += \$2 } END { print sum + 0 }"'
    apparent = 0
    for info in engine.images._snapshotter.walk():
        if info.kind == "committed":
            place = engine.images._snapshotter.layer_directory(info.key)
            done = subprocess.run(["sh", "-c", script, "sh", str(place)], capture_output=True, check=True)
            apparent += int(done.stdout)
    assert layers_size == apparent


def test_system_df_of_a_running_engine_adds_up_to_what_du_says(fresh_engine: NativeEngine) -> None:
    engine = fresh_engine
    noise = archive(directory("d"), *(entry(f"d/{number}", os.urandom(70_000)) for number in range(20)))
    assert engine.call("POST", "/images/create", noise, fromSrc="-", repo="noise", tag="1").status == 200
    write = "dd if=/dev/urandom of=/mine bs=1k count=300 && dd if=/dev/urandom of=/v/f bs=1k count=200"
    done = engine.docker(
        "run", "--network", "none", "--name", "writer", "-v", "kept:/v", IMAGE, "sh", "-c", write
    )
    assert done.returncode == 0, done.stderr.decode()
    found = engine.call("GET", "/system/df").json
    folders = {path.name: path for path in (engine.data_root / "overlay/l").iterdir()}
    committed = {
        folders.pop(link.name)
        for link in (engine.data_root / "overlay/m").iterdir()
        if str(link.readlink()).startswith("committed")
    }
    assert found["LayersSize"] == sum(map(apparent_bytes, committed))
    assert sum(image["Size"] for image in found["Images"]) == found["LayersSize"], "no layer is shared"
    (container,) = found["Containers"]
    assert container["SizeRw"] == sum(map(du_below, folders.values())) >= 300 << 10
    assert (
        container["SizeRootFs"]
        == container["SizeRw"] + engine.call("GET", f"/images/{IMAGE}/json").json["Size"]
    )
    (volume,) = found["Volumes"]
    assert volume["UsageData"]["Size"] == du(engine.data_root / "volumes/kept/_data")
    # And what the engine itself counts, block by block, is the whole folder.
    report = engine.call("GET", "/system/audit").json
    assert report["total_bytes"] == sum(report["sizes"].values())
    assert abs(report["total_bytes"] - du(engine.data_root)) < 1 << 20, "logs and the database go on"


def du_below(folder: Path) -> int:
    """Without the folder itself."""
    return du(folder) - folder.lstat().st_blocks * 512


def apparent_bytes(folder: Path) -> int:
    """Of the regular files below, each once, as `du --apparent-size` counts them; folders are none's."""
    status = (path.lstat() for path in folder.rglob("*"))
    return sum({each.st_ino: each.st_size for each in status if stat.S_ISREG(each.st_mode)}.values())


def stray_blob(root: Path) -> None:
    (root / "content/blobs/sha256" / ("1" * 64)).write_bytes(b"nobody's")


def stray_ingest(root: Path) -> None:
    (root / "content/ingest/tmpx").write_bytes(b"half")


def stray_folder(root: Path) -> None:
    (root / "overlay/l/zz/deep").mkdir(parents=True)


def stray_snapshot(root: Path) -> None:
    (root / "overlay/l/zy").mkdir()
    (root / "overlay/m/zy").symlink_to("committed|sha256:" + "2" * 64 + "|")


def stray_upper(root: Path) -> None:
    (root / "overlay/l/zx").mkdir()
    (root / "overlay/m/zx").symlink_to("active|" + "3" * 64 + "|")


def stray_trash(root: Path) -> None:
    (root / "overlay/trash/zw").mkdir()


STRAYS: list[tuple[Callable[[Path], None], str]] = [
    (stray_blob, "content/blobs/sha256/" + "1" * 64),
    (stray_ingest, "content/ingest/tmpx"),
    (stray_folder, "overlay/l/zz"),
    (stray_snapshot, "overlay/l/zy"),
    (stray_upper, "overlay/l/zx"),
    (stray_trash, "overlay/trash/zw"),
]


@pytest.mark.parametrize(("make", "path"), STRAYS, ids=[path for _, path in STRAYS])
async def test_what_nobody_owns_is_listed_and_gone_after_a_restart(
    engine: Engine, make: Callable[[Path], None], path: str
) -> None:
    await full(engine)
    make(engine.root)
    report = engine.audit()
    assert [each.path for each in report.unowned] == [path]
    assert report.total_bytes == du(engine.root)
    await engine.restart()
    await engine.images.keep_rootfs({"c1"})  # the containers' part of a start
    assert engine.audit(verify=True).clean, engine.audit()


async def test_prune_collects_what_a_running_engine_has_no_use_for(engine: Engine) -> None:
    await full(engine)
    stray_blob(engine.root)
    pruned = await engine.images.prune({"dangling": ["true"]})
    assert pruned["ImagesDeleted"] is None
    assert engine.audit().clean


@pytest.mark.parametrize("what", ["config", "recipe", "files", "contents"])
async def test_damage_is_told_by_the_audit(engine: Engine, what: str) -> None:
    image_id = await engine.bring("app:1")
    layer = engine.images._layers.get(engine.images.resolve("app:1").chain_id)
    blobs = engine.root / "content/blobs/sha256"
    files = engine.images._snapshotter.layer_directory(layer.chain_id)
    if what == "config":
        (blobs / image_id.removeprefix("sha256:")).unlink()
    elif what == "recipe":
        (blobs / layer.recipe.removeprefix("sha256:")).unlink()
    elif what == "files":
        next(
            link for link in (engine.root / "overlay/m").iterdir() if layer.chain_id in str(link.readlink())
        ).unlink()
    else:
        (files / "old").write_bytes(b"x" * 1000)
        assert not engine.audit().damaged  # names and places are right
    (sentence,) = engine.audit(verify=True).damaged
    assert "app:1" in sentence


@pytest.mark.parametrize("what", ["config", "recipe"])
async def test_image_that_lost_its_files_is_not_listed_after_a_start(engine: Engine, what: str) -> None:
    await engine.bring("kept:1", archive(entry("a", b"a")))
    image_id = await engine.bring("lost:1", ROOTFS)
    layer = engine.images._layers.get(engine.images.resolve("lost:1").chain_id)
    lost = image_id if what == "config" else layer.recipe
    (engine.root / "content/blobs/sha256" / lost.removeprefix("sha256:")).unlink()
    await engine.restart()
    with pytest.raises(NotFound):
        engine.images.resolve("lost:1")
    assert engine.images.resolve("kept:1").size_bytes == 1
    assert engine.audit(verify=True).clean, engine.audit()


async def test_audit_command_prints_json_and_tells_by_its_status(engine: Engine, tmp_path: Path) -> None:
    await full(engine)
    command = [sys.executable, "-m", "wherryd.daemon.main", "audit", "--data-root", str(engine.root)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["total_bytes"] == sum(document["sizes"].values()) == du(engine.root)
    stray_blob(engine.root)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1" * 64 in done.stdout
    done = subprocess.run([*command[:-1], str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--data-root" in done.stderr


def test_running_engine_tells_its_audit(fresh_engine: NativeEngine) -> None:
    found = fresh_engine.call("GET", "/system/audit", verify="1").json
    assert (found["unowned"], found["damaged"]) == ([], [])
    assert found["total_bytes"] == sum(found["sizes"].values())
    assert found["sizes"]["layers"] > 1_000_000, "busybox"
    stray_blob(fresh_engine.data_root)
    command = [sys.executable, "-c", "from wherry.cli.main import main; main()", "system", "audit"]
    environment = {**os.environ, "WHERRY_HOST": f"unix://{fresh_engine.socket}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1, done.stderr
    assert f"unowned: content/blobs/sha256/{'1' * 64}" in done.stdout
    fresh_engine.restart()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, "unowned:" in done.stdout, "total" in done.stdout) == (0, False, True)


def test_options_on_the_data_disk_are_taken_at_the_next_start(fresh_engine: NativeEngine) -> None:
    options = {
        "registry-mirrors": ["https://mirror.example"],
        "insecure-registries": ["registry.example:5000"],
    }
    (fresh_engine.data_root / "wherryd.json").write_text(json.dumps(options))
    fresh_engine.restart()
    found = fresh_engine.call("GET", "/info").json["RegistryConfig"]
    assert found["Mirrors"] == ["https://mirror.example"]
    assert found["IndexConfigs"]["registry.example:5000"]["Secure"] is False
    assert fresh_engine.call("GET", "/system/audit").json["unowned"] == []


def test_audit_of_what_is_no_data_root_is_refused(tmp_path: Path) -> None:
    from wherryd.daemon.audit import audit

    with pytest.raises(InvalidParameter, match="no data root"):
        audit(tmp_path)
