"""Real dockerd and real podman with wherry-runc as their runtime: each test is a promise to their users."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import rival_rig
from rival_rig import IMAGE, Rival

pytestmark = pytest.mark.root

_NEEDS = {"dockerd": ("dockerd", "containerd", "docker"), "podman": ("podman", "conmon")}
_MIB = 1024 * 1024


@pytest.fixture(scope="module", params=["dockerd", "podman"])
def rival(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rival]:
    name: str = request.param
    missing = [program for program in _NEEDS[name] if shutil.which(program) is None]
    if missing:
        pytest.skip(f"NOT TESTED that {name} runs containers by wherry-runc: install {', '.join(missing)}")
    folder = tmp_path_factory.mktemp(name)
    with getattr(rival_rig, name)(folder) as rival:
        yield rival


def _run(rival: Rival, *arguments: str, **more: object) -> str:
    return rival("run", "--network=none", *arguments, **more).stdout  # type: ignore[arg-type]


def test_run_passes_streams_and_the_exit_status(rival: Rival) -> None:
    script = "read x; echo got $x; echo err >&2; exit 3"
    done = rival(
        "run", "--rm", "-i", "--network=none", IMAGE, "sh", "-c", script, stdin="word\n", check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("got word\n", "err\n", 3)


def test_a_life_with_exec_pause_stop_and_logs(rival: Rival) -> None:
    script = "trap 'echo bye; exit 5' TERM; echo up; while true; do sleep 0.1; done"
    _run(rival, "-d", "--name", "life", IMAGE, "sh", "-c", script)
    done = rival("exec", "-i", "life", "sh", "-c", "cat; exit 4", stdin="in", check=False)
    assert (done.stdout, done.returncode) == ("in", 4)
    rival("pause", "life")
    assert "paused" in rival("ps", "--all", "--format={{.Status}}").stdout.lower()
    rival("unpause", "life")
    assert "sh -c trap" in rival("top", "life").stdout
    rival("stop", "life")
    state = rival("inspect", "--format={{.State.Status}} {{.State.ExitCode}}", "life").stdout
    assert state == "exited 5\n"
    assert rival("logs", "life").stdout == "up\nbye\n"
    rival("start", "life")
    rival("kill", "life")
    assert rival("wait", "life").stdout == "137\n"
    rival("rm", "life")


def test_terminals_of_run_and_exec(rival: Rival) -> None:
    assert "/dev/pts/0" in rival.on_terminal("run", "--rm", "-t", "--network=none", IMAGE, "tty")
    _run(rival, "-d", "--name", "term", IMAGE, "sleep", "1000")
    assert "/dev/pts/" in rival.on_terminal("exec", "-t", "term", "tty")
    rival("kill", "term")
    rival("rm", "--force", "term")


def test_limits_user_tmpfs_and_capabilities_arrive(rival: Rival) -> None:
    script = (
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; "
        "id -u; touch /scratch/x && echo wrote; touch /x 2>/dev/null || echo read-only; "
        "grep CapEff /proc/self/status | cut -f2"
    )
    options = ("--memory=64m", "--user=1000", "--tmpfs=/scratch:size=1m", "--read-only", "--cap-drop=all")
    found = _run(rival, "--rm", *options, IMAGE, "sh", "-c", script).split()
    assert found == [str(64 * _MIB), "1000", "wrote", "read-only", "0" * 16]


def test_a_program_that_is_not_there_and_one_that_is_none(rival: Rival) -> None:
    for program, status, words in (("nosuch", 127, "executable file not found"), ("/etc/passwd", 126, "")):
        done = rival("run", "--rm", "--network=none", IMAGE, program, check=False)
        assert (done.returncode, words in done.stderr) == (status, True), done.stderr


def test_a_container_out_of_memory_says_so(rival: Rival) -> None:
    options = ("--name", "hungry", "--network=none", "--memory=16m")
    assert rival("run", *options, IMAGE, "sh", "-c", "x=$(yes)", check=False).returncode == 137
    if rival.name == "dockerd":
        # podman's conmon does not see it in cgroup v1, with runc and crun neither.
        assert rival("inspect", "--format={{.State.OOMKilled}}", "hungry").stdout == "true\n"
    rival("rm", "hungry")


def test_update_changes_a_running_container(rival: Rival) -> None:
    if rival.name == "podman" and "update" not in rival("--help").stdout:
        pytest.skip(
            "NOT TESTED that podman updates a container: this podman has no update, 4.3 and newer have"
        )
    _run(rival, "-d", "--name", "more", "--memory=64m", IMAGE, "sleep", "1000")
    rival("update", "--memory=32m", "--memory-swap=64m", "more")
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"
    assert rival("exec", "more", "sh", "-c", script, check=False).stdout == f"{32 * _MIB}\n"
    rival("kill", "more")
    rival("rm", "--force", "more")


def test_nothing_is_left_of_containers_that_were_removed(rival: Rival) -> None:
    _run(rival, "--rm", IMAGE, "true")
    state = [*rival.folder.glob("run/**/state.json"), *Path("/run/wherry-runc").glob("**/state.json")]
    ids = rival("ps", "--all", "--quiet", "--no-trunc").stdout.split()
    assert not [
        each for each in state if str(rival.folder) in each.read_text() and each.parent.name not in ids
    ]
