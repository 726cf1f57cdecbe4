"""The real docker command as a client: every test is a promise to its users."""

import time
from pathlib import Path

import pytest
import requests
from docker_command import docker
from native_engine import IMAGE, NativeEngine

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]


def test_version_shows_client_and_server(engine: NativeEngine) -> None:
    assert docker(engine, "version", "--format", "{{.Server.APIVersion}} {{.Server.Os}}") == "1.51 linux"


def test_info_names_the_storage_and_cgroup_drivers(engine: NativeEngine) -> None:
    found = docker(engine, "info", "--format", "{{.Driver}} {{.CgroupDriver}} {{.OSType}}")
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
    assert docker(engine, "ps", "-aq") == ""


def test_run_of_a_file_that_is_no_program_is_126(engine: NativeEngine) -> None:
    assert engine.docker("run", "--rm", IMAGE, "/etc/passwd").returncode == 126


def test_run_takes_environment_folder_user_and_hostname(engine: NativeEngine) -> None:
    script = "echo $A $FROM_IMAGE; pwd; id -u; id -g; hostname"
    found = docker(
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
    assert docker(engine, "run", "--rm", "--entrypoint", "/bin/echo", IMAGE, "x", "y") == "x y"


def test_limits_arrive_in_the_cgroup(engine: NativeEngine) -> None:
    v1 = "memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max"
    v2 = "memory.max cpu.max pids.max"
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    found = docker(
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
    assert docker(engine, "inspect", "-f", "{{.State.OOMKilled}}", "oom") == "true"


@pytest.mark.parametrize(("mode", "devices"), [("none", {"lo"}), ("bridge", {"lo", "eth0"})])
def test_network_modes_give_their_devices(engine: NativeEngine, mode: str, devices: set[str]) -> None:
    found = docker(engine, "run", "--rm", "--network", mode, IMAGE, "ls", "/sys/class/net")
    assert set(found.split()) & {"lo", "eth0"} == devices


def test_the_host_network_is_the_hosts(engine: NativeEngine) -> None:
    found = docker(engine, "run", "--rm", "--network", "host", IMAGE, "readlink", "/proc/self/ns/net")
    assert found == str(Path("/proc/self/ns/net").readlink())


def test_a_container_joins_anothers_network(engine: NativeEngine) -> None:
    docker(engine, "run", "-d", "--name", "first", IMAGE, "sleep", "60")
    one = docker(engine, "exec", "first", "readlink", "/proc/self/ns/net")
    assert (
        docker(engine, "run", "--rm", "--network", "container:first", IMAGE, "readlink", "/proc/self/ns/net")
        == one
    )


def test_a_published_port_is_reached_and_shown(engine: NativeEngine) -> None:
    docker(
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
    address = docker(engine, "port", "web", "80").split("\n")[0]
    assert _fetch(f"http://{address}/") == b"hello\n"


def _fetch(url: str) -> bytes:
    for _ in range(50):
        try:
            return requests.get(url, timeout=2).content
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def test_a_taken_port_is_refused_with_dockers_words(engine: NativeEngine) -> None:
    docker(engine, "run", "-d", "--name", "one", "-p", "127.0.0.1:0:80", IMAGE, "sleep", "60")
    port = docker(engine, "port", "one", "80").rpartition(":")[2]
    result = engine.docker("run", "-d", "-p", f"127.0.0.1:{port}:80", IMAGE, "sleep", "60")
    assert result.returncode == 125
    assert b"port is already allocated" in result.stderr


def test_binds_and_tmpfs(engine: NativeEngine, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host")
    found = docker(
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
    docker(engine, "run", "--rm", "-v", "keep:/data", IMAGE, "sh", "-c", "echo kept >/data/f")
    try:
        assert docker(engine, "run", "--rm", "-v", "keep:/data", IMAGE, "cat", "/data/f") == "kept"
    finally:
        docker(engine, "volume", "rm", "keep")
    assert engine.docker("volume", "inspect", "keep").returncode == 1


def test_a_new_volume_over_the_images_files_has_them(engine: NativeEngine) -> None:
    assert "passwd" in docker(engine, "run", "--rm", "-v", "/etc", IMAGE, "ls", "/etc").split()
    assert docker(engine, "run", "--rm", "-v", "/mnt", IMAGE, "ls", "/mnt") == ""
    assert docker(engine, "volume", "ls", "-q") == ""


def test_capabilities_follow_add_and_drop(engine: NativeEngine) -> None:
    found = docker(
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
    found = docker(engine, "run", "--rm", "--privileged", IMAGE, "grep", "CapEff", "/proc/self/status")
    mine = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd")
    )
    assert found.split()[1] == mine.split()[1]


def test_an_unavailable_option_is_refused_by_name(engine: NativeEngine) -> None:
    result = engine.docker("run", "--rm", "--storage-opt", "size=1G", IMAGE, "true")
    assert result.returncode == 125
    assert b"HostConfig.StorageOpt" in result.stderr


def test_fifty_short_runs_lose_no_output(engine: NativeEngine) -> None:
    for number in range(50):
        result = engine.docker("run", "--rm", IMAGE, "echo", f"hi {number}")
        assert (result.stdout, result.stderr, result.returncode) == (f"hi {number}\n".encode(), b"", 0)
    assert docker(engine, "ps", "-aq") == ""
