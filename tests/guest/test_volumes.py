"""Volumes and mounts, with a native engine and the real docker command."""

import io
import os
import signal
import stat
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker_command import docker, refused
from native_engine import IMAGE, NativeEngine, busybox_tar

pytestmark = pytest.mark.root

#: An image with a folder of its own owner and mode, and all sorts of things in it.
DATA = "data:test"
MOMENT = 981173106
_FOLDER = (
    ("srv", tarfile.DIRTYPE, 0o2770, (1000, 1000), ""),
    ("srv/file", tarfile.REGTYPE, 0o4750, (1000, 2000), "one\n"),
    ("srv/link", tarfile.SYMTYPE, 0o777, (0, 0), "/etc/passwd"),
    ("srv/sub", tarfile.DIRTYPE, 0o755, (0, 0), ""),
    ("srv/sub/deep", tarfile.DIRTYPE, 0o755, (0, 0), ""),
    ("srv/sub/deep/file", tarfile.REGTYPE, 0o644, (0, 0), "two\n"),
    ("srv/pipe", tarfile.FIFOTYPE, 0o600, (0, 0), ""),
    ("alias", tarfile.SYMTYPE, 0o777, (0, 0), "/srv"),
    ("plain", tarfile.REGTYPE, 0o644, (0, 0), ""),
)


def run(engine: NativeEngine, *options: str, command: str, image: str = IMAGE) -> str:
    return docker(engine, "run", "--rm", *options, image, "sh", "-c", command)


def volume(engine: NativeEngine, name: str) -> Path:
    return Path(docker(engine, "volume", "inspect", "-f", "{{.Mountpoint}}", name))


@pytest.fixture(autouse=True)
def no_volumes(engine: NativeEngine) -> Iterator[None]:
    yield
    engine.remove_containers()
    for each in engine.call("GET", "/volumes").json["Volumes"]:
        assert engine.call("DELETE", f"/volumes/{each['Name']}").status == 204


@pytest.fixture
def data_image(engine: NativeEngine) -> str:
    """The base image and what `_FOLDER` says, packed here: this engine has no build yet."""
    if engine.call("GET", f"/images/{DATA}/json").status != 200:
        answer = engine.call(
            "POST", "/images/create", _packed(), headers={"Content-Type": "application/x-tar"},
            fromSrc="-", repo="data", tag="test", changes=["VOLUME /srv", 'CMD ["sh"]'],
        )  # fmt: skip
        assert answer.status == 200, answer.text
        assert b"errorDetail" not in answer.body, answer.text
    return DATA


def _packed() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as made:
        with tarfile.open(fileobj=io.BytesIO(busybox_tar())) as base:
            for entry in base:
                made.addfile(entry, base.extractfile(entry) if entry.isreg() else None)
        for name, kind, mode, owner, content in _FOLDER:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, (entry.uid, entry.gid) = kind, mode, owner
            entry.mtime = MOMENT
            if kind == tarfile.SYMTYPE:
                entry.linkname = content
                made.addfile(entry)
            else:
                entry.size = len(content)
                made.addfile(entry, io.BytesIO(content.encode()))
    return packed.getvalue()


# Filling a new volume


def test_a_new_volume_gets_what_the_image_has_there_with_owners_and_modes(
    engine: NativeEngine, docker_cli: str, data_image: str
) -> None:
    docker(engine, "create", "--name", "box", "-v", "vol:/srv", data_image)
    data = volume(engine, "vol")
    top, file = data.stat(), (data / "file").lstat()
    assert (top.st_uid, top.st_gid, stat.S_IMODE(top.st_mode)) == (1000, 1000, 0o2770)
    assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode)) == (1000, 2000, 0o4750)
    assert int(file.st_mtime) == MOMENT
    assert (data / "file").read_text() == "one\n"
    assert (data / "sub/deep/file").read_text() == "two\n"
    # A link stays a link: what it points at is the container's, not the host's.
    assert os.readlink(data / "link") == "/etc/passwd"  # noqa: PTH115
    assert stat.S_ISFIFO((data / "pipe").lstat().st_mode)


def test_the_images_own_volumes_are_filled_too(
    engine: NativeEngine, docker_cli: str, data_image: str
) -> None:
    assert run(engine, image=data_image, command="cat /srv/file") == "one"


def test_the_place_in_the_image_may_be_a_link(engine: NativeEngine, docker_cli: str, data_image: str) -> None:
    assert run(engine, "-v", "vol:/alias", image=data_image, command="cat /srv/file") == "one"


def test_a_volume_with_anything_in_it_is_left_alone(
    engine: NativeEngine, docker_cli: str, data_image: str
) -> None:
    run(engine, "-v", "vol:/data", command="echo mine >/data/mine")
    assert run(engine, "-v", "vol:/srv", image=data_image, command="ls /srv") == "mine"


def test_an_empty_volume_made_before_is_filled(
    engine: NativeEngine, docker_cli: str, data_image: str
) -> None:
    docker(engine, "volume", "create", "vol")
    assert "file" in run(engine, "-v", "vol:/srv", image=data_image, command="ls /srv")


@pytest.mark.parametrize(
    "option", [("-v", "vol:/srv:nocopy"), ("--mount", "type=volume,src=vol,dst=/srv,volume-nocopy")]
)
def test_nocopy_leaves_a_new_volume_empty(
    engine: NativeEngine, docker_cli: str, data_image: str, option: tuple[str, str]
) -> None:
    assert run(engine, *option, image=data_image, command="ls /srv") == ""


def test_where_the_image_has_a_file_or_nothing_the_volume_stays_empty(
    engine: NativeEngine, docker_cli: str, data_image: str
) -> None:
    assert run(engine, "-v", "vol:/nowhere", image=data_image, command="ls /nowhere") == ""
    docker(engine, "create", "-v", "other:/plain", data_image)
    assert list(volume(engine, "other").iterdir()) == []


def test_a_volume_may_be_a_folder_of_the_machine(
    engine: NativeEngine, docker_cli: str, tmp_path: Path
) -> None:
    folder = tmp_path / "bound"
    folder.mkdir()
    options = ("-o", "type=none", "-o", "o=bind", "-o", f"device={folder}")
    docker(engine, "volume", "create", *options, "vol")
    assert docker(engine, "volume", "inspect", "-f", "{{.Options.device}}", "vol") == str(folder)
    run(engine, "-v", "vol:/data", command="echo 1 >/data/x")
    assert (folder / "x").read_text() == "1\n"
    mount = (
        f"type=volume,src=other,dst=/data,volume-opt=type=none,volume-opt=o=bind,volume-opt=device={folder}"
    )
    assert run(engine, "--mount", mount, command="cat /data/x") == "1"
    docker(engine, "volume", "rm", "vol", "other")
    assert (folder / "x").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("type=tmpfs",), 'missing required option: "device"'),
        (("o=size=1m", "device=tmpfs"), 'missing required option: "type"'),
        (("type=none", "device=/x"), "type=none wants o=bind"),
        (("type=none", "o=bind,ro", "device=/x"), "type=none,o=bind,ro is not available"),
        (("o=bind",), "missing required option"),
        (("size=1",), "invalid option"),
    ],
)
def test_options_that_make_no_volume_are_refused_by_name(
    engine: NativeEngine, docker_cli: str, options: tuple[str, ...], words: str
) -> None:
    flags = [flag for option in options for flag in ("-o", option)]
    assert words in refused(engine, "volume", "create", *flags, "vol")
    assert docker(engine, "volume", "ls", "-q") == ""


def test_a_folder_that_is_gone_is_told(engine: NativeEngine, docker_cli: str, tmp_path: Path) -> None:
    docker(engine, "volume", "create", "-o", "o=bind", "-o", f"device={tmp_path}/gone", "vol")
    said = refused(engine, "run", "--rm", "-v", "vol:/data", IMAGE, "true")
    assert f"failed to mount local volume: {tmp_path}/gone" in said


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def mounted(engine: NativeEngine, name: str) -> bool:
    return f" {volume(engine, name)} " in Path("/proc/self/mountinfo").read_text()


TMPFS = ("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=2m,uid=7,mode=0750")


def test_a_volume_may_be_a_tmpfs_while_containers_run(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "volume", "create", *TMPFS, "vol")
    docker(engine, "run", "-d", "--name", "one", "-v", "vol:/data", IMAGE, "sleep", "600")
    look = "stat -c '%u %a' /data; df -m /data | tail -1 | awk '{print $2}'; echo 1 >/data/x"
    assert docker(engine, "exec", "one", "sh", "-c", look).split() == ["7", "750", "2"]
    docker(engine, "run", "-d", "--name", "two", "-v", "vol:/data:ro", IMAGE, "sleep", "600")
    docker(engine, "rm", "-f", "one")
    assert docker(engine, "exec", "two", "cat", "/data/x") == "1"
    docker(engine, "rm", "-f", "two")
    assert not mounted(engine, "vol")
    assert run(engine, "-v", "vol:/data", command="ls /data") == ""
    docker(engine, "volume", "rm", "vol")


def test_a_killed_engine_finds_the_volumes_it_had_mounted(
    fresh_engine: NativeEngine, docker_cli: str
) -> None:
    engine = fresh_engine
    for name in ("lives", "ends"):
        docker(engine, "volume", "create", *TMPFS, name)
        docker(engine, "run", "-d", "--name", name, "-v", f"{name}:/data", IMAGE, "sleep", "600")
    docker(engine, "exec", "lives", "sh", "-c", "echo 1 >/data/x")
    pid = engine.inspect("ends")["State"]["Pid"]
    engine.kill()
    os.kill(pid, signal.SIGKILL)
    engine.start()
    assert docker(engine, "exec", "lives", "cat", "/data/x") == "1"
    assert mounted(engine, "lives")
    engine.wait("ends")
    wait_until(lambda: not mounted(engine, "ends"))
    docker(engine, "rm", "-f", "lives")
    assert not mounted(engine, "lives")


def test_a_file_system_that_cannot_be_mounted_is_told_and_leaves_nothing(
    engine: NativeEngine, docker_cli: str
) -> None:
    """Also how `type=nfs` is handed to mount(2): the server's name as an address."""
    docker(
        engine, "volume", "create", "-o", "type=nfs", "-o", "o=addr=localhost,ro", "-o", "device=:/x", "vol"
    )
    said = refused(engine, "run", "--name", "none", "-v", "vol:/data", IMAGE, "true")
    assert "failed to mount local volume: mount :/x:" in said
    assert "type: nfs, data: addr=127.0.0.1,ro" in said or "data: addr=::1,ro" in said
    docker(engine, "volume", "create", "-o", "type=nonesuch", "-o", "device=x", "other")
    said = refused(engine, "run", "--rm", "-v", "other:/data", IMAGE, "true")
    assert "hint: this kernel has no file system nonesuch" in said
    assert not mounted(engine, "vol")


def test_a_subpath_of_a_volume_is_mounted_alone(engine: NativeEngine, docker_cli: str) -> None:
    run(
        engine,
        "-v",
        "vol:/v",
        command="mkdir -p /v/a/b; echo 1 >/v/a/b/x; echo 2 >/v/a/file; ln -s a /v/link",
    )

    def mounting(path: str) -> str:
        return f"type=volume,src=vol,dst=/data,volume-subpath={path}"

    assert run(engine, "--mount", mounting("a/b"), command="ls /data; echo 3 >/data/y") == "x"
    assert run(engine, "--mount", mounting("link/b"), command="cat /data/y") == "3"
    assert run(engine, "--mount", mounting("a/file"), command="cat /data") == "2"
    docker(engine, "create", "--name", "still", "--mount", mounting("a/b"), IMAGE, "true")
    copied = engine.docker("cp", "still:/data/y", "-").stdout
    with tarfile.open(fileobj=io.BytesIO(copied)) as archive:
        assert archive.getnames() == ["y"]
    docker(engine, "rm", "still")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("gone", "No such file or directory"),
        ("../x", "subpath must be a relative path within the volume"),
        ("/etc", "subpath must be a relative path within the volume"),
        ("out", "leads out of the volume"),
        ("out/passwd", "leads out of the volume"),
        ("up", "leads out of the volume"),
    ],
)
def test_a_subpath_never_leads_out_of_its_volume(
    engine: NativeEngine, docker_cli: str, path: str, words: str
) -> None:
    run(engine, "-v", "vol:/v", command="ln -s /etc /v/out; ln -s ../.. /v/up")
    mount = f"type=volume,src=vol,dst=/data,volume-subpath={path}"
    assert words in refused(engine, "run", "--rm", "--mount", mount, IMAGE, "true")


# Kinds of mounts


def test_a_volume_outlives_its_container_and_an_anonymous_one_goes_with_rm_v(
    engine: NativeEngine, docker_cli: str
) -> None:
    docker(engine, "run", "--name", "box", "-v", "vol:/named", "-v", "/anonymous", IMAGE, "touch", "/named/x")
    names = docker(engine, "volume", "ls", "-q").split()
    assert len(names) == 2
    docker(engine, "rm", "-v", "box")
    assert docker(engine, "volume", "ls", "-q") == "vol"
    assert run(engine, "-v", "vol:/named", command="ls /named") == "x"


@pytest.mark.parametrize(
    "option",
    [
        ("-v", "vol:/data:ro"),
        ("--mount", "type=volume,source=vol,target=/data,readonly"),
        ("--mount", "type=bind,source=/tmp,target=/data,readonly"),
        ("-v", "/tmp:/data:ro"),
    ],
)
def test_a_read_only_mount_cannot_be_written(
    engine: NativeEngine, docker_cli: str, option: tuple[str, str]
) -> None:
    said = refused(engine, "run", "--rm", *option, IMAGE, "touch", "/data/x")
    assert "Read-only file system" in said


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file system mounted in it, at `below`."""
    (tmp_path / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "below"], check=True)
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path / "below"], check=True)


_TOUCH = "touch /data/x; touch /data/below/x; true"


@pytest.mark.parametrize(
    ("more", "refused_at"),
    [
        ({}, {"/data/x", "/data/below/x"}),
        ({"ReadOnlyForceRecursive": True}, {"/data/x", "/data/below/x"}),
        ({"ReadOnlyNonRecursive": True}, {"/data/x"}),
        ({"NonRecursive": True}, {"/data/x", "/data/below/x"}),
    ],
)
def test_what_is_mounted_below_a_read_only_bind_is_read_only_too(
    engine: NativeEngine, docker_cli: str, nested: Path, more: dict[str, bool], refused_at: set[str]
) -> None:
    mount = {"Type": "bind", "Source": str(nested), "Target": "/data", "ReadOnly": True, "BindOptions": more}
    body = {"Image": IMAGE, "Cmd": ["sh", "-c", _TOUCH], "HostConfig": {"Mounts": [mount]}}
    said = ran(engine, body)
    assert {path for path in ("/data/x", "/data/below/x") if f"{path}: Read-only" in said} == refused_at
    seen = (nested / "below" / "x").exists()
    assert seen is (refused_at == {"/data/x"})


def test_a_read_only_bind_of_an_older_client_has_one_level(engine: NativeEngine, nested: Path) -> None:
    """Engine API 1.44 made it all levels."""
    mount = {"Type": "bind", "Source": str(nested), "Target": "/data", "ReadOnly": True}
    body = {"Image": IMAGE, "Cmd": ["sh", "-c", _TOUCH], "HostConfig": {"Mounts": [mount]}}
    said = ran(engine, body, version="/v1.43")
    assert "/data/x: Read-only" in said
    assert "/data/below/x" not in said
    with_v = run(engine, "-v", f"{nested}:/data:ro", command="(touch /data/below/x) 2>&1; true")
    assert "Read-only file system" in with_v


def ran(engine: NativeEngine, body: dict[str, object], version: str = "") -> str:
    """What a container's command said, to its end."""
    made = engine.call("POST", f"{version}/containers/create", body)
    assert made.status == 201, made.text
    identity = made.json["Id"]
    try:
        docker(engine, "start", identity)
        docker(engine, "wait", identity)
        done = engine.docker("logs", identity)
        return (done.stdout + done.stderr).decode()
    finally:
        docker(engine, "rm", "-f", identity)


def test_a_missing_bind_source_is_made_by_v_and_an_error_for_mount(
    engine: NativeEngine, docker_cli: str, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    said = refused(engine, "run", "--rm", "--mount", f"type=bind,src={missing},dst=/data", IMAGE, "true")
    assert f'invalid mount config for type "bind": bind source path does not exist: {missing}' in said
    assert not missing.exists()
    run(engine, "-v", f"{missing}:/data", command="touch /data/x")
    assert (missing / "x").exists()


def test_tmpfs_has_its_options_both_ways(engine: NativeEngine, docker_cli: str) -> None:
    for option in (
        ("--tmpfs", "/data:size=1m,mode=1700"),
        ("--mount", "type=tmpfs,dst=/data,tmpfs-size=1048576,tmpfs-mode=1700"),
    ):
        said = run(engine, *option, command="grep ' /data ' /proc/mounts; stat -c %a /data")
        assert "size=1024k" in said
        assert said.endswith("1700")


def test_labels_of_a_mount_go_to_the_volume_it_makes(engine: NativeEngine, docker_cli: str) -> None:
    run(engine, "--mount", "type=volume,src=vol,dst=/data,volume-label=a=b", command="true")
    assert docker(engine, "volume", "inspect", "-f", "{{json .Labels}}", "vol") == '{"a":"b"}'


def test_volumes_from_gives_way_to_the_request_and_may_be_read_only(
    engine: NativeEngine, docker_cli: str, tmp_path: Path
) -> None:
    (tmp_path / "bound").mkdir()
    docker(
        engine, "run", "--name", "first", "-v", "vol:/one", "-v", f"{tmp_path}/bound:/two", "-v", "/three",
        IMAGE, "sh", "-c", "echo 1 >/one/x; echo 2 >/two/x; echo 3 >/three/x",
    )  # fmt: skip
    read = "cat /one/x /two/x /three/x"
    assert run(engine, "--volumes-from", "first", command=read).split() == ["1", "2", "3"]
    said = refused(engine, "run", "--rm", "--volumes-from", "first:ro", IMAGE, "touch", "/one/y")
    assert "Read-only file system" in said
    assert run(engine, "--volumes-from", "first", "-v", "other:/one", command="ls /one") == ""
    assert "No such container: nobody" in refused(engine, "create", "--volumes-from", "nobody", IMAGE)
    assert "invalid mode" in refused(engine, "create", "--volumes-from", "first:no", IMAGE)


def test_a_volume_in_use_is_not_removed(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "create", "--name", "box", "-v", "vol:/data", IMAGE)
    assert "volume is in use" in refused(engine, "volume", "rm", "vol")
    docker(engine, "rm", "box")
    docker(engine, "volume", "rm", "vol")
    assert "no such volume" in refused(engine, "volume", "inspect", "vol")


def test_what_a_kill_left_of_a_volume_is_gone_after_the_next_start(
    fresh_engine: NativeEngine, docker_cli: str
) -> None:
    engine = fresh_engine
    docker(engine, "volume", "create", "whole")
    half = volume(engine, "whole").parent.with_name("half")
    (half / "_data").mkdir(parents=True)
    (half / "_data" / "x").write_text("1")
    engine.kill()
    engine.start()
    assert not half.exists()
    assert docker(engine, "volume", "ls", "-q") == "whole"


def test_usage_counts_users_and_bytes_of_each_volume(engine: NativeEngine, docker_cli: str) -> None:
    run(engine, "-v", "vol:/data", command="head -c 1000000 /dev/zero >/data/x")
    docker(engine, "create", "--name", "one", "-v", "vol:/data", IMAGE)
    docker(engine, "create", "--name", "two", "--volumes-from", "one", IMAGE)
    (shown,) = engine.call("GET", "/system/df").json["Volumes"]
    assert shown["UsageData"]["RefCount"] == 2
    assert 1_000_000 <= shown["UsageData"]["Size"] < 1_100_000


def test_prune_takes_named_volumes_only_when_told_to(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "volume", "create", "named")
    docker(engine, "volume", "create", "--label", "keep", "kept")
    docker(engine, "create", "--name", "box", "-v", "/data", IMAGE)
    docker(engine, "rm", "box")
    assert len(docker(engine, "volume", "ls", "-q").split()) == 3
    first = engine.call("POST", "/v1.42/volumes/prune").json
    assert [len(name) for name in first["VolumesDeleted"]] == [64]
    # Before 1.42 there was no difference between the two.
    old = engine.call("POST", "/v1.41/volumes/prune", filters='{"label!": ["keep"]}').json
    assert old["VolumesDeleted"] == ["named"]
    every = engine.call("POST", "/v1.51/volumes/prune", filters='{"all": ["1"]}').json
    assert every["VolumesDeleted"] == ["kept"]


def test_a_create_that_fails_takes_the_volumes_it_made_back(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "create", "--name", "box", IMAGE)
    refused(engine, "create", "--name", "box", "-v", "vol:/data", IMAGE)
    assert docker(engine, "volume", "ls", "-q") == ""


def test_events_tell_of_volumes(engine: NativeEngine, docker_cli: str) -> None:
    since = f"{time.time():.6f}"
    docker(engine, "create", "--name", "box", "-v", "vol:/data", IMAGE)
    docker(engine, "rm", "box")
    docker(engine, "volume", "rm", "vol")
    said = docker(
        engine, "events", "--since", since, "--until", f"{time.time():.6f}", "--filter", "type=volume",
        "--format", "{{.Action}} {{.Actor.ID}}",
    )  # fmt: skip
    assert said.splitlines() == ["create vol", "destroy vol"]
