"""What belongs to a swarm, in an engine outside of one."""

import pytest
from native_engine import NativeEngine

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs")),
        *(("GET", path) for path in ("/nodes/x", "/services/x", "/tasks/x", "/secrets/x", "/configs/x")),
        *(
            ("POST", path)
            for path in ("/services/create", "/secrets/create", "/configs/create", "/swarm/leave")
        ),
    ],
)
def test_what_belongs_to_a_swarm_says_that_this_is_none(engine: NativeEngine, method: str, path: str) -> None:
    answer = engine.call(method, path)
    assert answer.status == 503
    assert answer.message.startswith("This node is not a swarm manager.")
    assert engine.call("GET", "/info").json["Swarm"]["LocalNodeState"] == "inactive"
