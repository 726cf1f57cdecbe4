"""Log drivers in a running engine: rotation, packing, details, following across both and across restarts."""

import threading
from pathlib import Path
from typing import Any

import pytest
from native_engine import NativeEngine, UnixConnection

pytestmark = pytest.mark.root

WRITER = "i=0; while [ $i -lt {count} ]; do echo line $i; i=$((i+1)); done"


def log_config(driver: str = "json-file", **options: str) -> dict[str, Any]:
    given = {key.replace("_", "-"): value for key, value in options.items()}
    return {"LogConfig": {"Type": driver, "Config": given}}


def payloads(body: bytes) -> str:
    found = b""
    while body:
        length = int.from_bytes(body[4:8], "big")
        found, body = found + body[8 : 8 + length], body[8 + length :]
    return found.decode()


def logs(engine: NativeEngine, container: str, **query: str) -> str:
    answer = engine.call("GET", f"/containers/{container}/logs", stdout="1", stderr="1", **query)
    assert answer.status == 200, answer.text
    return payloads(answer.body)


def numbers(text: str) -> list[int]:
    return [int(line.removeprefix("line ")) for line in text.splitlines()]


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_logs_rotate_and_pack_and_are_read_across_it(engine: NativeEngine, driver: str) -> None:
    host = log_config(driver, max_size="20k", max_file="4", compress="true")
    container = engine.run("sh", "-c", WRITER.format(count=1500), HostConfig=host)
    assert engine.wait(container) == 0
    folder = engine.data_root / "containers" / container
    files = sorted(path.name.partition("log")[2] for path in folder.glob("*log*"))
    assert files[0] == ""
    assert len(files) == 4
    assert files[-1].endswith(".gz")
    seen = numbers(logs(engine, container))
    assert seen == list(range(1500 - len(seen), 1500))
    assert len(seen) > 500
    assert numbers(logs(engine, container, tail=str(len(seen) - 5))) == seen[5:]
    document = engine.inspect(container)
    assert bool(document["LogPath"]) == (driver == "json-file")
    engine.remove(container)
    assert not folder.exists()


def test_following_goes_on_across_rotations_and_restarts(engine: NativeEngine) -> None:
    script = (
        "echo begin; while [ ! -e /go ]; do sleep 0.02; done; rm /go; "
        + WRITER.format(count=800)
        + "; exit 1"
    )
    host = {
        **log_config(max_size="100k", max_file="5", compress="true"),
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
    }
    container = engine.create("sh", "-c", script, HostConfig=host)
    received: list[bytes] = []
    thread = threading.Thread(target=follow, args=(engine.socket, container, received))
    assert engine.call("POST", f"/containers/{container}/start").status == 204
    thread.start()
    for life in range(3):
        wait_for(lambda life=life: payloads(b"".join(received)).count("begin") > life)
        made = engine.call("POST", f"/containers/{container}/exec", {"Cmd": ["touch", "/go"]})
        engine.call("POST", f"/exec/{made.json['Id']}/start", {"Detach": True})
    thread.join(60)
    assert not thread.is_alive()
    lives = payloads(b"".join(received)).split("begin\n")[1:]
    assert [numbers(life) for life in lives] == [list(range(800))] * 3


def follow(socket: Path, container: str, received: list[bytes]) -> None:
    connection = UnixConnection(socket)
    connection.request("GET", f"/containers/{container}/logs?follow=1&stdout=1")
    answer = connection.getresponse()
    while block := answer.read1(65536):
        received.append(block)
    connection.close()


def wait_for(holds: Any) -> None:
    done = threading.Event()
    for _ in range(3000):
        if holds():
            return
        done.wait(0.01)
    raise AssertionError("it did not come to that in 30 s")


def test_details_show_what_the_log_was_told_to_keep(engine: NativeEngine) -> None:
    container = engine.run(
        "echo", "x", Labels={"b": "2 3", "a": "1", "c": "no"}, Env=["E=v"],
        HostConfig=log_config(labels="a,b", env="E", tag="{{.Name}}"), name="detailed",
    )  # fmt: skip
    assert engine.wait(container) == 0
    assert logs(engine, container) == "x\n"
    assert logs(engine, container, details="1") == "E=v,a=1,b=2+3,tag=detailed x\n"
    plain = engine.run("echo", "y", HostConfig=log_config("local"))
    assert engine.wait(plain) == 0
    assert logs(engine, plain, details="1") == " y\n"


def test_there_is_nothing_to_read_without_a_log(engine: NativeEngine) -> None:
    container = engine.run("echo", "x", HostConfig=log_config("none"))
    assert engine.wait(container) == 0
    answer = engine.call("GET", f"/containers/{container}/logs", stdout="1")
    assert (answer.status, "does not support reading" in answer.message) == (501, True)


def test_the_engines_own_driver_counts_for_who_names_none(fresh_engine: NativeEngine) -> None:
    fresh_engine.stop()
    fresh_engine.start("--log-driver", "local", "--log-opt", "max-size=1m", "--log-opt", "max-file=2")
    found = fresh_engine.inspect(fresh_engine.create("true"))["HostConfig"]["LogConfig"]
    assert found == {"Type": "local", "Config": {"max-size": "1m", "max-file": "2"}}
    own = fresh_engine.create("true", HostConfig=log_config("json-file"))
    assert fresh_engine.inspect(own)["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert fresh_engine.call("GET", "/info").json["LoggingDriver"] == "local"
