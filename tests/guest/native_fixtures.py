"""Fixtures of guest and conformance tests.

`engine`: a native wherryd for a whole module, with a busybox image and without containers at the start of
each test. `fresh_engine` is one of the test's own, to be stopped and killed at will.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from native_engine import BUSYBOX, NativeEngine

_numbers = itertools.count(os.getpid())


def skip_without_root(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root"))


def _started() -> Iterator[NativeEngine]:
    if not BUSYBOX.exists():
        pytest.skip("needs Debian's busybox-static (scripts/setup.sh dev)")
    # Short: a unix socket's path holds 107 bytes.
    engine = NativeEngine(Path(tempfile.mkdtemp(prefix="wherry-test-")), next(_numbers))
    try:
        engine.start()
        engine.import_busybox()
        yield engine
    except BaseException:
        print(engine.log_tail())  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        engine.end()


@pytest.fixture(scope="module")
def module_engine() -> Iterator[NativeEngine]:
    yield from _started()


@pytest.fixture
def engine(module_engine: NativeEngine) -> Iterator[NativeEngine]:
    yield module_engine
    module_engine.remove_containers()
    module_engine.remove_networks()


@pytest.fixture
def fresh_engine() -> Iterator[NativeEngine]:
    yield from _started()


@pytest.fixture
def docker_cli() -> str:
    found = shutil.which("docker")
    if found is None:
        pytest.skip("needs the docker command (scripts/setup.sh dev)")
    return found
