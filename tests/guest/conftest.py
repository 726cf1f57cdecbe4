"""`engine` and its relatives, see native_fixtures.py."""

import native_fixtures

docker_cli = native_fixtures.docker_cli
engine = native_fixtures.engine
module_engine = native_fixtures.module_engine
fresh_engine = native_fixtures.fresh_engine
pytest_collection_modifyitems = native_fixtures.skip_without_root
