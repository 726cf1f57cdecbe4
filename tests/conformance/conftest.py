"""The same engine as the guest tests have; the clients here are other people's."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "guest"))

import native_fixtures

docker_cli = native_fixtures.docker_cli
engine = native_fixtures.engine
module_engine = native_fixtures.module_engine
fresh_engine = native_fixtures.fresh_engine
pytest_collection_modifyitems = native_fixtures.skip_without_root
