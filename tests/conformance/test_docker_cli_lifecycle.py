"""The real docker command as a client: lists, logs, and a container's life, as its users see them."""

import json
import re
import time
from pathlib import Path

import pytest
from docker_command import docker
from native_engine import IMAGE, NativeEngine, busybox_tar

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]


def test_ps_filters(engine: NativeEngine) -> None:
    docker(engine, "run", "-d", "--name", "alpha", "--label", "team=a", IMAGE, "sleep", "60")
    assert (
        engine.docker("run", "--name", "beta", "--label", "team=b", IMAGE, "sh", "-c", "exit 4").returncode
        == 4
    )

    def names(*filters: str) -> set[str]:
        words = [word for each in filters for word in ("--filter", each)]
        return set(docker(engine, "ps", "-a", "--format", "{{.Names}}", *words).split())

    assert names("label=team=a") == {"alpha"}
    assert names("status=exited") == {"beta"}
    assert names("exited=4", "label=team") == {"beta"}
    assert names("name=al") == {"alpha"}
    assert names(f"ancestor={IMAGE}") == {"alpha", "beta"}
    assert names("since=alpha") == {"beta"}
    assert docker(engine, "ps", "--format", "{{.Names}}") == "alpha"
    assert "virtual" in docker(engine, "ps", "-as", "--format", "{{.Size}}")


def test_logs_tail_timestamps_since_and_until(engine: NativeEngine) -> None:
    docker(
        engine,
        "run",
        "--name",
        "talk",
        IMAGE,
        "sh",
        "-c",
        "for i in 1 2 3; do echo $i; done; sleep 1.1; echo 4",
    )
    assert docker(engine, "logs", "talk") == "1\n2\n3\n4"
    assert docker(engine, "logs", "--tail", "2", "talk") == "3\n4"
    stamped = docker(engine, "logs", "-t", "talk").split("\n")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z \d", line) for line in stamped), stamped
    last = stamped[-1].split()[0]
    assert docker(engine, "logs", "--since", last, "talk") == "4"
    assert docker(engine, "logs", "--until", stamped[2].split()[0], "talk") == "1\n2\n3"


def test_logs_follow_ends_with_the_container(engine: NativeEngine) -> None:
    docker(
        engine,
        "run",
        "-d",
        "--name",
        "slow",
        IMAGE,
        "sh",
        "-c",
        "for i in 1 2 3; do echo $i; sleep 0.3; done",
    )
    assert docker(engine, "logs", "-f", "slow") == "1\n2\n3"


def test_logs_follow_survives_rotation(engine: NativeEngine) -> None:
    script = "for i in $(seq 1 40); do seq $((i * 100)) $((i * 100 + 99)); sleep 0.02; done"
    docker(
        engine,
        "run",
        "-d",
        "--name",
        "rotating",
        "--log-opt",
        "max-size=16k",
        "--log-opt",
        "max-file=50",
        IMAGE,
        "sh",
        "-c",
        script,
    )
    assert docker(engine, "logs", "-f", "rotating").split() == [str(n) for n in range(100, 4100)]


def test_exec_with_user_folder_environment_and_exit_status(engine: NativeEngine) -> None:
    docker(engine, "run", "-d", "--name", "base", IMAGE, "sleep", "60")
    result = engine.docker(
        "exec",
        "-e",
        "X=1",
        "-u",
        "1000:2000",
        "-w",
        "/tmp",
        "base",
        "sh",
        "-c",
        "id -u; id -g; pwd; echo $X; exit 7",
    )
    assert (result.stdout, result.returncode) == (b"1000\n2000\n/tmp\n1\n", 7)
    assert engine.docker("exec", "-i", "base", "cat", stdin=b"abc").stdout == b"abc"
    missing = engine.docker("exec", "base", "nosuch")
    assert missing.returncode == 127
    assert b"executable file not found" in missing.stdout + missing.stderr
    docker(engine, "exec", "-d", "base", "touch", "/made")
    for _ in range(50):
        if engine.docker("exec", "base", "test", "-e", "/made").returncode == 0:
            return
        time.sleep(0.05)
    raise AssertionError("a detached exec did nothing")


def test_stop_start_restart_kill_wait_rm(engine: NativeEngine) -> None:
    docker(
        engine,
        "run",
        "-d",
        "--name",
        "life",
        IMAGE,
        "sh",
        "-c",
        "trap 'exit 5' TERM; while :; do sleep 0.1; done",
    )
    docker(engine, "stop", "life")
    assert docker(engine, "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "life") == "exited 5"
    docker(engine, "start", "life")
    docker(engine, "restart", "life")
    assert engine.docker("rm", "life").returncode == 1
    docker(engine, "kill", "life")
    assert docker(engine, "wait", "life") == "137"
    docker(engine, "rm", "life")
    assert "No such container: life" in engine.docker("rm", "life").stderr.decode()


def test_stop_signal_and_stop_timeout(engine: NativeEngine) -> None:
    docker(
        engine,
        "run",
        "-d",
        "--name",
        "usr",
        "--stop-signal",
        "USR1",
        IMAGE,
        "sh",
        "-c",
        "trap 'exit 6' USR1; while :; do sleep 0.1; done",
    )
    docker(engine, "stop", "usr")
    assert docker(engine, "wait", "usr") == "6"
    docker(engine, "run", "-d", "--name", "deaf", "--stop-timeout", "1", IMAGE, "sleep", "60")
    began = time.monotonic()
    docker(engine, "stop", "deaf")
    assert 0.9 < time.monotonic() - began < 8
    assert docker(engine, "wait", "deaf") == "137"


def test_start_attached_shows_only_the_new_run(engine: NativeEngine) -> None:
    docker(engine, "run", "--name", "again", IMAGE, "sh", "-c", "echo run")
    assert docker(engine, "start", "-a", "again") == "run"
    assert docker(engine, "logs", "again") == "run\nrun"


def test_pause_freezes_and_unpause_thaws(engine: NativeEngine) -> None:
    docker(engine, "run", "-d", "--name", "ice", IMAGE, "sleep", "60")
    docker(engine, "pause", "ice")
    assert "(Paused)" in docker(engine, "ps", "--format", "{{.Status}}")
    assert b"is paused" in engine.docker("exec", "ice", "true").stderr
    docker(engine, "unpause", "ice")
    docker(engine, "exec", "ice", "true")


def test_rename_top_and_stats(engine: NativeEngine) -> None:
    docker(engine, "run", "-d", "--name", "old", IMAGE, "sleep", "60")
    docker(engine, "rename", "old", "new")
    assert "sleep 60" in docker(engine, "top", "new")
    assert docker(engine, "stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "new") == "new 1"


def test_restart_policy_brings_a_container_back_until_its_limit(engine: NativeEngine) -> None:
    docker(
        engine,
        "run",
        "-d",
        "--name",
        "loop",
        "--restart",
        "on-failure:2",
        IMAGE,
        "sh",
        "-c",
        "echo try; exit 1",
    )
    for _ in range(100):
        if docker(engine, "inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "loop") == "exited 2":
            break
        time.sleep(0.1)
    assert docker(engine, "logs", "loop") == "try\ntry\ntry"


def test_stop_ends_a_restart_policy(engine: NativeEngine) -> None:
    docker(engine, "run", "-d", "--name", "always", "--restart", "always", IMAGE, "sleep", "60")
    docker(engine, "stop", "-t", "0", "always")
    time.sleep(0.5)
    assert docker(engine, "inspect", "-f", "{{.State.Status}}", "always") == "exited"


def test_events_are_replayed_and_filtered(engine: NativeEngine) -> None:
    since = f"{time.time():.9f}"
    assert (
        engine.docker(
            "run", "--rm", "--name", "seen", "--label", "mark=1", IMAGE, "sh", "-c", "exit 9"
        ).returncode
        == 9
    )
    span = ("--since", since, "--until", f"{time.time():.9f}")
    words = docker(engine, "events", *span, "--filter", "label=mark", "--format", "{{.Action}}")
    assert words.split() == ["create", "attach", "start", "die", "destroy"]
    died = docker(engine, "events", *span, "--filter", "event=die", "--format", "{{json .}}")
    assert json.loads(died)["Actor"]["Attributes"]["exitCode"] == "9"


def test_save_load_tag_rmi(engine: NativeEngine, tmp_path: Path) -> None:
    docker(engine, "import", "-", "small:1", stdin=busybox_tar())
    archive = tmp_path / "image.tar"
    docker(engine, "save", "-o", str(archive), "small:1")
    docker(engine, "tag", "small:1", "other:2")
    docker(engine, "rmi", "small:1", "other:2")
    assert "small" not in docker(engine, "images")
    docker(engine, "load", "-i", str(archive))
    assert docker(engine, "run", "--rm", "small:1", "echo", "loaded") == "loaded"
    docker(engine, "rmi", "small:1")


def test_an_image_in_use_is_not_removed(engine: NativeEngine) -> None:
    docker(engine, "run", "-d", "--name", "user", IMAGE, "sleep", "60")
    assert b"conflict" in engine.docker("rmi", IMAGE).stderr
