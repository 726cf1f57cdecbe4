"""The same engine as the guest tests have; the clients here are other people's."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "guest"))

import native_fixtures
import pytest

docker_cli = native_fixtures.docker_cli
engine = native_fixtures.engine
module_engine = native_fixtures.module_engine
fresh_engine = native_fixtures.fresh_engine
pytest_collection_modifyitems = native_fixtures.skip_without_root


@pytest.fixture(autouse=True, scope="session")
def wherry_as_docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """With WHERRY_AS_DOCKER=1, `docker` in all these tests is Wherry's client: `alias docker=wherry`."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("WHERRY_AS_DOCKER") == "1":
            folder = tmp_path_factory.mktemp("alias")
            program = folder / "docker"
            program.write_text(f'#!/bin/sh\nWHERRY_HOST= exec "{sys.executable}" -m wherry "$@"\n')
            program.chmod(0o755)
            patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        yield
