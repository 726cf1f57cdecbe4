"""Pulls from a real registry through a proxy that cuts them at fifty random bytes of what the registry sends.

WHERRY_CUT_SEED: the same places again.
"""

import os
import random
from pathlib import Path

import pytest
from cutting_proxy import CuttingProxy, cutting_proxy
from images_rig import pieces, saved
from registry_rig import real_registry
from test_registry_service import Engine, config, layers

from wherryd.errors import EngineError

pytestmark = pytest.mark.root

PLACES = 50
SEED = int(os.environ.get("WHERRY_CUT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)


async def _publish(engine: Engine, name: str) -> str:
    """Puts an image of two layers there and forgets it here; its id."""
    made = layers(2, 60_000)
    async for _ in engine.images.load(pieces(saved(config(made), made, [name]))):
        pass
    image_id = engine.images.resolve(name).id
    await engine.push(name)
    await engine.images.remove(image_id, force=True)
    assert not engine.unowned()
    return image_id


async def _pulled(engine: Engine, name: str) -> EngineError | None:
    """How it failed, None when it did not."""
    try:
        lines = await engine.pull(name)
    except EngineError as exc:
        return exc
    assert lines[-1]["status"].startswith("Status: Downloaded newer image")
    return None


async def test_pull_cut_at_any_byte_resumes_or_fails_and_the_next_one_succeeds(tmp_path: Path) -> None:
    places = random.Random(SEED)  # noqa: S311 - no secret
    async with Engine(tmp_path, "overlay") as engine:
        with real_registry(tmp_path / "registry") as registry:
            image_id = await _publish(engine, f"{registry.host}/cut:1")
            async with cutting_proxy(registry.host) as proxy:
                await _all_places(engine, proxy, image_id, places)


async def _all_places(engine: Engine, proxy: CuttingProxy, image_id: str, places: random.Random) -> None:
    name = f"{proxy.host}/cut:1"
    assert await _pulled(engine, name) is None
    total, outcomes = proxy.passed, []
    for number in range(PLACES):
        await engine.images.remove(image_id, force=True)
        # Without connections that are open from before, every place is reached in the same way.
        await engine.registry.close()
        byte, lasting = places.randrange(total), number % 2 == 1
        proxy.cut_at(byte, lasting=lasting)
        problem = await _pulled(engine, name)
        where = f"cut at byte {byte} of {total}, WHERRY_CUT_SEED={SEED}: {problem}"
        assert proxy.cuts, where
        if problem is None:
            assert not lasting, where
        else:
            assert str(problem), where
            assert engine.images.count() == 0, where
            await engine.images.prune()
            assert not engine.unowned(), where
        outcomes.append(problem is None)
        proxy.heal()
        if problem is not None:
            assert await _pulled(engine, name) is None, where
        assert engine.images.resolve(name).id == image_id
        assert not engine.unowned(), where
    # A connection that breaks once is no reason to give up.
    assert all(outcomes[::2]), outcomes
    print(f"{sum(outcomes)} of {PLACES} pulls went on after the cut, the others failed and were pulled again")  # noqa: T201
