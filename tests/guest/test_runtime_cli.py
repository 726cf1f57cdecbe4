"""wherry-runc: runc's verbs, without a daemon."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runc_rig import Runc, made
from runtime_rig import config as rig_config
from runtime_rig import is_alive

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def runc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runc]:
    with made(tmp_path_factory.mktemp("runc")) as runc:
        yield runc


def test_run_has_our_streams_and_the_exit_code(runc: Runc) -> None:
    bundle = runc.bundle("r1", rig_config("sh", "-c", "read x; echo got $x; echo e >&2; exit 3"))
    done = runc("run", "-b", str(bundle), "r1", check=False, stdin=None, input="word\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, "got word\n", "e\n")
    assert runc("list", "-q").stdout == ""


def test_create_start_exec_kill_delete(runc: Runc) -> None:
    runc.create("c1", "sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while true; do usleep 10000; done")
    assert runc.status("c1") == "created"
    pid = int((runc.base / "c1/pid").read_text())
    assert str(Path(f"/proc/{pid}/ns/pid").readlink()) != str(Path("/proc/self/ns/pid").readlink())
    runc("start", "c1")
    assert runc.status("c1") == "running"
    done = runc(
        "exec", "-e", "A=1", "--cwd", "/tmp", "c1", "sh", "-c", "echo $$ $A; pwd; exit 4", check=False
    )
    assert done.returncode == 4
    assert done.stdout.split()[1:] == ["1", "/tmp"]
    runc("pause", "c1")
    assert runc.status("c1") == "paused"
    runc("resume", "c1")
    assert str(pid) in runc("ps", "c1").stdout
    assert "running" in runc("list").stdout
    again = runc("start", "c1", check=False)
    assert (again.returncode, "cannot start an already running container" in again.stderr) == (1, True)
    refused = runc("delete", "c1", check=False)
    assert (refused.returncode, "not stopped" in refused.stderr) == (1, True)
    runc("kill", "c1", "TERM")
    runc.until_stopped("c1")
    runc("delete", "c1")
    assert runc("state", "c1", check=False).returncode == 1
    assert (runc.base / "c1.out").read_text() == "up\nbye\n"


def test_create_tells_of_a_missing_program_and_leaves_nothing(runc: Runc) -> None:
    bundle = runc.bundle("m1", rig_config("nosuch"))
    log = runc.base / "m1.log"
    done = runc("create", "-b", str(bundle), "m1", check=False)
    assert done.returncode == 1
    assert 'exec: "nosuch": executable file not found in $PATH' in done.stderr
    assert runc("list", "-q").stdout == ""
    command = [
        sys.executable,
        "-m",
        "wherryd.runtime.cli",
        "--root",
        str(runc.base / "root"),
        "--log",
        str(log),
    ]
    failed = subprocess.run(
        [*command, "--log-format", "json", "run", "-b", str(bundle), "m1"],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert failed.returncode == 127
    assert "nosuch" in json.loads(log.read_text())["msg"]


def test_delete_force_kills(runc: Runc) -> None:
    runc.create("f1", "sleep", "1000")
    runc("start", "f1")
    pid = int((runc.base / "f1/pid").read_text())
    runc("delete", "--force", "f1")
    assert not is_alive(pid)
    runc("delete", "--force", "f1")


def test_a_console_socket_gets_the_terminal(runc: Runc) -> None:
    bundle = runc.bundle("t1", rig_config("sh", "-c", "tty", terminal=True))
    refused = runc("create", "-b", str(bundle), "t1", check=False)
    assert "console socket" in refused.stderr
    path = runc.base / "console.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(30)
        runc("create", "-b", str(bundle), "--console-socket", str(path), "t1")
        connection, _ = listener.accept()
        with connection:
            _, (master,), _, _ = socket.recv_fds(connection, 100, 1)
    runc("start", "t1")
    out = b""
    with contextlib.suppress(OSError):  # EIO: the end
        while data := os.read(master, 1000):
            out += data
    os.close(master)
    assert out == b"/dev/pts/0\r\n"
    runc.until_stopped("t1")
    runc("delete", "t1")


def test_kill_all_reaches_a_shared_pid_namespace(runc: Runc) -> None:
    document = rig_config("sh", "-c", "sleep 1000 & sleep 1000")
    document["linux"]["namespaces"] = [e for e in document["linux"]["namespaces"] if e["type"] != "pid"]
    bundle = runc.bundle("k1", document)
    with (runc.base / "k1.out").open("w") as out:
        runc("run", "-d", "-b", str(bundle), "k1", stdout=out, stderr=out)
    pids = json.loads(runc("ps", "-f", "json", "k1").stdout)
    runc("kill", "--all", "k1", str(int(signal.SIGKILL)))
    assert not [pid for pid in pids if is_alive(pid)]
    runc("delete", "k1")


def test_features_and_version(runc: Runc) -> None:
    features = json.loads(runc("features").stdout)
    assert features["linux"]["seccomp"]["enabled"] is True
    assert "rbind" in features["mountOptions"]
    done = subprocess.run(
        [sys.executable, "-m", "wherryd.runtime.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "wherry-runc version" in done.stdout
