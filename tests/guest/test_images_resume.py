"""A pull that was interrupted goes on where it was, also in the next engine; and leaves nothing for ever."""

import asyncio
import errno
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import pytest
from aiohttp import web
from images_rig import archive, entry
from test_registry_service import (
    Cut,
    Engine,
    FakeRegistry,
    config,
    fake_registry,
    publish,
    sha256,
)

from wherryd.content.store import ContentStore
from wherryd.errors import SystemFault, Unavailable
from wherryd.images.leases import LIFETIME_SECONDS

pytestmark = pytest.mark.root

MIB = 1024 * 1024
SMALL = archive(entry("small", b"s" * 1000))
LARGE = archive(entry("large", random.Random(1).randbytes(4 * MIB)))  # noqa: S311 - no secret


@pytest.fixture(params=["overlay", "vfs"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    async with Engine(tmp_path, request.param) as made:
        yield made


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as made:
        publish(made, "a/b:1", [SMALL, LARGE], compress=bytes)
        yield made


def _beginnings(engine: Engine) -> list[Path]:
    return list((engine.root / "content/partial").iterdir())


async def _interrupted(engine: Engine, fake: FakeRegistry) -> str:
    """A pull of a/b:1 of which the first layer is done and 3 MB of the second came; the name."""

    async def cut(request: web.Request) -> None:
        if request.path.endswith(sha256(LARGE)):
            while not engine.database.query("SELECT * FROM layers"):
                await asyncio.sleep(0.01)
            # From here on nothing else is read.
            fake.cuts[:] = fake.cuts or [Cut(3 * MIB), *(Cut(0) for _ in range(20))]

    fake.hooks.append(cut)
    with pytest.raises(Unavailable):
        await engine.pull(f"{fake.host}/a/b:1")
    fake.hooks.clear()
    fake.cuts.clear()
    fake.seen.clear()
    return f"{fake.host}/a/b:1"


async def test_next_engine_goes_on_with_the_same_pull(engine: Engine, fake: FakeRegistry) -> None:
    name = await _interrupted(engine, fake)
    await engine.restart()
    assert [path.name for path in _beginnings(engine)] == [sha256(LARGE).removeprefix("sha256:")]
    said = await engine.pull(name)
    assert any(line["status"] == "Already exists" for line in said), "the first layer was kept"
    (asked,) = fake.asked("GET", "/blobs/" + sha256(LARGE))
    assert int(asked.headers["range"].removeprefix("bytes=").removesuffix("-")) >= 2 * MIB
    assert engine.images.resolve(name).size_bytes == 1000 + 4 * MIB
    assert not engine.unowned()
    assert not engine.database.query("SELECT * FROM leases")


async def test_beginning_that_suffered_is_fetched_again(engine: Engine, fake: FakeRegistry) -> None:
    name = await _interrupted(engine, fake)
    (beginning,) = _beginnings(engine)
    with beginning.open("r+b") as file:
        os.pwrite(file.fileno(), bytes(4096), 1 * MIB)  # blocks that a power cut left unwritten
    await engine.pull(name)
    assert engine.images.resolve(name).size_bytes == 1000 + 4 * MIB
    assert not engine.unowned()


async def test_beginning_that_is_longer_than_the_blob_is_fetched_again(
    engine: Engine, fake: FakeRegistry
) -> None:
    name = await _interrupted(engine, fake)
    with _beginnings(engine)[0].open("ab") as file:
        file.write(bytes(4 * MIB))
    await engine.pull(name)
    assert not engine.unowned()


async def test_prune_gives_back_what_an_interrupted_pull_left(engine: Engine, fake: FakeRegistry) -> None:
    await _interrupted(engine, fake)
    (beginning,) = _beginnings(engine)
    kept = beginning.stat().st_size
    assert kept >= 2 * MIB
    done = await engine.images.prune()
    assert done["SpaceReclaimed"] == kept + 1000, "the beginning of one layer, and the other whole"
    assert not _beginnings(engine)
    assert not engine.unowned()
    assert not engine.database.query("SELECT * FROM layers")


async def test_nobody_comes_back_and_it_goes_by_itself(engine: Engine, fake: FakeRegistry) -> None:
    await _interrupted(engine, fake)
    with engine.database.transaction() as cursor:
        cursor.execute("UPDATE leases SET expires_at = expires_at - ?", (LIFETIME_SECONDS + 1,))
    await engine.restart()
    assert not _beginnings(engine)
    assert not engine.unowned()
    assert not engine.database.query("SELECT * FROM layers")


async def test_removal_of_another_image_leaves_it_alone(engine: Engine, fake: FakeRegistry) -> None:
    publish(fake, "other:1", [archive(entry("other", b"o"))])
    await _interrupted(engine, fake)
    await engine.pull(f"{fake.host}/other:1")
    await engine.images.remove(f"{fake.host}/other:1")
    assert _beginnings(engine)
    assert len(engine.database.query("SELECT * FROM layers")) == 1


async def test_two_images_with_one_blob_do_not_share_its_beginning(
    engine: Engine, fake: FakeRegistry
) -> None:
    fake.add_image("c", "1", config([LARGE]), [LARGE])
    await asyncio.gather(engine.pull(f"{fake.host}/c:1"), engine.pull(f"{fake.host}/a/b:1"))
    assert len(engine.database.query("SELECT * FROM layers")) == 3
    assert not engine.unowned()


async def test_kept_layer_that_waits_for_the_one_below_is_not_written_twice(
    engine: Engine, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On vfs, where a layer is unpacked into a copy of the one below, and so waits for it on the disk."""

    def refuse(_store: ContentStore) -> BinaryIO:
        raise AssertionError("it lies among the beginnings already")

    monkeypatch.setattr(ContentStore, "scratch", refuse)
    await engine.pull(f"{fake.host}/a/b:1")
    assert engine.images.resolve(f"{fake.host}/a/b:1").size_bytes == 1000 + 4 * MIB
    assert not _beginnings(engine)
    assert not engine.unowned()


async def test_disk_that_fills_up_is_the_error_of_a_layer_that_has_to_wait_on_it(
    engine: Engine, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it does not wait, keeping it is only for the next time."""

    def full(path: Path, *arguments: object, **named: object) -> BinaryIO:
        if "partial" in path.parts and arguments == ("ab",):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return opened(path, *arguments, **named)  # type: ignore[arg-type, return-value]

    opened = Path.open
    monkeypatch.setattr(Path, "open", full)
    if engine.driver == "overlay":
        await engine.pull(f"{fake.host}/a/b:1")
    else:
        with pytest.raises(SystemFault, match="No space left on device"):
            await engine.pull(f"{fake.host}/a/b:1")
    assert not _beginnings(engine)
    assert not list((engine.root / "content/ingest").iterdir())
