"""The process that copying children are forked from: one for all, made again when killed, gone in the end."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from builder_rig import built, saved, tree
from native_engine import NativeEngine

from wherryd.builder.copying import process
from wherryd.builder.copying.order import CopyOrder, Inline, Part
from wherryd.builder.copying.process import Copiers
from wherryd.errors import InvalidParameter, SystemFault
from wherryd.spec.mount import Mount

pytestmark = pytest.mark.root

FILES = {"Dockerfile": "FROM scratch\nCOPY app /app\n", "app": "app"}


def copiers_of(parent: int) -> list[int]:
    """Processes below parent with the name of the server's program."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and f"PPid:\t{parent}\n" in (entry / "status").read_text():
                name = (entry / "comm").read_text().strip()
                found += [int(entry.name)] if name == "wherry-copier" else []
    return found


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not Path(f"/proc/{pid}").exists()


def test_one_process_serves_all_builds_and_is_made_again_when_it_was_killed(engine: NativeEngine) -> None:
    for _ in range(2):
        built(engine, FILES, nocache="1")
    (first,) = copiers_of(engine.pid)
    os.kill(first, signal.SIGKILL)
    built(engine, FILES, nocache="1", t="copiers:again")
    (second,) = copiers_of(engine.pid)
    assert first != second
    assert "app" in tree(saved(engine, "copiers:again"))


@pytest.mark.parametrize("end", [NativeEngine.stop, NativeEngine.kill])
def test_it_ends_with_the_engine(fresh_engine: NativeEngine, end: object) -> None:
    built(fresh_engine, FILES, nocache="1")
    (server,) = copiers_of(fresh_engine.pid)
    assert callable(end)
    end(fresh_engine)
    assert gone(server)


@contextlib.asynccontextmanager
async def copiers() -> AsyncIterator[Copiers]:
    made = Copiers()
    try:
        yield made
    finally:
        await made.close()


def order(folder: Path, **given: object) -> CopyOrder:
    """A copy of folder/from into folder/to."""
    for name in ("from", "to", "root"):
        (folder / name).mkdir(exist_ok=True)
    fields = {
        "mount_point": str(folder / "root"),
        "root": (Mount("bind", str(folder / "to"), "", ("rbind", "rw")),),
        "parts": (Part(directory=str(folder / "from"), patterns=("/",)),),
        "destination": "/",
    }
    return CopyOrder(**{**fields, **given})  # type: ignore[arg-type]


async def test_an_order_may_be_large_and_many_come_at_once(tmp_path: Path) -> None:
    text = "x" * 3_000_000
    async with copiers() as made:
        orders = []
        for number in range(20):
            (tmp_path / str(number)).mkdir()
            inline = (Inline(name="large", text=text + str(number)),)
            orders.append(order(tmp_path / str(number), parts=(), inline=inline))
        await asyncio.gather(*map(made.carry_out, orders))
    for number in range(20):
        assert (tmp_path / str(number) / "to" / "large").read_text() == text + str(number)


async def test_a_child_that_is_not_wanted_any_more_is_killed_and_waited_for(tmp_path: Path) -> None:
    wanted = order(tmp_path)
    for number in range(3000):
        (tmp_path / "from" / str(number)).write_bytes(bytes(1000))
    async with copiers() as made:
        work = asyncio.ensure_future(made.carry_out(wanted))
        while not (tmp_path / "to" / "0").exists():
            await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        count = len(list((tmp_path / "to").iterdir()))
        await asyncio.sleep(0.2)
        assert len(list((tmp_path / "to").iterdir())) == count
        # And the next one is served.
        await made.carry_out(order(tmp_path / "to", parts=()))
        assert count < 3000


async def test_faults_are_told_apart(tmp_path: Path) -> None:
    async with copiers() as made:
        missing = order(tmp_path, parts=(Part(directory=str(tmp_path / "from"), patterns=("no",)),))
        with pytest.raises(InvalidParameter, match="stat no: file does not exist"):
            await made.carry_out(missing)
        with pytest.raises(SystemFault):
            await made.carry_out(order(tmp_path, mount_point=str(tmp_path / "nowhere")))


async def test_it_rests_when_nobody_came_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PATIENCE_SECONDS", 0.05)
    async with copiers() as made:
        await made.carry_out(order(tmp_path, parts=()))
        async with asyncio.timeout(30):
            while copiers_of(os.getpid()):
                await asyncio.sleep(0.01)
        await made.carry_out(order(tmp_path, parts=()))
