"""--userns-remap=auto: root of a container is nobody on the host, through the API."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from native_engine import NativeEngine

from wherryd.containers import idranges
from wherrywire import rawstream

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def remapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeEngine]:
    engine = NativeEngine(tmp_path_factory.mktemp("remap"), 31)
    try:
        engine.start("--userns-remap", "auto")
        engine.import_busybox()
        yield engine
    finally:
        engine.end()


@pytest.fixture(autouse=True)
def _no_containers(remapped: NativeEngine) -> Iterator[None]:
    yield
    remapped.remove_containers()


def uid_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Uid:")).split()[1])


def pid_of(engine: NativeEngine, container: str) -> int:
    return int(engine.inspect(container)["State"]["Pid"])


def said(engine: NativeEngine, script: str, host: dict[str, Any] | None = None, **fields: Any) -> list[str]:
    container = engine.run("sh", "-c", script, Tty=True, HostConfig=host or {}, **fields)
    engine.wait(container)
    return str(engine.call("GET", f"/containers/{container}/logs", stdout=1, stderr=1).text).split()


def test_each_containers_root_is_somebody_else_on_the_host(remapped: NativeEngine) -> None:
    first, second = remapped.run("sleep", "1000"), remapped.run("sleep", "1000")
    uids = {uid_of(pid_of(remapped, each)) for each in (first, second)}
    assert len(uids) == 2
    assert all(uid >= idranges.FIRST and uid % idranges.SIZE == 0 for uid in uids)
    assert "name=userns" in remapped.call("GET", "/info").json["SecurityOptions"]


def test_inside_everything_is_as_without(remapped: NativeEngine) -> None:
    script = (
        "id -u; stat -c %u:%g /bin/busybox /etc/hosts /etc/resolv.conf /tmp; "
        "chown 5:6 /tmp && stat -c %u:%g /tmp; "
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; test -d /sys/class/net && echo sysfs; "
        "touch /sys/x || echo readonly"
    )
    found = said(remapped, script)
    assert found[:8] == ["0", "0:0", "0:0", "0:0", "0:0", "5:6", "0", "sysfs"], found
    assert found[-1] == "readonly"


def test_volumes_and_binds_keep_the_ids_that_are_inside(remapped: NativeEngine, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    (tmp_path / "mine").chmod(0o600)
    script = "cat /host/mine > /data/copy; chown 1000:1000 /data/copy; touch /host/new; stat -c %u /data/copy"
    host = {"Binds": [f"{tmp_path}:/host", "vol:/data"]}
    assert said(remapped, script, host) == ["1000"]
    assert (tmp_path / "new").stat().st_uid == 0
    # Another container, with another range, finds them the same.
    assert said(remapped, "stat -c %u:%s /data/copy /host/new", host) == ["1000:1", "0:0"]


def test_the_host_is_out_of_reach_for_a_root_that_got_out(remapped: NativeEngine, tmp_path: Path) -> None:
    """As who got out would stand there: with the container's ids, and no power."""
    container = remapped.run("sh", "-c", "touch /made; sleep 1000")
    pid = pid_of(remapped, container)
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    child = os.fork()
    if child == 0:
        try:
            uid = uid_of(pid)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            secret.read_text()
        except PermissionError:
            os._exit(13)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 13


@pytest.mark.parametrize(
    "host",
    [
        {"UsernsMode": "host"},
        {"Privileged": True},
        {"PidMode": "host"},
        {"NetworkMode": "host"},
        pytest.param(
            {"IpcMode": "host"},
            marks=pytest.mark.skipif(not Path("/dev/mqueue").is_dir(), reason="this host has no /dev/mqueue"),
        ),
        {"CapAdd": ["NET_ADMIN"]},
    ],
)
def test_what_needs_the_hosts_ids_has_them(remapped: NativeEngine, host: dict[str, Any]) -> None:
    container = remapped.run("sleep", "1000", HostConfig=host)
    assert uid_of(pid_of(remapped, container)) == 0


def test_namespaces_of_a_remapped_container_can_be_joined(remapped: NativeEngine) -> None:
    first = remapped.run(
        "sh", "-c", "hostname > /dev/shm/name; sleep 1000", HostConfig={"IpcMode": "shareable"}
    )
    for mode in ("NetworkMode", "PidMode", "IpcMode"):
        assert said(remapped, "echo joined", {mode: f"container:{first}"}) == ["joined"]


def test_the_range_stays_over_restarts_of_both(remapped: NativeEngine) -> None:
    container = remapped.run("sh", "-c", "echo x >> /kept; cat /kept; sleep 1000", name="stays")
    uid = uid_of(pid_of(remapped, container))
    remapped.stop()
    remapped.start("--userns-remap", "auto")
    assert uid_of(pid_of(remapped, container)) == uid
    assert remapped.call("POST", f"/containers/{container}/restart", t=0).status == 204
    assert uid_of(pid_of(remapped, container)) == uid
    made = remapped.call(
        "POST",
        f"/containers/{container}/exec",
        {"Cmd": ["sh", "-c", "id -u; cat /kept"], "AttachStdout": True},
    )
    answer = remapped.call("POST", f"/exec/{made.json['Id']}/start", {"Detach": False, "Tty": False})
    assert b"".join(frame.payload for frame in rawstream.Decoder().feed(answer.body)) == b"0\nx\nx\n"


def test_ports_limits_and_users_work(remapped: NativeEngine) -> None:
    host = {"Memory": 64 << 20, "PidsLimit": 50, "Ulimits": [{"Name": "nofile", "Soft": 99, "Hard": 99}]}
    found = said(
        remapped,
        "ulimit -n; id -un; nc -l -p 80 & usleep 100000; netstat -ltn | grep -c :80",
        host,
        User="user",
    )
    assert found == ["99", "user", "1"]


def test_the_option_knows_one_word(tmp_path: Path) -> None:
    engine = NativeEngine(tmp_path, 32)
    with pytest.raises(AssertionError, match="hint: auto"):
        engine.start("--userns-remap", "dockremap")
    engine.end()
