"""The engine is killed, and the power is cut, at random moments of pull, load, build, commit, rmi and prune.

A few rounds by default; WHERRY_CRASH_ROUNDS=100 for many, WHERRY_CRASH_SEED for the same ones again.
"""

import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from crashes_rig import Workload, image_archive, publish, run_until
from native_engine import NativeEngine
from registry_rig import RealRegistry, real_registry

pytestmark = pytest.mark.root

ROUNDS = int(os.environ.get("WHERRY_CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("WHERRY_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    with real_registry(tmp_path / "registry") as made:
        yield made


def test_killed_at_any_moment_every_image_is_whole_and_nothing_is_left(
    fresh_engine: NativeEngine, registry: RealRegistry
) -> None:
    engine, pulled = fresh_engine, f"{registry.host}/pulled:1"
    assert engine.call("POST", "/images/load", image_archive(pulled, 9)).status == 200
    assert b'"aux"' in engine.call("POST", f"/images/{registry.host}/pulled/push", tag="1").body
    index = publish(registry)
    moments = random.Random(SEED)  # noqa: S311 - no secret
    done: Counter[str] = Counter()
    for number in range(ROUNDS):
        workload = Workload(engine, pulled, index, SEED + number)
        run_until(workload, moments.uniform(0.1, 2.0))
        engine.kill()
        workload.stop()
        engine.start()
        try:
            workload.check()
        except AssertionError as exc:
            raise AssertionError(f"round {number} of WHERRY_CRASH_SEED={SEED}: {exc}") from exc
        done += workload.done
        engine.remove_containers()
    print(dict(done))  # noqa: T201 - with -s, what a large run did
    assert sum(done.values()) > ROUNDS


def test_power_cut_at_any_moment_leaves_every_image_whole_and_what_was_answered() -> None:
    """powercut.py, in a mount namespace of its own: nobody else may hold the file system that is cut off."""
    with tempfile.TemporaryDirectory(prefix="wherry-cut-") as folder:
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", sys.executable,
             str(Path(__file__).with_name("powercut.py")), folder, str(ROUNDS), str(SEED)],
            capture_output=True, text=True, check=False, timeout=120 + 30 * ROUNDS,
        )  # fmt: skip
    print(done.stdout)  # noqa: T201
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
