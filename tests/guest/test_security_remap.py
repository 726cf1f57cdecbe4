"""Containers have user namespaces: root of one is nobody on the host, through the API."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from native_engine import IMAGE, NativeEngine

from wherryd.containers import idranges
from wherryd.sys import namespaces as ns
from wherrywire import rawstream

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def remapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeEngine]:
    engine = NativeEngine(tmp_path_factory.mktemp("remap"), 31)
    try:
        engine.start()
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


def executed(engine: NativeEngine, container: str, script: str, user: str = "") -> str:
    made = engine.call(
        "POST",
        f"/containers/{container}/exec",
        {"Cmd": ["sh", "-c", script], "AttachStdout": True, "AttachStderr": True, "User": user},
    )
    answer = engine.call("POST", f"/exec/{made.json['Id']}/start", {"Detach": False, "Tty": False})
    return b"".join(frame.payload for frame in rawstream.Decoder().feed(answer.body)).decode()


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
        {"CapAdd": ["SYS_TIME"]},
        {"CapAdd": ["ALL"]},
        {"Binds": ["/proc/sys:/host:ro"]},
    ],
)
def test_what_needs_the_hosts_ids_has_them(remapped: NativeEngine, host: dict[str, Any]) -> None:
    container = remapped.run("sleep", "1000", HostConfig=host)
    assert uid_of(pid_of(remapped, container)) == 0


def test_what_was_not_asked_for_is_said(remapped: NativeEngine) -> None:
    def warnings(host: dict[str, Any]) -> list[str]:
        body = {"Image": IMAGE, "HostConfig": host}
        return list(remapped.call("POST", "/containers/create", body).json["Warnings"])

    assert "SYS_TIME has no force in a user namespace" in warnings({"CapAdd": ["SYS_TIME"]})[0]
    assert (
        "/proc/sys is on a file system without id-mapped mounts"
        in warnings({"Binds": ["/proc/sys:/h:ro"]})[0]
    )
    assert warnings({"CapAdd": ["NET_ADMIN"]}) == warnings({"PidMode": "host"}) == []


@pytest.mark.parametrize("mode", ["NetworkMode", "PidMode", "IpcMode"])
def test_who_joins_a_namespace_has_its_owners_ids_and_power(remapped: NativeEngine, mode: str) -> None:
    first = remapped.run("sleep", "1000", HostConfig={"IpcMode": "shareable"})
    second = remapped.run("sleep", "1000", HostConfig={mode: f"container:{first}", "CapAdd": ["NET_ADMIN"]})
    pids = [pid_of(remapped, each) for each in (first, second)]
    assert uid_of(pids[0]) == uid_of(pids[1]) >= idranges.FIRST
    namespaces = [os.readlink(f"/proc/{pid}/ns/user") for pid in pids]  # noqa: PTH115
    assert namespaces[0] == namespaces[1]
    script = "ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu"
    assert executed(remapped, second, script) == "1400\n"


def test_who_joins_two_owners_has_the_hosts_ids(remapped: NativeEngine) -> None:
    first, second = (remapped.run("sleep", "1000", HostConfig={"IpcMode": "shareable"}) for _ in range(2))
    third = remapped.run(
        "sleep", "1000", HostConfig={"NetworkMode": f"container:{first}", "IpcMode": f"container:{second}"}
    )
    assert uid_of(pid_of(remapped, third)) == 0


def test_capabilities_have_force_over_what_is_the_containers(remapped: NativeEngine) -> None:
    """Raw sockets by default; with the capability for it, its network and its mounts."""
    network = "ping -c 1 -W 2 127.0.0.1 > /dev/null && echo ping; ip link set lo mtu 1400 || echo refused"
    assert said(remapped, f"exec 2> /dev/null; {network}") == ["ping", "refused"]
    shown = said(remapped, f"{network}; cat /sys/class/net/lo/mtu", {"CapAdd": ["NET_ADMIN"]})
    assert shown == ["ping", "1400"]
    mount = "mount -t tmpfs none /tmp && echo x > /tmp/x && mount --bind /tmp /root && cat /root/x"
    assert said(remapped, mount, {"CapAdd": ["SYS_ADMIN"]}) == ["x"]


def test_the_networks_settings_are_the_containers(remapped: NativeEngine) -> None:
    script = (
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ping_group_range; "
        "echo 1 > /proc/sys/net/ipv4/ip_forward || echo readonly; ls /sys/class/net; "
        "stat -f -c %T /sys; touch /sys/class/net/lo/mtu || echo readonly"
    )
    host = {"Sysctls": {"net.ipv4.ip_forward": "1"}}
    found = said(remapped, script, host)
    assert found[0] == "1"
    assert found.count("readonly") == 2
    assert {"lo", "eth0", "sysfs"} <= set(found)


def test_devices_are_there_and_belong_to_root(remapped: NativeEngine) -> None:
    """Also under another name than the host's, and below a folder; modes and owners as on the host."""
    script = (
        "echo x > /dev/mine && head -c 2 /dev/deep/zero | wc -c; head -c 3 /dev/urandom | wc -c; "
        "stat -c %a:%u:%g /dev/mine /dev/null /dev; mknod /dev/n c 1 3 || rm /dev/mine && ls /dev"
    )
    names = {"/dev/null": "/dev/mine", "/dev/zero": "/dev/deep/zero"}
    devices = [{"PathOnHost": host, "PathInContainer": name} for host, name in names.items()]
    found = said(remapped, script, {"Devices": devices})
    assert found[:2] == ["2", "3"]
    host = Path("/dev/null").stat()
    assert found[2:5] == [f"{host.st_mode & 0o777:o}:{host.st_uid}:{host.st_gid}", "666:0:0", "755:0:0"]
    assert "mine" not in found[5:]
    assert "full" in found[5:]


def test_terminals_belong_to_the_user(remapped: NativeEngine) -> None:
    container = remapped.run("sh", "-c", "tty; stat -c %u:%g $(tty) /dev/console", Tty=True, User="user")
    remapped.wait(container)
    text = remapped.call("GET", f"/containers/{container}/logs", stdout=1).text
    assert text.split() == ["/dev/pts/0", "1000:5", "1000:5"]


def test_file_capabilities_that_a_container_gives_have_force(remapped: NativeEngine) -> None:
    """They name the root that they hold for; on disk that is the image's, so every container has them."""
    container = remapped.run("sh", "-c", "cp /bin/busybox /home/busybox; sleep 1000")
    executed(remapped, container, "until test -x /home/busybox; do usleep 1000; done")
    net_raw = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
    child = os.fork()
    if child == 0:
        try:
            pidfd = os.pidfd_open(pid_of(remapped, container))
            ns.setns(pidfd, ns.CLONE_NEWUSER | ns.CLONE_NEWNS)
            os.setresuid(0, 0, 0)
            os.setxattr("/home/busybox", "security.capability", net_raw)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    shown = executed(remapped, container, "/home/busybox grep CapEff /proc/self/status", user="user")
    assert shown.split() == ["CapEff:", f"{1 << 13:016x}"]
    (upper,) = remapped.data_root.glob("**/home/busybox")
    assert os.getxattr(upper, "security.capability") == net_raw


def test_the_range_stays_over_restarts_of_both(remapped: NativeEngine) -> None:
    container = remapped.run("sh", "-c", "echo x >> /kept; cat /kept; sleep 1000", name="stays")
    uid = uid_of(pid_of(remapped, container))
    remapped.stop()
    remapped.start()
    assert uid_of(pid_of(remapped, container)) == uid
    assert remapped.call("POST", f"/containers/{container}/restart", t=0).status == 204
    assert uid_of(pid_of(remapped, container)) == uid
    assert executed(remapped, container, "id -u; cat /kept") == "0\nx\nx\n"


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
