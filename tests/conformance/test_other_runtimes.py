"""Our engine with crun and runc as its runtimes: what a user sees is the same."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from native_engine import IMAGE, NativeEngine

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

RUNTIMES = ("crun", "runc")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeEngine]:
    folder = tmp_path_factory.mktemp("runtimes")
    engine = NativeEngine(folder, 31)
    options = []
    for name in RUNTIMES:
        program = shutil.which(name)
        if program is None:
            continue
        # The empty cgroup2 tree of a machine with v1 would be taken for the real one.
        inner = f'umount /sys/fs/cgroup/unified 2>/dev/null; exec {program} "$@"'
        wrapper = folder / f"{name}-here"
        wrapper.write_text(f"#!/bin/sh\nexec unshare -m sh -c '{inner}' - \"$@\"\n")
        wrapper.chmod(0o755)
        options += ["--add-runtime", f"{name}={wrapper}"]
    engine.options = tuple(options)
    try:
        engine.start()
        engine.import_busybox()
        yield engine
    finally:
        engine.end()


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, engine: NativeEngine) -> Iterator[str]:
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"NOT TESTED that containers run by {name}: install {name}")
    yield name
    engine.remove_containers()


def _ok(engine: NativeEngine, *arguments: str, stdin: bytes | None = None) -> str:
    done = engine.docker(*arguments, stdin=stdin)
    assert done.returncode == 0, (arguments, done.stderr.decode(), engine.log_tail())
    return done.stdout.decode()


def test_info_lists_them(engine: NativeEngine) -> None:
    info = engine.call("GET", "/info").json
    assert set(info["Runtimes"]) == {"wherry-runc", *(name for name in RUNTIMES if shutil.which(name))}
    assert info["DefaultRuntime"] == "wherry-runc"


def test_an_unknown_runtime_is_refused(engine: NativeEngine) -> None:
    done = engine.docker("run", "--rm", "--runtime", "nosuch", IMAGE, "true")
    assert done.returncode == 125
    assert b"unknown or invalid runtime name: nosuch" in done.stderr


def test_run_passes_streams_network_and_the_exit_status(engine: NativeEngine, runtime: str) -> None:
    script = "read x; echo got $x; ls /sys/class/net; echo err >&2; exit 3"
    done = engine.docker(
        "run", "--rm", "-i", "--runtime", runtime, IMAGE, "sh", "-c", script, stdin=b"word\n"
    )
    assert done.returncode == 3, (done.stderr, engine.log_tail())
    assert done.stdout.split() == [b"got", b"word", b"eth0", b"lo"]
    assert done.stderr == b"err\n"


def test_a_life_with_exec_pause_stats_kill_and_logs(engine: NativeEngine, runtime: str) -> None:
    script = "echo up; while true; do sleep 0.1; done"
    name = f"life-{runtime}"
    _ok(engine, "run", "-d", "--runtime", runtime, "--name", name, "-m", "64m", IMAGE, "sh", "-c", script)
    assert engine.inspect(name)["HostConfig"]["Runtime"] == runtime
    done = engine.docker("exec", "-i", name, "sh", "-c", "cat; hostname; exit 4", stdin=b"in ")
    assert (done.returncode, done.stdout.split()[0]) == (4, b"in"), done.stderr
    missing = engine.docker("exec", name, "nosuch")
    assert missing.returncode in (126, 127), missing.stderr
    _ok(engine, "pause", name)
    assert engine.inspect(name)["State"]["Status"] == "paused"
    _ok(engine, "unpause", name)
    assert "64MiB" in _ok(engine, "stats", "--no-stream", "--format", "{{.MemUsage}}", name)
    assert "sleep 0.1" in _ok(engine, "top", name) or "echo up" in _ok(engine, "top", name)
    _ok(engine, "kill", name)
    assert _ok(engine, "wait", name) == "137\n"
    assert _ok(engine, "logs", name) == "up\n"
    _ok(engine, "start", name)
    _ok(engine, "rm", "-f", name)
    assert not list(engine.exec_root.glob("oci/*"))


def test_a_terminal(engine: NativeEngine, runtime: str) -> None:
    container = engine.run("sh", "-c", "tty; stty size", Tty=True, HostConfig={"Runtime": runtime})
    assert engine.wait(container) == 0
    assert "/dev/pts/0" in _ok(engine, "logs", container)


def test_a_program_that_is_not_there_is_127_and_leaves_nothing(engine: NativeEngine, runtime: str) -> None:
    done = engine.docker("run", "--rm", "--runtime", runtime, IMAGE, "nosuch")
    assert done.returncode == 127, done.stderr
    assert _ok(engine, "ps", "-aq") == ""
    assert not list(engine.exec_root.glob("oci/*"))


def test_containers_outlive_a_killed_engine(engine: NativeEngine, runtime: str) -> None:
    container = engine.run("sh", "-c", "echo a; sleep 1000", HostConfig={"Runtime": runtime})
    pid = engine.inspect(container)["State"]["Pid"]
    engine.kill()
    engine.start()
    assert engine.inspect(container)["State"]["Pid"] == pid
    assert engine.docker("exec", container, "echo", "on").stdout == b"on\n"
    os.kill(pid, signal.SIGTERM)
    _ok(engine, "kill", container)
    assert engine.wait(container) == 137


def test_the_default_can_be_another_one(engine: NativeEngine, runtime: str) -> None:
    engine.stop()
    engine.start("--default-runtime", runtime)
    try:
        assert engine.call("GET", "/info").json["DefaultRuntime"] == runtime
        container = engine.run("true")
        assert engine.inspect(container)["HostConfig"]["Runtime"] == runtime
        assert engine.wait(container) == 0
    finally:
        engine.remove_containers()
        engine.restart()


def test_a_runtime_that_is_no_program_is_refused_at_the_start(tmp_path: Path) -> None:
    engine = NativeEngine(tmp_path, 32)
    with pytest.raises(AssertionError, match="is no program"):
        engine.start("--add-runtime", "x=/nosuch/runtime")
    with pytest.raises(AssertionError, match="does not exist"):
        engine.start("--default-runtime", "x")
