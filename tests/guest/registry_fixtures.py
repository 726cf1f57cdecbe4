"""Real registries for a whole module. pytest finds a fixture in the module that uses it:
`registry = registry_fixtures.registry`."""

from collections.abc import Iterator

import pytest
from registry_rig import RealRegistry, real_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with real_registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """Wants a password."""
    with real_registry(tmp_path_factory.mktemp("locked"), auth=True) as made:
        yield made
