"""A container whose files cannot be removed is dead, says why, and goes with the next attempt."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from native_engine import NativeEngine
from wire_rig import chunks, connected, header

pytestmark = pytest.mark.root


@pytest.fixture
def stuck(engine: NativeEngine) -> Iterator[tuple[str, Path]]:
    """A container that has ended, and a folder of it that is in use by somebody else: a mount point."""
    container = engine.run("true")
    engine.wait(container)
    folder = engine.data_root / "containers" / container / "in-use"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], check=True)
    yield container, folder
    subprocess.run(["umount", str(folder)], check=False, capture_output=True)


def test_a_removal_that_fails_leaves_a_dead_container_which_the_next_one_removes(
    engine: NativeEngine, stuck: tuple[str, Path]
) -> None:
    container, folder = stuck
    with connected(engine, f"POST /containers/{container}/wait?condition=removed") as waiting:
        header(waiting)
        answer = engine.call("DELETE", f"/containers/{container}")
        assert answer.status == 500
        assert "unable to remove the data of container" in answer.message
        assert "run rm again" in answer.message
        told = json.loads(chunks(waiting))
    assert "unable to remove the data" in told["Error"]["Message"]
    state = engine.inspect(container)["State"]
    assert (state["Status"], state["Dead"], state["Running"]) == ("dead", True, False)
    assert "unable to remove" in state["Error"]
    listed = engine.call("GET", "/containers/json", all="1", filters='{"status":["dead"]}').json
    assert [each["Id"] for each in listed] == [container]
    for path in ("/containers/json?all=1&size=1", f"/containers/{container}/json?size=1", "/system/df"):
        assert engine.call("GET", path).status == 200, path
    # Nothing else is left to be done with it.
    assert engine.call("POST", f"/containers/{container}/start").status == 409
    assert engine.call("POST", f"/containers/{container}/attach", stream="1", stdout="1").status == 409
    subprocess.run(["umount", str(folder)], check=True)
    assert engine.call("DELETE", f"/containers/{container}").status == 204
    assert engine.call("GET", f"/containers/{container}/json").status == 404
    assert not folder.parent.exists()


def test_a_dead_container_is_pruned_once_it_can_be(engine: NativeEngine, stuck: tuple[str, Path]) -> None:
    container, folder = stuck
    assert engine.call("DELETE", f"/containers/{container}").status == 500
    subprocess.run(["umount", str(folder)], check=True)
    assert engine.call("POST", "/containers/prune").json["ContainersDeleted"] == [container]
