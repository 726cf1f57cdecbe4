"""The engine may be stopped or killed at any moment: its containers, logs and exit statuses do not mind."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from native_engine import NativeEngine

pytestmark = pytest.mark.root

TICKER = ("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done")


def _stop_either_way(engine: NativeEngine, how: str) -> None:
    if how == "term":
        assert engine.stop() == 0
    else:
        assert engine.kill() == -signal.SIGKILL


def logs(engine: NativeEngine, container: str) -> bytes:
    """The log without frames: a terminal has none."""
    return engine.call("GET", f"/containers/{container}/logs", stdout="1", stderr="1").body


@pytest.mark.parametrize("how", ["term", "kill"])
def test_a_container_lives_on_without_the_engine(fresh_engine: NativeEngine, how: str) -> None:
    container = fresh_engine.run(*TICKER, Tty=True)
    pid = fresh_engine.inspect(container)["State"]["Pid"]
    _stop_either_way(fresh_engine, how)
    time.sleep(0.4)
    assert Path(f"/proc/{pid}").exists()
    fresh_engine.start()
    state = fresh_engine.inspect(container)["State"]
    assert (state["Status"], state["Pid"]) == ("running", pid)
    lines = [int(line) for line in logs(fresh_engine, container).split()]
    assert lines == list(range(1, len(lines) + 1))
    assert len(lines) >= 8
    assert fresh_engine.call("POST", f"/containers/{container}/stop", t="0").status == 204
    assert fresh_engine.inspect(container)["State"]["ExitCode"] == 137


def test_an_exit_without_the_engine_is_not_lost(fresh_engine: NativeEngine) -> None:
    container = fresh_engine.run("sh", "-c", "sleep 0.5; echo last words; exit 7", Tty=True)
    fresh_engine.kill()
    time.sleep(1.2)
    fresh_engine.start()
    state = fresh_engine.inspect(container)["State"]
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 7, 0)
    assert logs(fresh_engine, container) == b"last words\r\n"
    assert fresh_engine.call("POST", f"/containers/{container}/start").status == 204
    assert fresh_engine.wait(container) == 7


def test_rm_is_carried_out_for_a_container_that_ended_without_the_engine(fresh_engine: NativeEngine) -> None:
    container = fresh_engine.run("sleep", "0.5", HostConfig={"AutoRemove": True})
    fresh_engine.kill()
    time.sleep(1.0)
    fresh_engine.start()
    deadline = time.monotonic() + 5
    while fresh_engine.call("GET", f"/containers/{container}/json").status != 404:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_network_and_ports_work_on_after_a_restart(fresh_engine: NativeEngine) -> None:
    container = fresh_engine.run(
        "sh", "-c", "echo hello >/index.html; httpd -f -p 80 -h /",
        HostConfig={"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}},
    )  # fmt: skip
    before = fresh_engine.inspect(container)["NetworkSettings"]
    fresh_engine.kill()
    fresh_engine.start()
    after = fresh_engine.inspect(container)["NetworkSettings"]
    assert after["Ports"] == before["Ports"]
    assert after["IPAddress"] == before["IPAddress"] != ""


def test_restart_policies_survive_the_loss_of_everything(fresh_engine: NativeEngine) -> None:
    policies = {
        name: fresh_engine.run("sleep", "600", HostConfig={"RestartPolicy": {"Name": name}})
        for name in ("no", "always", "unless-stopped")
    }
    stopped = fresh_engine.run("sleep", "600", HostConfig={"RestartPolicy": {"Name": "unless-stopped"}})
    assert fresh_engine.call("POST", f"/containers/{stopped}/stop", t="0").status == 204
    pids = [fresh_engine.inspect(container)["State"]["Pid"] for container in policies.values()]
    fresh_engine.kill()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    fresh_engine.start()
    wanted = {"no": "exited", "always": "running", "unless-stopped": "running"}
    deadline = time.monotonic() + 15
    while (found := {name: _status(fresh_engine, each) for name, each in policies.items()}) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert _status(fresh_engine, stopped) == "exited"


def _status(engine: NativeEngine, container: str) -> str:
    return str(engine.inspect(container)["State"]["Status"])


def test_kill_at_any_moment_leaves_a_state_that_can_be_used(fresh_engine: NativeEngine) -> None:
    """Kills the engine in the middle of create, start, stop and rm, at ten different moments."""
    for number in range(10):
        worker = threading.Thread(target=_churn, args=(fresh_engine, f"churn{number}"))
        worker.start()
        time.sleep(0.03 * number)
        fresh_engine.kill()
        worker.join(30)
        assert not worker.is_alive()
        fresh_engine.start()
        fresh_engine.remove_containers()
        assert fresh_engine.call("GET", "/containers/json", all="1").json == []
    assert fresh_engine.wait(fresh_engine.run("true")) == 0


def _churn(engine: NativeEngine, name: str) -> None:
    try:
        for _ in range(20):
            created = engine.call(
                "POST", "/containers/create", {"Image": "busybox:test", "Cmd": ["true"]}, name=name
            )
            engine.call("POST", f"/containers/{created.json['Id']}/start")
            engine.call("POST", f"/containers/{created.json['Id']}/wait")
            engine.call("DELETE", f"/containers/{created.json['Id']}", force="1")
    except (OSError, KeyError, ValueError):
        return  # the engine was killed under our hands: what this test is about
    except Exception as exc:
        if "RemoteDisconnected" not in type(exc).__name__ and "Incomplete" not in type(exc).__name__:
            raise


def test_a_second_engine_on_the_same_roots_is_refused(fresh_engine: NativeEngine) -> None:
    second = NativeEngine(fresh_engine.folder, 1)
    second.socket = fresh_engine.folder / "second.sock"
    second.log = fresh_engine.folder / "second.log"
    with pytest.raises(AssertionError, match="another wherryd uses"):
        second.start()
    assert fresh_engine.call("GET", "/_ping").text == "OK"


def test_sigterm_ends_open_streams_and_removes_the_pidfile(fresh_engine: NativeEngine) -> None:
    container = fresh_engine.run(*TICKER)
    ended = threading.Event()

    def follow() -> None:
        fresh_engine.docker("logs", "-f", container)
        ended.set()

    follower = threading.Thread(target=follow)
    follower.start()
    time.sleep(0.5)
    began = time.monotonic()
    assert fresh_engine.stop() == 0
    assert time.monotonic() - began < 5
    assert ended.wait(10)
    follower.join()
    assert not (fresh_engine.folder / "wherryd.pid").exists()
    fresh_engine.start()


def test_files_that_a_power_cut_emptied_stop_nothing(fresh_engine: NativeEngine) -> None:
    """A name may reach the disk before the content does: such files were there after a machine was killed."""
    assert fresh_engine.call("POST", "/volumes/create", {"Name": "kept"}).status == 201
    data = Path(fresh_engine.call("GET", "/volumes/kept").json["Mountpoint"])
    (data / "f").write_text("still here")
    fresh_engine.kill()
    root = fresh_engine.folder / "data"
    for name in ("engine-id", "volumes/kept/volume.json"):
        (root / name).write_bytes(b"")
    fresh_engine.start()
    assert len(fresh_engine.call("GET", "/info").json["ID"]) == 32
    (volume,) = fresh_engine.call("GET", "/volumes").json["Volumes"]
    assert volume["Name"] == "kept"
    assert (Path(volume["Mountpoint"]) / "f").read_text() == "still here"
