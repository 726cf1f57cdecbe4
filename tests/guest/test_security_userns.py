"""User namespaces and id-mapped mounts, as the runtime makes them from an OCI config."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import runtime_fixtures
from runtime_rig import Rig, config

from wherryd.errors import InvalidParameter, RuntimeFault
from wherryd.runtime.client import Monitor
from wherryd.spec import defaults
from wherryd.sys import namespaces as ns

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

rig = runtime_fixtures.rig

BASE = 300000
MAPS = [{"containerID": 0, "hostID": BASE, "size": 65536}]


def mapped(document: dict[str, Any]) -> dict[str, Any]:
    document["linux"]["namespaces"].append({"type": "user"})
    document["linux"] |= {"uidMappings": MAPS, "gidMappings": MAPS}
    return document


def bind(source: Path, destination: str, *options: str, **more: Any) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": "bind",
        "source": str(source),
        "options": ["rbind", *options],
        **more,
    }


def upper(rig: Rig, monitor: Monitor) -> Path:
    return rig.base / monitor.container_id / "upper"


async def test_root_inside_is_nobody_outside(rig: Rig) -> None:
    monitor = await rig.create(mapped(config("sleep", "1000")))
    await monitor.start()
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{monitor.pid}/status").read_text().splitlines()
    )
    assert status["Uid"].split() == [str(BASE)] * 4
    assert status["Gid"].split() == [str(BASE)] * 4
    assert Path(f"/proc/{monitor.pid}/uid_map").read_text().split() == ["0", str(BASE), "65536"]
    assert os.readlink(f"/proc/{monitor.pid}/ns/user") != os.readlink("/proc/self/ns/user")  # noqa: PTH115


async def test_the_image_belongs_to_root_inside_and_needs_no_chown(rig: Rig) -> None:
    image = rig.base / "image"
    (image / "home/my/file").write_text("x")
    os.chown(image / "home/my/file", 101, 102)
    script = "ls -ln /bin/busybox /home/my/file; touch /new /etc/passwd && chown 101:102 /new; id -u"
    output = await rig.run(mapped(config("sh", "-c", script)))
    lines = output.stdout.splitlines()
    assert lines[0].split()[2:4] == ["0", "0"]
    assert lines[1].split()[2:4] == ["101", "102"]
    assert lines[2] == "0"
    layer = rig.base / f"c{rig.numbers}" / "upper"
    # What it made and what it changed has on disk the ids it has inside: it can become a layer as it is.
    made, copied = (layer / "new").stat(), (layer / "etc/passwd").stat()
    assert (made.st_uid, made.st_gid) == (101, 102)
    assert (copied.st_uid, copied.st_gid) == (0, 0)
    assert (layer.stat().st_uid, layer.stat().st_gid) == (0, 0)
    assert (image / "etc/passwd").stat().st_uid == 0
    assert (image / "home/my/file").stat().st_uid == 101


async def test_everything_that_a_container_has_is_there(rig: Rig) -> None:
    script = (
        "mount | grep -c -E ' /(proc|dev|dev/pts|dev/shm|dev/mqueue|sys|sys/fs/cgroup) '; "
        "echo x > /dev/null && head -c 2 /dev/zero | wc -c; wc -c < /proc/keys; hostname; "
        "touch /dev/shm/a && echo again > /dev/stdout; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; "
        "echo b > /proc/sysrq-trigger || echo readonly"
    )
    document = mapped(config("sh", "-c", script))
    document["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "7"}
    output = await rig.run(document)
    assert output.stdout.split() == ["7", "2", "0", "box", "again", "7", "readonly"], output.stderr


async def test_users_without_power_terminals_and_exec_work(rig: Rig) -> None:
    user = {"uid": 0, "gid": 0, "username": "my"}
    output = await rig.run(mapped(config("sh", "-c", "id -un; echo again > /dev/stdout", user=user)))
    assert output.stdout.split() == ["my", "again"]
    output = await rig.run(mapped(config("sh", "-c", "tty; ls -ln $(tty)", terminal=True)), terminal=True)
    words = output.stdout.split()
    assert words[0] == "/dev/pts/0"
    assert words[3:5] == ["0", "5"]
    monitor = await rig.create(mapped(config("sleep", "1000")))
    await monitor.start()
    process = config("sh", "-c", "id -u; echo again > /dev/stdout; cat /proc/1/uid_map")["process"]
    session = await monitor.exec_create("e", process=process, open_stdin=False)
    stream = await session.attach(stdin=False, stdout=True, stderr=True)
    await session.start()
    raw = await stream.reader.read()
    stream.close()
    assert b"0\n" in raw
    assert b"again\n" in raw
    assert str(BASE).encode() in raw
    assert (await session.wait()).exit_code == 0


async def test_files_of_the_host_are_not_written_to(rig: Rig, tmp_path: Path) -> None:
    """A bind that is not mapped: root inside is nobody there, also with every capability it can have."""
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    tmp_path.chmod(0o755)
    caps = {name: list(defaults.CAPABILITIES) for name in ("bounding", "effective", "permitted")}
    document = mapped(
        config("sh", "-c", "cat /data/secret; touch /data/new; ls -ln /data/secret", capabilities=caps)
    )
    document["mounts"].append(bind(tmp_path, "/data"))
    output = await rig.run(document)
    assert output.stderr.count("Permission denied") == 2
    assert output.stdout.split()[2:4] == ["65534", "65534"]
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("how", ["idmap", "ridmap", "mappings"])
async def test_an_id_mapped_bind_keeps_the_ids_a_user_expects(rig: Rig, tmp_path: Path, how: str) -> None:
    (tmp_path / "mine").write_text("x")
    (tmp_path / "mine").chmod(0o600)
    document = mapped(config("sh", "-c", "cat /data/mine && touch /data/new && ls -ln /data/mine"))
    if how == "mappings":
        document["mounts"].append(bind(tmp_path, "/data", uidMappings=MAPS, gidMappings=MAPS))
    else:
        document["mounts"].append(bind(tmp_path, "/data", how))
    output = await rig.run(document)
    assert output.stdout.split()[2:4] == ["0", "0"], output.stderr
    new = (tmp_path / "new").stat()
    assert (new.st_uid, new.st_gid) == (0, 0)


async def test_a_bind_can_be_mapped_without_a_user_namespace(rig: Rig, tmp_path: Path) -> None:
    """config.md, "mounts": uidMappings of a mount stand for themselves."""
    (tmp_path / "f").write_text("x")
    os.chown(tmp_path / "f", 1000, 1000)
    document = config("sh", "-c", "ls -ln /data/f")
    shift = [
        {"containerID": 0, "hostID": 0, "size": 1},
        {"containerID": 1000, "hostID": 7, "size": 1},
    ]
    document["mounts"].append(bind(tmp_path, "/data", uidMappings=shift, gidMappings=shift))
    assert (await rig.run(document)).stdout.split()[2:4] == ["7", "7"]


async def test_a_network_that_was_there_before_can_be_joined(rig: Rig, tmp_path: Path) -> None:
    """The engine makes it, with its devices and its sysctls, before there is a container."""
    path = tmp_path / "netns"
    path.touch()
    pid = os.fork()
    if pid == 0:
        ns.unshare(ns.CLONE_NEWNET)
        os.execv("/bin/mount", ["mount", "--bind", "/proc/self/ns/net", str(path)])  # noqa: S606
    assert os.waitpid(pid, 0)[1] == 0
    try:
        document = mapped(config("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"))
        document["linux"]["namespaces"] = [
            {**each, "path": str(path)} if each["type"] == "network" else each
            for each in document["linux"]["namespaces"]
        ]
        document["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "9"}
        # sysfs is for the owner of the network only: what is seen is the engine's, read-only.
        document["mounts"] = [
            bind(Path("/sys"), "/sys", "ro") if each["destination"] == "/sys" else each
            for each in document["mounts"]
        ]
        output = await rig.run(document)
        assert output.stdout == "9\n", output
    finally:
        os.waitpid(os.posix_spawn("/bin/umount", ["umount", str(path)], os.environ), 0)


async def test_a_joined_user_namespace_is_entered_first(rig: Rig) -> None:
    holder = await rig.create(mapped(config("sleep", "1000")))
    await holder.start()
    document = config("sh", "-c", "cat /proc/self/uid_map; id -u; ls -ln /bin/busybox")
    document["linux"] |= {"uidMappings": MAPS, "gidMappings": MAPS}
    document["linux"]["namespaces"] = [
        {**each, "path": f"/proc/{holder.pid}/ns/{each['type']}"} if each["type"] == "ipc" else each
        for each in document["linux"]["namespaces"]
    ]
    document["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{holder.pid}/ns/user"})
    output = await rig.run(document)
    assert output.stdout.split()[:4] == ["0", str(BASE), "65536", "0"], output
    assert output.stdout.split()[6:8] == ["0", "0"]


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ({"options": ["bind"], "uidMappings": MAPS}, "can only be given together"),
        ({"options": ["bind", "idmap"]}, "needs uidMappings and gidMappings"),
        ({"type": "tmpfs", "source": "tmpfs", "options": ["idmap"]}, "only bind mounts"),
    ],
)
async def test_a_mapping_that_cannot_be_is_refused(rig: Rig, mount: dict[str, Any], words: str) -> None:
    document = config("true")
    document["mounts"].append({"destination": "/data", "type": "bind", "source": "/tmp", **mount})
    with pytest.raises(InvalidParameter, match=words):
        await rig.create(document)


async def test_a_file_system_without_id_mapping_is_told(rig: Rig) -> None:
    document = config("true")
    document["mounts"].append(bind(Path("/proc/sys"), "/data", uidMappings=MAPS, gidMappings=MAPS))
    with pytest.raises(RuntimeFault, match="cannot map the ids of /proc/sys"):
        await rig.create(document)


async def test_sockets_of_the_engine_are_closed_to_root_inside(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "door.sock"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        path.chmod(0o600)
        document = mapped(config("sh", "-c", "ls -ln /door.sock; echo > /door.sock"))
        document["mounts"].append(bind(path, "/door.sock"))
        output = await rig.run(document)
    assert output.stdout.split()[2] == "65534"
    assert output.status.exit_code != 0
