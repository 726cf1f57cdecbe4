"""Images mounted into containers: `--mount type=image`, with a native engine and the real docker command."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from builder_rig import built
from cli_rig import Clients
from docker_command import docker, refused
from native_engine import IMAGE, NativeEngine

pytestmark = pytest.mark.root

TOOLS = "tools:1"


@pytest.fixture(scope="module", autouse=True)
def tools(module_engine: NativeEngine) -> None:
    """An image of two layers: what the upper one covers or took away must not be seen."""
    engine = module_engine
    if shutil.which("docker") is None:
        pytest.skip("needs the docker command (scripts/setup.sh dev)")
    docker(engine, "run", "--name", "lower", IMAGE, "sh", "-c",
           "mkdir -p /opt/t/deep; echo old >/opt/t/word; echo x >/opt/t/gone; echo file >/opt/t/deep/file; "
           "chown 1000:2000 /opt/t/deep/file; ln -s deep /opt/t/link; ln -s /etc /opt/t/out; ln -s ../../.. "
           "/opt/t/up; rm -rf /bin/vi /home")  # fmt: skip
    docker(engine, "commit", "lower", "tools:0")
    docker(engine, "run", "--name", "upper", "tools:0", "sh", "-c", "echo new >/opt/t/word; rm /opt/t/gone")
    docker(engine, "commit", "upper", TOOLS)
    docker(engine, "rm", "lower", "upper")


def mounting(path: str = "", image: str = TOOLS) -> tuple[str, str]:
    subpath = f",image-subpath={path}" if path else ""
    return "--mount", f"type=image,source={image},target=/t{subpath}"


def run(engine: NativeEngine, *options: str, command: str) -> str:
    return docker(engine, "run", "--rm", *options, IMAGE, "sh", "-c", command)


def leftovers(engine: NativeEngine) -> list[str]:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    folder = engine.exec_root / "subpaths"
    return [*map(str, folder.iterdir()), *(line for line in mounts if f"{folder}/" in line)]


@pytest.mark.parametrize("user_namespace", ["", "host"])
def test_an_image_is_seen_whole_with_its_owners_and_cannot_be_written(
    engine: NativeEngine, docker_cli: str, user_namespace: str
) -> None:
    options = (*mounting(), *(("--userns", user_namespace) if user_namespace else ()))
    told = run(engine, *options, command="cat /t/opt/t/word; ls /t/opt/t; stat -c %u:%g /t/opt/t/deep/file")
    assert told.split() == ["new", "deep", "link", "out", "up", "word", "1000:2000"]
    assert "Read-only file system" in run(engine, *options, command="touch /t/x 2>&1 || true")
    assert "Read-only" in run(engine, "--privileged", *options, command="touch /t/x /t/opt/x 2>&1 || true")
    if not user_namespace:
        # It takes nothing from the container: its root is still somebody else outside.
        assert run(engine, *options, command="cat /proc/self/uid_map").split()[1] != "0"
    assert leftovers(engine) == []


def test_an_image_of_one_layer_is_mounted_too(engine: NativeEngine, docker_cli: str) -> None:
    assert run(engine, *mounting(image=IMAGE), command="ls -d /t/bin/busybox; touch /t/x 2>&1 || true").split(
        "\n"
    ) == ["/t/bin/busybox", "touch: /t/x: Read-only file system"]


@pytest.mark.parametrize(
    ("path", "command", "shown"),
    [("opt/t/deep", "ls /t", "file"), ("opt/t/link", "ls /t", "file"), ("opt/t/deep/file", "cat /t", "file")],
)
def test_a_part_of_an_image_is_mounted_alone(
    engine: NativeEngine, docker_cli: str, path: str, command: str, shown: str
) -> None:
    assert run(engine, *mounting(path), command=command) == shown
    assert leftovers(engine) == []


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no/such", "cannot access path no/such of the image tools:1: No such file or directory"),
        ("../x", "subpath must be a relative path within the image"),
        ("/etc", "subpath must be a relative path within the image"),
        ("opt/t/out", "it leads out of the image"),
        ("opt/t/out/passwd", "it leads out of the image"),
        ("opt/t/up/..", "must be a relative path within the image"),
    ],
)
def test_a_part_never_leads_out_of_its_image(
    engine: NativeEngine, docker_cli: str, path: str, words: str
) -> None:
    assert words in refused(engine, "run", "--rm", *mounting(path), IMAGE, "true")
    assert leftovers(engine) == []


def test_an_image_that_is_mounted_is_in_use_until_the_container_goes(
    engine: NativeEngine, docker_cli: str
) -> None:
    docker(engine, "run", "--name", "maker", IMAGE, "sh", "-c", "mkdir -p /opt/t; echo new >/opt/t/word")
    image = docker(engine, "commit", "--change", "LABEL test=mounts", "maker", "mine:1")
    docker(engine, "rm", "maker")
    docker(engine, "run", "-d", "--name", "user", *mounting(image="mine:1"), IMAGE, "sleep", "600")
    assert "must force" in refused(engine, "rmi", "mine:1")
    assert "image is being used by running container" in refused(engine, "rmi", "-f", image)
    docker(engine, "image", "prune", "-af", "--filter", "label=test=mounts")
    assert docker(engine, "images", "-q", "--no-trunc", "mine:1") == image
    docker(engine, "stop", "-t", "0", "user")
    docker(engine, "rmi", "-f", image)
    # Its name is gone, and its files are what they were.
    docker(engine, "start", "user")
    assert docker(engine, "exec", "user", "cat", "/t/opt/t/word") == "new"
    docker(engine, "rm", "-f", "user")
    assert "No such image" in refused(engine, "create", *mounting(image="mine:1"), IMAGE)
    docker(engine, "image", "prune", "-f")
    report = engine.call("GET", "/system/audit").json
    assert (report["unowned"], report["damaged"]) == ([], [])


def test_a_mounted_image_outlives_the_engine_and_is_there_at_the_next_start(
    engine: NativeEngine, docker_cli: str
) -> None:
    docker(engine, "run", "-d", "--name", "user", *mounting("opt/t"), IMAGE, "sleep", "600")
    docker(engine, "create", "--name", "still", *mounting(), IMAGE, "cat", "/t/opt/t/word")
    engine.kill()
    engine.start()
    assert docker(engine, "exec", "user", "cat", "/t/word") == "new"
    assert "must force" in refused(engine, "rmi", TOOLS)
    docker(engine, "restart", "-t", "0", "user")
    assert docker(engine, "exec", "user", "cat", "/t/word") == "new"
    assert docker(engine, "start", "-a", "still") == "new"
    assert leftovers(engine) == []
    report = engine.call("GET", "/system/audit").json
    assert (report["unowned"], report["damaged"]) == ([], [])


def test_inspect_shows_the_image_by_the_name_that_was_given(engine: NativeEngine, docker_cli: str) -> None:
    docker(engine, "create", "--name", "still", *mounting("opt/t"), IMAGE, "true")
    found = engine.inspect("still")
    (shown,) = found["Mounts"]
    assert (shown["Type"], shown["Name"], shown["Destination"], shown["RW"]) == ("image", TOOLS, "/t", False)
    (wish,) = found["HostConfig"]["Mounts"]
    assert wish["ImageOptions"] == {"Subpath": "opt/t"}
    used = next(each for each in engine.call("GET", "/images/json").json if TOOLS in each["RepoTags"])
    assert used["Containers"] == 1
    old = engine.call("GET", "/v1.47/containers/still/json").json
    assert (old["Mounts"], old["HostConfig"]["Mounts"]) == ([], []), "clients of then know of none"


def test_cp_reads_from_a_mounted_image_and_writes_nothing_to_it(
    engine: NativeEngine, docker_cli: str, tmp_path: Path
) -> None:
    docker(engine, "create", "--name", "still", *mounting("opt/t"), IMAGE, "true")
    with tarfile.open(fileobj=io.BytesIO(engine.docker("cp", "still:/t/deep/file", "-").stdout)) as archive:
        (member,) = archive.getmembers()
        assert (member.uid, member.gid, archive.extractfile(member).read()) == (1000, 2000, b"file\n")  # type: ignore[union-attr]
    (tmp_path / "new").write_text("new")
    assert "read-only" in refused(engine, "cp", str(tmp_path / "new"), "still:/t/new")
    assert leftovers(engine) == []


@pytest.mark.parametrize(
    ("mount", "status", "words"),
    [
        ({"Source": "no/such:image"}, 400, "No such image: no/such:image"),
        ({"Source": ""}, 400, "field Source must not be empty"),
        ({"Source": TOOLS, "BindOptions": {}}, 400, "field BindOptions must not be specified"),
        ({"Source": TOOLS, "ImageOptions": {"Subpath": "a/../../b"}}, 400, "relative path within the image"),
    ],
)
def test_what_makes_no_mount_of_an_image_is_refused(
    engine: NativeEngine, mount: dict[str, object], status: int, words: str
) -> None:
    body = {"Image": IMAGE, "HostConfig": {"Mounts": [{"Type": "image", "Target": "/t", **mount}]}}
    answer = engine.call("POST", "/containers/create", body)
    assert (answer.status, words in answer.message) == (status, True), answer.text
    assert "Image" in body
    assert json.loads(answer.body)["message"].startswith('invalid mount config for type "image"')


def test_two_images_may_be_mounted_beside_a_volume(engine: NativeEngine, docker_cli: str) -> None:
    other = ("--mount", f"type=image,source={IMAGE},target=/b,image-subpath=bin")
    told = run(
        engine, "-v", "/vol", *mounting("opt/t"), *other, command="cat /t/word; ls /b/busybox; ls /vol"
    )
    assert told.split() == ["new", "/b/busybox"]


def test_our_command_mounts_images_and_gives_a_mac_address_without_a_warning(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clients = Clients(engine, monkeypatch, capfd)
    command = "cat /t/word; cat /sys/class/net/eth0/address"
    address = ("--mac-address", "02:42:0a:00:00:98")
    words = ("run", "--rm", *mounting("opt/t"), *address, IMAGE, "sh", "-c", command)
    ours, theirs = clients.wherry(*words), clients.docker(*words)
    assert (ours.status, ours.out, ours.err) == (0, "new\n02:42:0a:00:00:98\n", "")
    assert ours == theirs


def test_a_driver_that_copies_and_an_image_without_layers_do_it_too(
    fresh_engine: NativeEngine, docker_cli: str
) -> None:
    engine = fresh_engine
    engine.stop()
    shutil.rmtree(engine.data_root)
    engine.options = ("--storage-driver", "vfs")
    engine.start()
    engine.import_busybox()
    docker(engine, "run", "--name", "maker", IMAGE, "sh", "-c", "echo new >/word; chown 5:6 /word")
    docker(engine, "commit", "maker", "mine:1")
    built(engine, {"Dockerfile": "FROM scratch\nLABEL a=b\n"}, t="empty:1")
    empty = ("--mount", "type=image,source=empty:1,target=/empty")
    command = "cat /t/word; stat -c %u:%g /t/word; ls /empty; touch /t/x /empty/x 2>&1"
    done = engine.docker("run", "--rm", *mounting(image="mine:1"), *empty, IMAGE, "sh", "-c", command)
    assert done.stdout.decode().splitlines() == [
        "new",
        "5:6",
        "touch: /t/x: Read-only file system",
        "touch: /empty/x: Read-only file system",
    ]
