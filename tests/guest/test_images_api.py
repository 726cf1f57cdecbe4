"""Image routes of a running engine, by plain HTTP and by the docker command."""

import json
import socket
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker_command import docker
from images_rig import archive, directory, entry
from native_engine import IMAGE, NativeEngine, busybox_tar

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def only_busybox(engine: NativeEngine) -> Iterator[None]:
    """Each test starts and ends with the one image of the fixture."""
    yield
    engine.remove_containers()
    for image in engine.call("GET", "/images/json", all="1").json:
        if image["RepoTags"] != [IMAGE]:
            engine.call("DELETE", f"/images/{image['Id']}", force="1")
    if engine.call("GET", f"/images/{IMAGE}/json").status != 200:
        engine.import_busybox()


def lines(body: bytes) -> list[dict[str, Any]]:
    assert body.endswith(b"\r\n")
    return [json.loads(line) for line in body.split(b"\r\n") if line]


def test_import_answers_with_progress_and_the_id(engine: NativeEngine) -> None:
    answer = engine.call(
        "POST",
        "/v1.41/images/create",
        archive(entry("f", b"x")),
        fromSrc="-",
        repo="one/two",
        tag="t",
        message="why",
    )
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    last = lines(answer.body)[-1]
    image = engine.call("GET", "/images/one/two:t/json").json
    assert last == {"status": image["Id"]}
    assert image["Comment"] == "why"


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        (
            {"fromImage": "127.0.0.1:1/alpine", "tag": "1"},
            503,
            'Get "https://127.0.0.1:1/v2/": Connection refused',
        ),
        ({"fromSrc": "http://127.0.0.1:1/x.tar"}, 503, 'Get "http://127.0.0.1:1/x.tar"'),
        ({"fromSrc": "ftp://127.0.0.1/x.tar"}, 400, "only http and https"),
        ({}, 400, "fromImage or fromSrc is missing"),
        ({"fromSrc": "-", "repo": "UPPER"}, 400, "must be lowercase"),
        ({"fromSrc": "-", "repo": "a", "tag": "b/c"}, 400, "invalid tag format"),
        ({"fromSrc": "-", "changes": "RUN x"}, 400, "run is not a valid change command"),
        ({"fromSrc": "-", "platform": "plan9/amd64"}, 400, "not supported"),
    ],
)
def test_create_refuses_before_it_reads(
    engine: NativeEngine, query: dict[str, Any], status: int, message: str
) -> None:
    answer = engine.call("POST", "/images/create", b"", **query)
    assert answer.status == status
    assert message in answer.message


def test_bad_archive_is_a_http_error_with_the_entry(engine: NativeEngine) -> None:
    answer = engine.call("POST", "/images/create", archive(entry("../x", b"x")), fromSrc="-")
    assert answer.status == 400
    assert 'entry "../x"' in answer.message


@pytest.mark.parametrize("route", ["json", "history", "get"])
def test_missing_image_is_dockers_sentence(engine: NativeEngine, route: str) -> None:
    answer = engine.call("GET", f"/images/reg.example.com/no/such:1/{route}")
    assert answer.status == 404
    assert answer.message == "No such image: reg.example.com/no/such:1"


def test_names_with_slashes_may_be_escaped_or_not(engine: NativeEngine) -> None:
    tagged = engine.call("POST", f"/images/{IMAGE}/tag", repo="localhost:5000/a/b", tag="c")
    assert tagged.status == 201
    for name in ("localhost:5000/a/b:c", "localhost:5000%2Fa%2Fb:c", "localhost%3A5000%2Fa%2Fb%3Ac"):
        assert engine.call("GET", f"/v1.44/images/{name}/json").status == 200
    removed = engine.call("DELETE", "/images/localhost:5000%2Fa%2Fb:c")
    assert removed.json == [{"Untagged": "localhost:5000/a/b:c"}]


def test_older_versions_see_the_fields_they_know(engine: NativeEngine) -> None:
    by_version = {
        v: engine.call("GET", f"/v{v}/images/{IMAGE}/json").json for v in ("1.43", "1.44", "1.49", "1.51")
    }
    assert by_version["1.43"]["VirtualSize"] == by_version["1.43"]["Size"]
    assert by_version["1.43"]["ContainerConfig"]["Tty"] is False
    assert "VirtualSize" not in by_version["1.44"]
    assert by_version["1.49"]["Config"]["AttachStdin"] is False
    assert "AttachStdin" not in by_version["1.51"]["Config"]
    compose = {"User-Agent": "docker-compose/1.29.2 docker-py/5.0.3 Linux/6"}
    old = engine.call("GET", f"/v1.51/images/{IMAGE}/json", headers=compose).json
    assert old["ContainerConfig"]["Env"] == by_version["1.51"]["Config"]["Env"]
    summaries = {v: engine.call("GET", f"/v{v}/images/json").json[0] for v in ("1.43", "1.50", "1.51")}
    assert summaries["1.43"]["VirtualSize"] == summaries["1.43"]["Size"]
    assert (summaries["1.50"]["Containers"], summaries["1.51"]["Containers"]) == (-1, 0)


def test_unknown_filter_is_refused(engine: NativeEngine) -> None:
    answer = engine.call("GET", "/images/json", filters='{"colour":["red"]}')
    assert answer.status == 400
    assert "invalid filter 'colour'" in answer.message


def test_image_in_use_stays(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    image = engine.call("GET", f"/images/{IMAGE}/json").json["Id"]
    refused = engine.call("DELETE", f"/images/{IMAGE}")
    assert refused.status == 409
    assert f"container {container[:12]} is using its referenced image {image[7:19]}" in refused.message
    hard = engine.call("DELETE", f"/images/{image}", force="1")
    assert hard.status == 409
    assert "(cannot be forced) - image is being used by running container" in hard.message
    engine.remove(container)
    assert {"Deleted": image} in engine.call("DELETE", f"/images/{IMAGE}").json


def test_upload_that_is_cut_off_leaves_no_layer(engine: NativeEngine) -> None:
    before = engine.call("GET", "/system/df").json["LayersSize"]
    data = busybox_tar()
    head = (
        f"POST /images/create?fromSrc=-&repo=cut HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(engine.socket))
        client.sendall(head.encode() + data[: len(data) // 2])
        wait_for_snapshots(engine, 2)  # the image's layer, and the one being unpacked
    wait_for_snapshots(engine, 1)
    assert engine.call("GET", "/images/cut/json").status == 404
    assert engine.call("GET", "/system/df").json["LayersSize"] == before


def wait_for_snapshots(engine: NativeEngine, number: int) -> None:
    links = Path(engine.folder) / "data/overlay/m"  # never searched for: layers come and go beside it
    deadline = time.monotonic() + 20
    while (found := len(list(links.iterdir()))) != number:
        assert time.monotonic() < deadline, f"{found} snapshots, expected {number}"
        time.sleep(0.02)


def test_docker_imports_lists_tags_saves_loads_and_removes(
    engine: NativeEngine, docker_cli: str, tmp_path: Path
) -> None:
    image = docker(
        engine, "import", "--change", "CMD echo hello", "-m", "note", "-", "app:1", stdin=busybox_tar()
    ).strip()
    assert docker(engine, "run", "--rm", "app:1") == "hello"
    assert docker(engine, "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "app") == (
        f"app:1 {image}"
    )
    assert "note" in docker(engine, "history", "app:1")
    docker(engine, "tag", "app:1", "other:2")
    docker(engine, "save", "-o", str(tmp_path / "saved.tar"), "app:1", "other:2")
    assert docker(engine, "rmi", "app:1") == "Untagged: app:1"
    assert f"Deleted: {image}" in docker(engine, "rmi", "other:2")
    loaded = docker(engine, "load", "-i", str(tmp_path / "saved.tar"))
    assert loaded.splitlines() == ["Loaded image: app:1", "Loaded image: other:2"]
    assert docker(engine, "inspect", "-f", "{{.Id}}", "other:2").strip() == image
    assert docker(engine, "run", "--rm", "other:2") == "hello"


def test_docker_run_of_an_absent_image_says_why_it_cannot_be_pulled(
    engine: NativeEngine, docker_cli: str
) -> None:
    done = engine.docker("run", "--rm", "127.0.0.1:1/nothing:1", "true")
    assert done.returncode == 125
    assert b"Unable to find image '127.0.0.1:1/nothing:1' locally" in done.stderr
    assert b"is the registry running there?" in done.stderr


def test_docker_prunes_dangling_images(engine: NativeEngine, docker_cli: str) -> None:
    dangling = docker(engine, "import", "-", stdin=archive(directory("d"), entry("d/f", b"x" * 2000))).strip()
    assert dangling.split(":")[1][:12] in docker(engine, "images", "-q", "-f", "dangling=true")
    pruned = docker(engine, "image", "prune", "-f")
    assert f"deleted: {dangling}" in pruned
    assert "Total reclaimed space: 2kB" in pruned


def test_device_nodes_and_set_id_programs_of_an_image_reach_the_container(engine: NativeEngine) -> None:
    device = entry("dev2/zero", kind=tarfile.CHRTYPE, devmajor=1, devminor=5, mode=0o666)
    program = entry("dev2/suid", b"x", mode=0o4711, uid=1000, gid=1000)
    # A tar ends in zero blocks; without them a second one continues it.
    both = busybox_tar().rstrip(b"\0")
    both += bytes(-len(both) % 512) + archive(directory("dev2"), device, program)
    answer = engine.call("POST", "/images/create", both, fromSrc="-", repo="devs")
    assert answer.status == 200, answer.text
    container = engine.run("stat", "-c", "%F %t,%T %a %u", "/dev2/zero", "/dev2/suid", image="devs")
    assert engine.wait(container) == 0
    logs = engine.call("GET", f"/containers/{container}/logs", stdout="1").body
    assert b"character special file 1,5 666 0" in logs
    assert b"regular file 0,0 4711 1000" in logs
