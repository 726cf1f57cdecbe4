"""Fixtures around networks_rig.py, for test modules to name: `rig = networks_fixtures.rig`."""

from collections.abc import AsyncIterator
from pathlib import Path

import leaks
import pytest
from networks_rig import MARK, Rig

from wherryd.networks.service import NetworkService


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Nothing of what was made with it may be left in the kernel."""
    with leaks.none_left(MARK), leaks.none_left(str(tmp_path)):
        made = Rig(tmp_path)
        try:
            yield made
        finally:
            await made.remove()


@pytest.fixture
async def service(rig: Rig) -> AsyncIterator[NetworkService]:
    made = rig.service()
    await made.open()
    yield made
    await made.close()
