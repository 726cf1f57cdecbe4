"""Fixtures around runtime_rig.py, for test modules to name: `rig = runtime_fixtures.rig`."""

from collections.abc import AsyncIterator

import pytest_asyncio
from runtime_rig import Rig


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig() -> AsyncIterator[Rig]:
    """Its folders are for root only, as the engine's are: a container's root may not walk them."""
    made = Rig()
    await made.client.open()
    yield made
    await made.end()
