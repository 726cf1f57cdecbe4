"""One container from create to delete: namespaces, mounts, identity, exit codes, errors."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
import runtime_fixtures
from runtime_rig import CGROUP, Rig, config, pids_of, plain_io

from wherryd.cgroups.manager import layout
from wherryd.errors import Conflict, InvalidParameter, NotSupported, RuntimeFault
from wherryd.spec import defaults

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

rig = runtime_fixtures.rig


async def test_output_of_both_streams_and_exit_code_come_back(rig: Rig) -> None:
    output = await rig.sh("echo out; echo err >&2; exit 7")
    assert (output.stdout, output.stderr, output.status.exit_code) == ("out\n", "err\n", 7)
    assert not output.status.oom_killed
    assert output.status.error == ""


async def test_a_signal_gives_128_plus_its_number(rig: Rig) -> None:
    monitor = await rig.running()
    await monitor.kill(signal.SIGKILL)
    assert (await monitor.wait()).exit_code == 137
    await monitor.delete()


async def test_init_is_pid_1_and_sees_only_its_own_processes(rig: Rig) -> None:
    output = await rig.sh("echo $$; ls -d /proc/[0-9]*")
    lines = output.stdout.split()
    assert lines[0] == "1"
    assert set(lines[1:]) <= {"/proc/1", "/proc/2", "/proc/3"}


async def test_namespaces_differ_from_the_hosts_unless_shared(rig: Rig) -> None:
    kinds = {"mnt": "mount", "pid": "pid", "net": "network", "uts": "uts", "ipc": "ipc", "cgroup": "cgroup"}
    own = {name: str(Path(f"/proc/self/ns/{name}").readlink()) for name in kinds}
    script = "for n in mnt pid net uts ipc cgroup; do readlink /proc/self/ns/$n; done"
    found = dict(zip(kinds, (await rig.sh(script)).stdout.split(), strict=True))
    assert not set(own.values()) & set(found.values())
    shared = config("sh", "-c", script)
    shared["linux"]["namespaces"] = [{"type": "mount"}]
    del shared["hostname"]
    found = dict(zip(kinds, (await rig.run(shared)).stdout.split(), strict=True))
    assert {name for name in kinds if found[name] == own[name]} == set(kinds) - {"mnt"}


async def test_a_network_namespace_is_joined_by_path(rig: Rig) -> None:
    holder = await rig.running()
    path = f"/proc/{holder.pid}/ns/net"
    document = config("readlink", "/proc/self/ns/net")
    document["linux"]["namespaces"] = [
        {"type": kind} | ({"path": path} if kind == "network" else {}) for kind in defaults.NAMESPACES
    ]
    assert (await rig.run(document)).stdout.strip() == str(Path(path).readlink())
    await holder.kill(signal.SIGKILL)
    await holder.wait()
    await holder.delete()


async def test_a_pid_namespace_is_shared_with_another_container(rig: Rig) -> None:
    holder = await rig.running("sleep 12345")
    document = config("ps")
    document["linux"]["namespaces"] = [
        {"type": kind} | ({"path": f"/proc/{holder.pid}/ns/pid"} if kind == "pid" else {})
        for kind in defaults.NAMESPACES
    ]
    assert "sleep 12345" in (await rig.run(document)).stdout
    await holder.kill(signal.SIGKILL)
    await holder.wait()
    await holder.delete()


async def test_loopback_is_up_in_a_new_network(rig: Rig) -> None:
    assert (await rig.sh("cat /sys/class/net/lo/flags")).stdout.strip() == "0x9"


async def test_hostname_environment_and_cwd_are_set(rig: Rig) -> None:
    output = await rig.sh("hostname; pwd; env", cwd="/made/for/me", env=["PATH=/bin", "A=b=c"])
    lines = output.stdout.splitlines()
    assert lines[:2] == ["box", "/made/for/me"]
    assert {"A=b=c", "HOME=/root", "PATH=/bin"} <= set(lines)


async def test_a_user_is_found_by_name_with_its_groups(rig: Rig) -> None:
    output = await rig.sh("id; echo $HOME", user={"uid": 0, "gid": 0, "username": "my"})
    assert output.stdout == "uid=101(my) gid=102(my) groups=200(extra),102(my)\n/home/my\n" or (
        "uid=101(my) gid=102(my)" in output.stdout and "200(extra)" in output.stdout
    )
    assert output.stdout.endswith("/home/my\n")


async def test_a_numeric_user_has_its_groups_and_no_capability_after_exec(rig: Rig) -> None:
    output = await rig.sh(
        "id -u; id -g; id -G; grep Cap /proc/self/status; umask",
        user={"uid": 1234, "gid": 5, "additionalGids": [7, 8], "umask": 0o27},
    )
    lines = output.stdout.split()
    assert lines[:2] == ["1234", "5"]
    assert {"5", "7", "8"} <= set(lines[2:5])
    status = dict(zip(lines[5:15:2], lines[6:15:2], strict=True))
    assert int(status["CapEff:"], 16) == int(status["CapPrm:"], 16) == int(status["CapAmb:"], 16) == 0
    assert lines[-1] == "0027"


async def test_an_unknown_user_is_told_in_dockers_words(rig: Rig) -> None:
    with pytest.raises(InvalidParameter, match="unable to find user nobody2: no matching entries in passwd"):
        await rig.create(config("true", user={"uid": 0, "gid": 0, "username": "nobody2"}))


async def test_stdout_can_be_opened_again_by_a_user_without_power(rig: Rig) -> None:
    output = await rig.sh("echo again > /dev/stdout", user={"uid": 1234, "gid": 5})
    assert (output.stdout, output.stderr) == ("again\n", "")


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("nosuch", 127, r'exec: "nosuch": executable file not found in \$PATH'),
        ("/bin/nosuch", 127, 'exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory'),
        ("/bin/notexec", 126, 'exec: "/bin/notexec": permission denied'),
        ("/bin", 126, 'exec: "/bin": is a directory'),
        ("/bin/nointerpreter", 127, "no such file or directory"),
    ],
)
async def test_a_program_that_cannot_run_is_told_with_its_code(
    rig: Rig, program: str, code: int, words: str
) -> None:
    with pytest.raises(RuntimeFault, match=words) as caught:
        await (await rig.create(config(program))).start()
    assert caught.value.exit_code == code


async def test_a_failed_start_leaves_its_error_as_exit_status(rig: Rig) -> None:
    monitor = await rig.create(config("/bin/nointerpreter"))
    with pytest.raises(RuntimeFault):
        await monitor.start()
    status = await monitor.wait()
    assert status.exit_code == 127
    assert "nointerpreter" in status.error
    assert rig.client.last_exit(monitor.container_id) == status
    await monitor.delete()


async def test_a_failed_create_leaves_nothing(rig: Rig) -> None:
    with pytest.raises(RuntimeFault):
        await rig.create(config("nosuch"), name="gone")
    assert not (rig.exec_root / "containers/gone").exists()
    for mount in layout().mounts.values():
        assert not (mount / f"{CGROUP}/gone".lstrip("/")).exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"process": {"apparmorProfile": "docker-default"}}, "process.apparmorProfile"),
    ],
)
async def test_what_cannot_be_carried_out_is_refused(rig: Rig, change: dict[str, Any], word: str) -> None:
    document = config("true")
    for key, value in change.items():
        document.setdefault(key, {}).update(value)
    with pytest.raises(NotSupported, match=word):
        await rig.create(document)


async def test_a_taken_id_is_a_conflict(rig: Rig) -> None:
    monitor = await rig.running()
    bundle = rig.base / monitor.container_id
    with pytest.raises(Conflict, match="exists already"):
        await rig.client.create(monitor.container_id, bundle=bundle, rootfs=(), io=plain_io())
    assert (await monitor.pids()) == [monitor.pid] or monitor.pid in await monitor.pids()


async def test_deleting_a_running_container_is_a_conflict(rig: Rig) -> None:
    monitor = await rig.running()
    with pytest.raises(Conflict, match="running"):
        await monitor.delete()


async def test_a_created_container_can_be_deleted_and_delete_may_be_called_twice(rig: Rig) -> None:
    monitor = await rig.create(config("true"))
    pid = monitor.pid
    await monitor.delete()
    await monitor.delete()
    assert not Path(f"/proc/{pid}").exists()
    assert await rig.client.recover(monitor.container_id) is None


async def test_all_processes_go_when_init_is_killed(rig: Rig) -> None:
    monitor = await rig.running("sleep 1000 & sleep 1000 & sleep 1000 & wait")
    pids = await pids_of(monitor, 4)
    await monitor.kill(signal.SIGKILL)
    await monitor.wait()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def test_without_a_pid_namespace_all_processes_go_as_well(rig: Rig) -> None:
    document = config("sh", "-c", "sleep 1000 & sleep 1000 & sleep 1000 & wait")
    document["linux"]["namespaces"] = [{"type": kind} for kind in defaults.NAMESPACES if kind != "pid"]
    monitor = await rig.create(document)
    await monitor.start()
    pids = await pids_of(monitor, 4)
    await monitor.kill(signal.SIGKILL)
    await monitor.wait()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def _foreign_mounts() -> list[str]:
    """All but those of an engine that somebody else's tests run meanwhile."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if "/wherry-test-" not in line]


async def test_mounts_stay_in_the_container(rig: Rig) -> None:
    before = _foreign_mounts()
    monitor = await rig.running()
    assert _foreign_mounts() == before
    assert not list((rig.base / monitor.container_id / "rootfs").iterdir())


async def test_pause_stops_and_resume_goes_on(rig: Rig) -> None:
    monitor = await rig.create(config("sh", "-c", "while true; do echo x; usleep 5000; done"))
    stream = await monitor.attach(stdin=False, stdout=True, stderr=False)
    await monitor.start()
    await stream.reader.read(16)
    await monitor.pause()
    with pytest.raises(Conflict, match="already paused"):
        await monitor.pause()
    await asyncio.sleep(0.1)
    size = rig.log(monitor.container_id).stat().st_size
    await asyncio.sleep(0.2)
    assert rig.log(monitor.container_id).stat().st_size == size
    await monitor.resume()
    async with asyncio.timeout(20):
        while rig.log(monitor.container_id).stat().st_size == size:
            await asyncio.sleep(0.01)
    stream.close()


async def test_a_paused_container_dies_of_sigkill(rig: Rig) -> None:
    monitor = await rig.running()
    await monitor.pause()
    await monitor.kill(signal.SIGKILL)
    async with asyncio.timeout(10):
        assert (await monitor.wait()).exit_code == 137


async def test_a_user_namespace_maps_ids(rig: Rig) -> None:
    document = config("sh", "-c", "id -u; cat /proc/self/uid_map; mount -t tmpfs x /tmp && echo mounted")
    document["linux"]["namespaces"].append({"type": "user"})
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    document["linux"] |= {"uidMappings": maps, "gidMappings": maps}
    document["mounts"] = [each for each in document["mounts"] if each["destination"] != "/dev/mqueue"]
    document["process"]["capabilities"]["permitted"] = [*defaults.CAPABILITIES, "CAP_SYS_ADMIN"]
    document["process"]["capabilities"]["bounding"] = [*defaults.CAPABILITIES, "CAP_SYS_ADMIN"]
    document["process"]["capabilities"]["effective"] = [*defaults.CAPABILITIES, "CAP_SYS_ADMIN"]
    name = rig.name()
    bundle, layers = rig.bundle(name, document)
    monitor = await rig.client.create(name, bundle=bundle, rootfs=layers, io=plain_io())
    rig.monitors.append(monitor)
    stream = await monitor.attach(stdin=False, stdout=True, stderr=True)
    await monitor.start()
    raw = (await stream.reader.read()).decode()
    stream.close()
    assert "     100000      65536" in raw
    assert "mounted" in raw


async def test_a_time_namespace_shifts_the_clock(rig: Rig) -> None:
    document = config("cat", "/proc/uptime")
    document["linux"]["namespaces"].append({"type": "time"})
    document["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000, "nanosecs": 0}}
    assert float((await rig.run(document)).stdout.split()[0]) > 1000000
