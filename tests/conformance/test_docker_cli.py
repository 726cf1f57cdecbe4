"""The real docker command as a client: every test is a promise to its users."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from native_engine import IMAGE, NativeEngine, busybox_tar

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]


def ok(engine: NativeEngine, *arguments: str, stdin: bytes | None = None) -> str:
    """Runs docker; it must succeed; its output without the last newline."""
    result = engine.docker(*arguments, stdin=stdin)
    assert result.returncode == 0, (arguments, result.stderr.decode(), engine.log_tail())
    return result.stdout.decode().removesuffix("\n")


def test_version_shows_client_and_server(engine: NativeEngine) -> None:
    assert ok(engine, "version", "--format", "{{.Server.APIVersion}} {{.Server.Os}}") == "1.51 linux"


def test_info_names_the_storage_and_cgroup_drivers(engine: NativeEngine) -> None:
    found = ok(engine, "info", "--format", "{{.Driver}} {{.CgroupDriver}} {{.OSType}}")
    assert found.split()[1:] == ["cgroupfs", "linux"]


def test_run_prints_both_streams_and_passes_the_exit_status(engine: NativeEngine) -> None:
    result = engine.docker("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.returncode) == (b"out\n", b"err\n", 3)


def test_run_passes_stdin_and_its_end(engine: NativeEngine) -> None:
    data = b"x" * 1_000_000
    assert engine.docker("run", "--rm", "-i", IMAGE, "wc", "-c", stdin=data).stdout.strip() == b"1000000"


def test_run_streams_more_output_than_any_buffer_holds(engine: NativeEngine) -> None:
    result = engine.docker("run", "--rm", IMAGE, "sh", "-c", "seq 1 300000")
    assert result.stdout == b"".join(b"%d\n" % n for n in range(1, 300001))


def test_run_without_such_a_program_is_127_and_leaves_nothing(engine: NativeEngine) -> None:
    result = engine.docker("run", "--rm", IMAGE, "nosuch")
    assert result.returncode == 127
    assert b"executable file not found in $PATH" in result.stderr
    assert ok(engine, "ps", "-aq") == ""


def test_run_of_a_file_that_is_no_program_is_126(engine: NativeEngine) -> None:
    assert engine.docker("run", "--rm", IMAGE, "/etc/passwd").returncode == 126


def test_run_takes_environment_folder_user_and_hostname(engine: NativeEngine) -> None:
    script = "echo $A $FROM_IMAGE; pwd; id -u; id -g; hostname"
    found = ok(
        engine,
        "run",
        "--rm",
        "-e",
        "A=b",
        "-w",
        "/tmp",
        "-u",
        "user",
        "--hostname",
        "box",
        IMAGE,
        "sh",
        "-c",
        script,
    )
    assert found.split("\n") == ["b yes", "/tmp", "1000", "1000", "box"]


def test_run_with_another_entrypoint(engine: NativeEngine) -> None:
    assert ok(engine, "run", "--rm", "--entrypoint", "/bin/echo", IMAGE, "x", "y") == "x y"


def test_limits_arrive_in_the_cgroup(engine: NativeEngine) -> None:
    v1 = "memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max"
    v2 = "memory.max cpu.max pids.max"
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    found = ok(
        engine,
        "run",
        "--rm",
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "20",
        IMAGE,
        "cat",
        *(f"/sys/fs/cgroup/{name}" for name in (v2 if unified else v1).split()),
    )
    assert found.split("\n") == ["67108864", "50000 100000" if unified else "50000", "20"]


def test_a_container_over_its_memory_limit_is_killed_and_says_so(engine: NativeEngine) -> None:
    result = engine.docker("run", "--name", "oom", "-m", "16m", IMAGE, "sh", "-c", "yes | tr -d '\\n' | sort")
    assert result.returncode != 0
    assert ok(engine, "inspect", "-f", "{{.State.OOMKilled}}", "oom") == "true"


@pytest.mark.parametrize(("mode", "devices"), [("none", {"lo"}), ("bridge", {"lo", "eth0"})])
def test_network_modes_give_their_devices(engine: NativeEngine, mode: str, devices: set[str]) -> None:
    found = ok(engine, "run", "--rm", "--network", mode, IMAGE, "ls", "/sys/class/net")
    assert set(found.split()) & {"lo", "eth0"} == devices


def test_the_host_network_is_the_hosts(engine: NativeEngine) -> None:
    found = ok(engine, "run", "--rm", "--network", "host", IMAGE, "readlink", "/proc/self/ns/net")
    assert found == str(Path("/proc/self/ns/net").readlink())


def test_a_container_joins_anothers_network(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "first", IMAGE, "sleep", "60")
    one = ok(engine, "exec", "first", "readlink", "/proc/self/ns/net")
    assert (
        ok(engine, "run", "--rm", "--network", "container:first", IMAGE, "readlink", "/proc/self/ns/net")
        == one
    )


def test_a_published_port_is_reached_and_shown(engine: NativeEngine) -> None:
    ok(
        engine,
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1::80",
        IMAGE,
        "sh",
        "-c",
        "echo hello >/index.html; httpd -f -p 80 -h /",
    )
    address = ok(engine, "port", "web", "80").split("\n")[0]
    assert _fetch(f"http://{address}/") == b"hello\n"


def _fetch(url: str) -> bytes:
    for _ in range(50):
        try:
            return requests.get(url, timeout=2).content
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def test_a_taken_port_is_refused_with_dockers_words(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "one", "-p", "127.0.0.1:0:80", IMAGE, "sleep", "60")
    port = ok(engine, "port", "one", "80").rpartition(":")[2]
    result = engine.docker("run", "-d", "-p", f"127.0.0.1:{port}:80", IMAGE, "sleep", "60")
    assert result.returncode == 125
    assert b"port is already allocated" in result.stderr


def test_binds_and_tmpfs(engine: NativeEngine, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host")
    found = ok(
        engine,
        "run",
        "--rm",
        "-v",
        f"{tmp_path}:/host",
        "--tmpfs",
        "/scratch",
        IMAGE,
        "sh",
        "-c",
        "cat /host/in; echo back >/host/out; grep -c scratch /proc/mounts",
    )
    assert found == "from the host1"
    assert (tmp_path / "out").read_text() == "back\n"


def test_a_read_only_bind_stays_untouched(engine: NativeEngine, tmp_path: Path) -> None:
    assert (
        engine.docker("run", "--rm", "-v", f"{tmp_path}:/host:ro", IMAGE, "touch", "/host/x").returncode == 1
    )
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_root_refuses_writes(engine: NativeEngine) -> None:
    result = engine.docker("run", "--rm", "--read-only", IMAGE, "touch", "/x")
    assert result.returncode == 1
    assert b"Read-only file system" in result.stderr


def test_a_named_volume_outlives_its_containers(engine: NativeEngine) -> None:
    ok(engine, "run", "--rm", "-v", "keep:/data", IMAGE, "sh", "-c", "echo kept >/data/f")
    try:
        assert ok(engine, "run", "--rm", "-v", "keep:/data", IMAGE, "cat", "/data/f") == "kept"
    finally:
        ok(engine, "volume", "rm", "keep")
    assert engine.docker("volume", "inspect", "keep").returncode == 1


def test_a_new_volume_over_the_images_files_has_them(engine: NativeEngine) -> None:
    assert "passwd" in ok(engine, "run", "--rm", "-v", "/etc", IMAGE, "ls", "/etc").split()
    assert ok(engine, "run", "--rm", "-v", "/mnt", IMAGE, "ls", "/mnt") == ""
    assert ok(engine, "volume", "ls", "-q") == ""


def test_capabilities_follow_add_and_drop(engine: NativeEngine) -> None:
    found = ok(
        engine,
        "run",
        "--rm",
        "--cap-drop",
        "ALL",
        "--cap-add",
        "NET_ADMIN",
        IMAGE,
        "grep",
        "CapEff",
        "/proc/self/status",
    )
    assert int(found.split()[1], 16) == 1 << 12


def test_privileged_has_what_the_engine_has(engine: NativeEngine) -> None:
    found = ok(engine, "run", "--rm", "--privileged", IMAGE, "grep", "CapEff", "/proc/self/status")
    mine = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd")
    )
    assert found.split()[1] == mine.split()[1]


def test_an_unavailable_option_is_refused_by_name(engine: NativeEngine) -> None:
    result = engine.docker("run", "--rm", "--storage-opt", "size=1G", IMAGE, "true")
    assert result.returncode == 125
    assert b"HostConfig.StorageOpt" in result.stderr


def test_ps_filters(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "alpha", "--label", "team=a", IMAGE, "sleep", "60")
    assert (
        engine.docker("run", "--name", "beta", "--label", "team=b", IMAGE, "sh", "-c", "exit 4").returncode
        == 4
    )

    def names(*filters: str) -> set[str]:
        words = [word for each in filters for word in ("--filter", each)]
        return set(ok(engine, "ps", "-a", "--format", "{{.Names}}", *words).split())

    assert names("label=team=a") == {"alpha"}
    assert names("status=exited") == {"beta"}
    assert names("exited=4", "label=team") == {"beta"}
    assert names("name=al") == {"alpha"}
    assert names(f"ancestor={IMAGE}") == {"alpha", "beta"}
    assert names("since=alpha") == {"beta"}
    assert ok(engine, "ps", "--format", "{{.Names}}") == "alpha"
    assert "virtual" in ok(engine, "ps", "-as", "--format", "{{.Size}}")


def test_logs_tail_timestamps_since_and_until(engine: NativeEngine) -> None:
    ok(
        engine,
        "run",
        "--name",
        "talk",
        IMAGE,
        "sh",
        "-c",
        "for i in 1 2 3; do echo $i; done; sleep 1.1; echo 4",
    )
    assert ok(engine, "logs", "talk") == "1\n2\n3\n4"
    assert ok(engine, "logs", "--tail", "2", "talk") == "3\n4"
    stamped = ok(engine, "logs", "-t", "talk").split("\n")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z \d", line) for line in stamped), stamped
    last = stamped[-1].split()[0]
    assert ok(engine, "logs", "--since", last, "talk") == "4"
    assert ok(engine, "logs", "--until", stamped[2].split()[0], "talk") == "1\n2\n3"


def test_logs_follow_ends_with_the_container(engine: NativeEngine) -> None:
    ok(
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
    assert ok(engine, "logs", "-f", "slow") == "1\n2\n3"


def test_logs_follow_survives_rotation(engine: NativeEngine) -> None:
    script = "for i in $(seq 1 40); do seq $((i * 100)) $((i * 100 + 99)); sleep 0.02; done"
    ok(
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
    assert ok(engine, "logs", "-f", "rotating").split() == [str(n) for n in range(100, 4100)]


def test_exec_with_user_folder_environment_and_exit_status(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "base", IMAGE, "sleep", "60")
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
    ok(engine, "exec", "-d", "base", "touch", "/made")
    for _ in range(50):
        if engine.docker("exec", "base", "test", "-e", "/made").returncode == 0:
            return
        time.sleep(0.05)
    raise AssertionError("a detached exec did nothing")


def test_stop_start_restart_kill_wait_rm(engine: NativeEngine) -> None:
    ok(
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
    ok(engine, "stop", "life")
    assert ok(engine, "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "life") == "exited 5"
    ok(engine, "start", "life")
    ok(engine, "restart", "life")
    assert engine.docker("rm", "life").returncode == 1
    ok(engine, "kill", "life")
    assert ok(engine, "wait", "life") == "137"
    ok(engine, "rm", "life")
    assert "No such container: life" in engine.docker("rm", "life").stderr.decode()


def test_stop_signal_and_stop_timeout(engine: NativeEngine) -> None:
    ok(
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
    ok(engine, "stop", "usr")
    assert ok(engine, "wait", "usr") == "6"
    ok(engine, "run", "-d", "--name", "deaf", "--stop-timeout", "1", IMAGE, "sleep", "60")
    began = time.monotonic()
    ok(engine, "stop", "deaf")
    assert 0.9 < time.monotonic() - began < 8
    assert ok(engine, "wait", "deaf") == "137"


def test_start_attached_shows_only_the_new_run(engine: NativeEngine) -> None:
    ok(engine, "run", "--name", "again", IMAGE, "sh", "-c", "echo run")
    assert ok(engine, "start", "-a", "again") == "run"
    assert ok(engine, "logs", "again") == "run\nrun"


def test_pause_freezes_and_unpause_thaws(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "ice", IMAGE, "sleep", "60")
    ok(engine, "pause", "ice")
    assert "(Paused)" in ok(engine, "ps", "--format", "{{.Status}}")
    assert b"is paused" in engine.docker("exec", "ice", "true").stderr
    ok(engine, "unpause", "ice")
    ok(engine, "exec", "ice", "true")


def test_rename_top_and_stats(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "old", IMAGE, "sleep", "60")
    ok(engine, "rename", "old", "new")
    assert "sleep 60" in ok(engine, "top", "new")
    assert ok(engine, "stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "new") == "new 1"


def test_restart_policy_brings_a_container_back_until_its_limit(engine: NativeEngine) -> None:
    ok(
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
        if ok(engine, "inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "loop") == "exited 2":
            break
        time.sleep(0.1)
    assert ok(engine, "logs", "loop") == "try\ntry\ntry"


def test_stop_ends_a_restart_policy(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "always", "--restart", "always", IMAGE, "sleep", "60")
    ok(engine, "stop", "-t", "0", "always")
    time.sleep(0.5)
    assert ok(engine, "inspect", "-f", "{{.State.Status}}", "always") == "exited"


def test_events_are_replayed_and_filtered(engine: NativeEngine) -> None:
    since = f"{time.time():.9f}"
    assert (
        engine.docker(
            "run", "--rm", "--name", "seen", "--label", "mark=1", IMAGE, "sh", "-c", "exit 9"
        ).returncode
        == 9
    )
    words = ok(
        engine,
        "events",
        "--since",
        since,
        "--until",
        f"{time.time():.9f}",
        "--filter",
        "label=mark",
        "--format",
        "{{.Action}}",
    )
    assert words.split() == ["create", "attach", "start", "die", "destroy"]
    died = ok(
        engine,
        "events",
        "--since",
        since,
        "--until",
        f"{time.time():.9f}",
        "--filter",
        "event=die",
        "--format",
        "{{json .}}",
    )
    assert json.loads(died)["Actor"]["Attributes"]["exitCode"] == "9"


def test_save_load_tag_rmi(engine: NativeEngine, tmp_path: Path) -> None:
    ok(engine, "import", "-", "small:1", stdin=busybox_tar())
    archive = tmp_path / "image.tar"
    ok(engine, "save", "-o", str(archive), "small:1")
    ok(engine, "tag", "small:1", "other:2")
    ok(engine, "rmi", "small:1", "other:2")
    assert "small" not in ok(engine, "images")
    ok(engine, "load", "-i", str(archive))
    assert ok(engine, "run", "--rm", "small:1", "echo", "loaded") == "loaded"
    ok(engine, "rmi", "small:1")


def test_an_image_in_use_is_not_removed(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "user", IMAGE, "sleep", "60")
    assert b"conflict" in engine.docker("rmi", IMAGE).stderr


@contextmanager
def terminal(engine: NativeEngine, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """docker with a terminal of its own: (our end, the process)."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["docker", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=engine.docker_environment(),
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield ours, process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(fd: int, wanted: bytes, seconds: float = 20.0) -> bytes:
    seen = b""
    deadline = time.monotonic() + seconds
    while wanted not in seen:
        left = deadline - time.monotonic()
        assert left > 0, f"{wanted!r} did not come: {seen!r}"
        if select.select([fd], [], [], left)[0]:
            try:
                seen += os.read(fd, 65536)
            except OSError:
                raise AssertionError(f"ended without {wanted!r}: {seen!r}") from None
    return seen


def test_an_interactive_shell_has_a_terminal_of_the_right_size(engine: NativeEngine) -> None:
    with terminal(engine, "run", "--rm", "-it", IMAGE, "sh") as (ours, process):
        _set_size(ours, 33, 99)
        process.send_signal(signal.SIGWINCH)
        read_until(ours, b"# ")
        os.write(ours, b"sleep 0.5; stty size; tty\n")
        # In one go: both may come in one read.
        assert b"33 99" in read_until(ours, b"/dev/pts/0")
        os.write(ours, b"exit 4\n")
        assert process.wait(20) == 4


def _set_size(fd: int, rows: int, columns: int) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_ctrl_c_interrupts_the_program_in_the_terminal(engine: NativeEngine) -> None:
    with terminal(
        engine,
        "run",
        "--rm",
        "-it",
        IMAGE,
        "sh",
        "-c",
        "trap 'exit 8' INT; echo ready; while :; do sleep 0.1; done",
    ) as (ours, process):
        read_until(ours, b"ready")
        os.write(ours, b"\x03")
        assert process.wait(20) == 8


def test_detach_keys_leave_the_container_running_and_attach_comes_back(engine: NativeEngine) -> None:
    with terminal(engine, "run", "-it", "--name", "shell", IMAGE, "sh") as (ours, process):
        read_until(ours, b"# ")
        os.write(ours, b"X=kept\n")
        read_until(ours, b"# ")
        os.write(ours, b"\x10\x11")
        assert process.wait(20) == 0
    assert ok(engine, "inspect", "-f", "{{.State.Status}}", "shell") == "running"
    with terminal(engine, "attach", "shell") as (ours, process):
        os.write(ours, b"echo is $X\n")
        read_until(ours, b"is kept")
        os.write(ours, b"exit\n")
        assert process.wait(20) == 0


def test_an_exec_with_a_terminal(engine: NativeEngine) -> None:
    ok(engine, "run", "-d", "--name", "host", IMAGE, "sleep", "60")
    with terminal(engine, "exec", "-it", "host", "sh") as (ours, process):
        read_until(ours, b"# ")
        os.write(ours, b"tty; exit 3\n")
        read_until(ours, b"/dev/pts/")
        assert process.wait(20) == 3


def test_fifty_short_runs_lose_no_output(engine: NativeEngine) -> None:
    for number in range(50):
        result = engine.docker("run", "--rm", IMAGE, "echo", f"hi {number}")
        assert (result.stdout, result.stderr, result.returncode) == (f"hi {number}\n".encode(), b"", 0)
    assert ok(engine, "ps", "-aq") == ""
