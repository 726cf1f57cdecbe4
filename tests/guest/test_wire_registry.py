"""Wire details, 11c: how many layers go to and come from a registry at once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from test_registry_service import Engine, layers, publish

from registry_fake import FakeRegistry, fake_registry  # isort: skip - found by the import above

pytestmark = pytest.mark.root


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with Engine(tmp_path, "overlay") as made:
        yield made


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as made:
        yield made


class Crowd:
    """A hook that holds requests until as many as can come are there, and remembers the most."""

    def __init__(self, method: str, expected: int) -> None:
        self.method, self.expected = method, expected
        self.now = self.most = 0
        self.full = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        if request.method != self.method or "/blobs/" not in request.path:
            return None
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now == self.expected:
            # One more would have come by then.
            asyncio.get_running_loop().call_later(0.2, self.full.set)
        try:
            async with asyncio.timeout(20):
                await self.full.wait()
        finally:
            self.now -= 1
        return None


async def test_a_pull_fetches_three_layers_at_once(engine: Engine, fake: FakeRegistry) -> None:
    publish(fake, "a/b:1", layers(8))
    crowd = Crowd("GET", 3)

    async def hook(request: web.Request) -> web.StreamResponse | None:
        return (
            await crowd(request)
            if fake.blobs.get(request.path.rpartition("/")[2], b"")[:2] == b"\x1f\x8b"
            else None
        )

    fake.hooks.append(hook)
    await engine.pull(f"{fake.host}/a/b:1")
    assert crowd.most == 3


async def test_a_push_sends_five_layers_at_once(engine: Engine, fake: FakeRegistry) -> None:
    async with fake_registry() as source:
        publish(source, "a/b:1", layers(9))
        await engine.pull(f"{source.host}/a/b:1")
        engine.images.tag(engine.images.resolve(f"{source.host}/a/b:1"), f"{fake.host}/c:1")
    crowd = Crowd("POST", 5)
    fake.hooks.append(crowd)
    await engine.push(f"{fake.host}/c:1")
    assert crowd.most == 5
