"""The image service on a real disk: import, load, save, remove, and what is left afterwards."""

import asyncio
import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import zstandard
from images_engine import ROOTFS, SECOND, Engine, seen_through, two_layers
from images_rig import archive, entry, saved

from wherryd.content import digest as digests
from wherryd.errors import Conflict, InvalidParameter, NotFound, SystemFault
from wherryd.images.image import ImageUse
from wherryd.images.layers import chain_ids

pytestmark = pytest.mark.root


@pytest.fixture(params=["overlay", "vfs"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    engine = Engine(tmp_path / "data", request.param)
    await engine.images.open()
    yield engine
    await engine.images.close()
    engine.database.close()


async def test_import_makes_an_image_that_a_container_can_write_on(engine: Engine, tmp_path: Path) -> None:
    image_id = await engine.bring("app:1", ROOTFS, 'CMD ["mariadbd"]', "LABEL tier=db")
    image = engine.images.resolve("app:1")
    assert image.id == image_id
    assert image.tags == ("app:1",)
    assert image.size_bytes == 1004
    assert image.runtime_config == {"Cmd": ["mariadbd"], "Labels": {"tier": "db"}}
    assert image.config["rootfs"]["diff_ids"] == [digests.of(ROOTFS)]
    assert engine.events == [("import", "app:1"), ("tag", "app:1")]
    mounts = await engine.images.prepare_rootfs("c1", image)
    assert await engine.images.rootfs_mounts("c1") == mounts
    assert (
        seen_through(mounts, "cat etc/hostname; echo new > etc/hostname; rm old; ls", tmp_path)
        == "box\netc\n"
    )
    assert seen_through(mounts, "cat etc/hostname", tmp_path) == "new\n"
    other = await engine.images.prepare_rootfs("c2", image)
    assert seen_through(other, "cat etc/hostname", tmp_path) == "box\n"
    assert await engine.images.rootfs_usage("c1") > 0


async def test_whiteouts_of_an_upper_layer_hide_the_lower_one(engine: Engine, tmp_path: Path) -> None:
    await engine.load(two_layers(["two:1"]))
    mounts = await engine.images.prepare_rootfs("c1", engine.images.resolve("two:1"))
    assert seen_through(mounts, "find . -type f", tmp_path) == "./etc/new\n"


async def test_failed_import_leaves_nothing(engine: Engine) -> None:
    with pytest.raises(InvalidParameter, match=r'entry "\.\./evil"'):
        await engine.bring("app:1", archive(entry("a", b"x" * 100_000), entry("../evil", b"x")))
    with pytest.raises(InvalidParameter, match="not a valid change command"):
        await engine.bring("app:1", ROOTFS, "RUN true")
    with pytest.raises(NotFound, match="No such image: app:1"):
        engine.images.resolve("app:1")
    assert engine.nothing_left()
    assert engine.events == []


async def test_import_that_is_broken_off_leaves_nothing(engine: Engine) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield ROOTFS[:1000]
        await asyncio.sleep(3600)

    async def run() -> None:
        async for _ in engine.images.import_tar(endless(), reference="app:1"):
            pass

    task = asyncio.create_task(run())
    while not engine.layers_on_disk():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.nothing_left()


async def test_image_is_found_by_name_id_and_the_beginning_of_its_id(engine: Engine) -> None:
    image_id = await engine.bring("app")
    digits = image_id.removeprefix("sha256:")
    for text in (
        "app",
        "app:latest",
        "docker.io/library/app",
        image_id,
        digits,
        digits[:12],
        f"sha256:{digits[:5]}",
    ):
        assert engine.images.resolve(text).id == image_id
    for text in ("app:2", "f" * 64, "0" * 12, "sha256:" + "f" * 64):
        if not image_id.startswith(f"sha256:{text}"):
            with pytest.raises(NotFound, match="No such image: "):
                engine.images.resolve(text)
    with pytest.raises(InvalidParameter, match="invalid reference format"):
        engine.images.resolve("A b")


async def test_saved_image_is_loaded_again_with_the_same_id(engine: Engine) -> None:
    await engine.load(two_layers(["two:1", "reg.example.com/two:x"]))
    image = engine.images.resolve("two:1")
    packed = await engine.save("two:1", "reg.example.com/two:x")
    assert packed == await engine.save("two:1", "reg.example.com/two:x")
    await engine.images.remove(image.id, force=True)
    assert engine.nothing_left()
    lines = await engine.load(packed)
    assert [line["stream"] for line in lines if "stream" in line] == [
        "Loaded image: two:1\n",
        "Loaded image: reg.example.com/two:x\n",
    ]
    assert engine.images.resolve("two:1") == image


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
async def test_saved_image_is_loaded_from_whatever_it_was_compressed_with(
    engine: Engine, compress: Callable[[bytes], bytes]
) -> None:
    packed = compress(two_layers(["two:1"]))
    lines = await engine.load(packed)
    assert lines[-1]["stream"] == "Loaded image: two:1\n"
    assert len(engine.images.resolve("two:1").config["rootfs"]["diff_ids"]) == 2
    with pytest.raises(InvalidParameter, match="damaged|not an archive"):
        await engine.load(packed[: len(packed) // 2])
    assert not list((engine.root / "content/ingest").iterdir())


async def test_saved_archive_holds_both_layouts_and_they_agree(engine: Engine) -> None:
    await engine.load(two_layers(["two:1"]))
    with tarfile.open(fileobj=io.BytesIO(await engine.save("two"))) as tar:
        read = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]
    (entry_,) = json.loads(read["manifest.json"])
    assert entry_["RepoTags"] == ["two:1"]
    assert [digests.of(read[name]) for name in entry_["Layers"]] == [digests.of(ROOTFS), digests.of(SECOND)]
    (descriptor,) = json.loads(read["index.json"])["manifests"]
    assert descriptor["annotations"]["io.containerd.image.name"] == "docker.io/library/two:1"
    manifest = json.loads(read["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")])
    assert "blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:") == entry_["Config"]
    for name, data in read.items():
        if name.startswith("blobs/"):
            assert digests.of(data).removeprefix("sha256:") == name.rpartition("/")[2]


async def test_save_of_an_unknown_name_fails_before_the_first_byte(engine: Engine) -> None:
    with pytest.raises(NotFound):
        engine.images.save(["nothing:1"])


async def test_save_notices_a_layer_that_was_changed_on_disk(engine: Engine) -> None:
    await engine.bring("app:1")
    (folder,) = (engine.root / engine.driver / "l").iterdir()
    (folder / "etc/hostname").write_bytes(b"bad\n")
    with pytest.raises(SystemFault, match="changed on disk"):
        await engine.save("app:1")


async def test_load_with_a_layer_other_than_the_config_says_is_refused(engine: Engine) -> None:
    config = json.dumps({"os": "linux", "rootfs": {"diff_ids": [digests.of(SECOND)]}}).encode()
    with pytest.raises(InvalidParameter, match="the image's config says"):
        await engine.load(saved(config, [ROOTFS], ["bad:1"]))
    with pytest.raises(InvalidParameter, match="expected 1, got 2"):
        await engine.load(saved(config, [ROOTFS, SECOND], ["bad:1"]))
    assert engine.nothing_left()


async def test_shared_layer_is_stored_once_and_goes_with_its_last_image(engine: Engine) -> None:
    await engine.bring("app:1")
    await engine.load(two_layers(["two:1"]))
    assert engine.layers_on_disk() == 2
    assert {image["RepoTags"][0]: image["SharedSize"] for image in engine.images.disk_usage()[0]} == {
        "app:1": 1004,
        "two:1": 1004,
    }
    assert engine.images.disk_usage()[1] == 1014
    bottom, top = chain_ids([digests.of(ROOTFS), digests.of(SECOND)])
    gone = await engine.images.remove("two:1")
    assert gone[0] == {"Untagged": "two:1"}
    assert gone[2:] == [{"Deleted": top}]
    gone = await engine.images.remove("app:1")
    assert gone[2:] == [{"Deleted": bottom}]
    assert engine.nothing_left()


async def test_rmi_of_one_of_two_names_only_untags(engine: Engine) -> None:
    image_id = await engine.bring("app:1")
    engine.images.tag(engine.images.resolve("app:1"), "other:2")
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is referenced in multiple repositories"):
        await engine.images.remove(image_id[7:19])
    assert await engine.images.remove("app:1") == [{"Untagged": "app:1"}]
    assert engine.images.resolve("other:2").id == image_id
    assert [event[0] for event in engine.events] == ["import", "tag", "tag", "untag"]


async def test_rmi_rules_for_containers_are_dockers(engine: Engine) -> None:
    image_id = await engine.bring("app:1")
    short = image_id[7:19]
    uses = [ImageUse("c" * 64, running=False)]
    engine.images.in_use = lambda found: uses if found == image_id else []
    with pytest.raises(Conflict) as caught:
        await engine.images.remove("app:1")
    assert str(caught.value) == (
        'conflict: unable to remove repository reference "app:1" (must force) - container cccccccccccc is '
        f"using its referenced image {short}"
    )
    with pytest.raises(Conflict) as caught:
        await engine.images.remove(short)
    assert str(caught.value) == (
        f"conflict: unable to delete {short} (must be forced) - image is being used by stopped container "
        "cccccccccccc"
    )
    uses[0] = ImageUse("c" * 64, running=True)
    with pytest.raises(Conflict, match=r"\(cannot be forced\) - image is being used by running container"):
        await engine.images.remove(short, force=True)
    assert engine.images.resolve("app:1").id == image_id


async def test_layers_of_a_removed_image_live_until_their_container_goes(
    engine: Engine, tmp_path: Path
) -> None:
    image_id = await engine.bring("app:1")
    mounts = await engine.images.prepare_rootfs("c1", engine.images.resolve("app:1"))
    engine.images.in_use = lambda _: [ImageUse("c1", running=False)]
    gone = await engine.images.remove("app:1", force=True)
    assert gone == [{"Untagged": "app:1"}, {"Deleted": image_id}]
    assert seen_through(mounts, "cat etc/hostname", tmp_path) == "box\n"
    await engine.restart()
    assert seen_through(await engine.images.rootfs_mounts("c1"), "cat etc/hostname", tmp_path) == "box\n"
    await engine.images.remove_rootfs("c1")
    await engine.images.remove_rootfs("c1")
    assert engine.nothing_left()


async def test_restart_keeps_images_and_sweeps_left_overs(engine: Engine) -> None:
    image_id = await engine.bring("app:1")
    before = engine.images.list()
    stray = engine.root / "content/blobs/sha256" / ("0" * 64)
    stray.write_bytes(b"nobody's")
    await engine.restart()
    assert engine.images.list() == before
    assert not stray.exists()
    assert engine.images.resolve(image_id).tags == ("app:1",)
    # a layer whose image was never stored: the engine died between the two
    with engine.database.transaction() as cursor:
        cursor.execute("DELETE FROM tags")
        cursor.execute("DELETE FROM images")
    await engine.restart()
    assert engine.nothing_left()


async def test_restart_removes_a_layer_that_was_being_unpacked(engine: Engine) -> None:
    # what a killed engine leaves: the pipe's end closed, the snapshot there
    engine.images._snapshotter.prepare("unpack-0123456789abcdef", "")
    assert engine.layers_on_disk() == 1
    await engine.restart()
    assert engine.nothing_left()


async def test_a_power_cut_that_took_a_layers_row_takes_no_file_system_on_it(engine: Engine) -> None:
    await engine.bring("app:1")
    image = engine.images.resolve("app:1")
    kept = await engine.images.prepare_rootfs("c1", image)
    await engine.images.prepare_rootfs("build-0123456789abcdef", image)
    with engine.database.transaction() as cursor:
        cursor.execute("DELETE FROM layers")
    await engine.restart()
    assert await engine.images.rootfs_mounts("c1") == kept
    with pytest.raises(NotFound):
        await engine.images.rootfs_mounts("build-0123456789abcdef")
    # With the container, what it lay on is nobody's.
    await engine.images.keep_rootfs(())
    await engine.restart()
    assert engine.nothing_left()


async def test_file_systems_of_unknown_containers_are_removed_at_start(engine: Engine) -> None:
    await engine.bring("app:1")
    image = engine.images.resolve("app:1")
    kept = await engine.images.prepare_rootfs("c1", image)
    await engine.images.prepare_rootfs("c2", image)
    await engine.restart()
    await engine.images.keep_rootfs({"c1"})
    assert await engine.images.rootfs_mounts("c1") == kept
    with pytest.raises(NotFound):
        await engine.images.rootfs_mounts("c2")


async def test_tag_moves_and_the_old_image_is_dangling_until_pruned(engine: Engine) -> None:
    old = await engine.bring("app:1")
    new = await engine.bring("app:1", archive(entry("other", b"x" * 500)))
    dangling = engine.images.list(filters={"dangling": ["true"]})
    assert [image["Id"] for image in dangling] == [old]
    assert dangling[0]["RepoTags"] == []
    done = await engine.images.prune({})
    assert {"Deleted": old} in done["ImagesDeleted"]
    assert done["SpaceReclaimed"] == 1004
    assert [image["Id"] for image in engine.images.list()] == [new]
    assert await engine.images.prune({}) == {"ImagesDeleted": None, "SpaceReclaimed": 0}
    engine.images.in_use = lambda _: [ImageUse("c1", running=False)]
    assert (await engine.images.prune({"dangling": ["false"]}))["ImagesDeleted"] is None
    engine.images.in_use = lambda _: []
    assert (await engine.images.prune({"dangling": ["false"]}))["ImagesDeleted"][0] == {"Untagged": "app:1"}


async def test_load_over_a_taken_name_says_what_it_renames(engine: Engine) -> None:
    old = await engine.bring("two:1")
    lines = await engine.load(two_layers(["two:1"]))
    assert any(
        f"renaming the old one with ID {old} to empty string" in line.get("stream", "") for line in lines
    )


async def test_inspect_and_history_show_the_layers(engine: Engine) -> None:
    await engine.load(two_layers(["two:1"]))
    image = engine.images.resolve("two:1")
    document = engine.images.inspect(image)
    assert document["RootFS"] == {"Type": "layers", "Layers": [digests.of(ROOTFS), digests.of(SECOND)]}
    assert document["Size"] == 1014
    assert document["GraphDriver"]["Name"] == engine.driver
    steps = engine.images.history(image)
    assert [(step["CreatedBy"], step["Size"]) for step in steps] == [("three", 10), ("two", 0), ("one", 1004)]
    assert [step["Id"] for step in steps] == [image.id, "<missing>", "<missing>"]
    assert steps[0]["Tags"] == ["two:1"]


async def test_two_imports_of_the_same_archive_at_once_share_the_layer(engine: Engine) -> None:
    first, second = await asyncio.gather(engine.bring("a:1"), engine.bring("b:1"))
    assert first != second
    assert engine.layers_on_disk() == 1
