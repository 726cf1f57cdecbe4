"""`stop` of containers that end in the very moment in which they are to be forced."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from native_engine import NativeEngine

pytestmark = pytest.mark.root

ENDS_AT_ONCE = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done"


def test_stop_without_patience_is_no_error_of_one_that_has_just_ended(engine: NativeEngine) -> None:
    containers = [engine.run("sh", "-c", ENDS_AT_ONCE) for _ in range(12)]
    for container in containers:
        while b"ready" not in engine.call("GET", f"/containers/{container}/logs", stdout="1").body:
            pass

    def stop(container: str) -> tuple[int, str]:
        answer = engine.call("POST", f"/containers/{container}/stop", t="0")
        return answer.status, answer.text

    with ThreadPoolExecutor(len(containers)) as threads:
        answers = list(threads.map(stop, containers))
    assert answers == [(204, "")] * len(containers)
    assert {engine.inspect(each)["State"]["ExitCode"] for each in containers} <= {3, 137}
