"""`docker diff`, `commit` and `export`: running or not, on every kind of storage, with ids of one's own."""

import io
import json
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import archive_rig as rig
import pytest
from native_engine import IMAGE, NativeEngine

pytestmark = pytest.mark.root

_numbers = iter(range(120, 240))

#: Everything that a layer has to tell: new, changed, gone and replaced files, of all types.
SCRIPT = """
set -e
echo new > /tmp/new; mkdir -p /srv/a/b; echo deep > /srv/a/b/c; ln /srv/a/b/c /srv/a/hard
ln -s ../x /srv/soft
chmod 4755 /tmp/new; chown 1000:2000 /srv/a; mkfifo /srv/pipe; touch /srv/none; chmod 0 /srv/none
echo more >> /etc/passwd; rm /etc/group; chmod 700 /home
rm -rf /var; mkdir /var; echo v > /var/v
rmdir /root; echo file > /root
"""


@pytest.fixture(scope="module", params=list(rig.KINDS))
def shared(request: pytest.FixtureRequest) -> Iterator[NativeEngine]:
    with rig.engine_of(request.param, next(_numbers)) as engine:
        answer = engine.docker(
            "build", "-q", "-t", "base:1", "-", stdin=b"FROM busybox:test\nRUN mkdir /var/old\n"
        )
        assert answer.returncode == 0, answer.stderr
        yield engine


@pytest.fixture
def each_kind(shared: NativeEngine) -> Iterator[NativeEngine]:
    yield shared
    shared.remove_containers()


def ended(engine: NativeEngine, script: str, **fields: Any) -> str:
    container = engine.run("sh", "-c", script, **fields)
    assert engine.wait(container) == 0, engine.call("GET", f"/containers/{container}/logs?stderr=1").text
    return container


def changes(engine: NativeEngine, container: str) -> dict[str, int]:
    answer = engine.call("GET", f"/containers/{container}/changes")
    assert answer.status == 200, answer.text
    return {each["Path"]: each["Kind"] for each in answer.json or ()}


def commit(engine: NativeEngine, container: str, body: Any = None, **query: Any) -> dict[str, Any]:
    """The image's document."""
    answer = engine.call("POST", "/commit", body, container=container, **query)
    assert answer.status == 201, answer.text
    document: dict[str, Any] = engine.call("GET", f"/images/{answer.json['Id']}/json").json
    return document


def shown(engine: NativeEngine, image: str, script: str) -> str:
    answer = engine.docker("run", "--rm", "--network=none", image, "sh", "-c", script)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.decode()


def test_changes_are_told_with_their_folders(each_kind: NativeEngine) -> None:
    container = ended(each_kind, SCRIPT, Image="base:1")
    assert changes(each_kind, container) == {
        "/etc": 0, "/etc/passwd": 0, "/etc/group": 2, "/home": 0,
        "/root": 0, "/srv": 1, "/srv/a": 1, "/srv/a/b": 1, "/srv/a/b/c": 1, "/srv/a/hard": 1, "/srv/none": 1,
        "/srv/pipe": 1, "/srv/soft": 1, "/tmp": 0, "/tmp/new": 1, "/var": 0, "/var/old": 2, "/var/v": 1,
    }  # fmt: skip


def test_a_container_that_changed_nothing_has_no_changes(each_kind: NativeEngine) -> None:
    for container in (
        each_kind.create("true"),
        each_kind.run("sleep", "1000"),
        ended(each_kind, "touch /etc/passwd; true") and each_kind.create("true"),
    ):
        assert each_kind.call("GET", f"/containers/{container}/changes").body == b"null"


@pytest.mark.parametrize("state", ["running", "exited"])
def test_a_commit_has_what_the_container_had(each_kind: NativeEngine, state: str) -> None:
    if state == "exited":
        container = ended(each_kind, SCRIPT, Image="base:1")
    else:
        container = each_kind.run("sh", "-c", f"{SCRIPT}\ntouch /tmp/ready; exec sleep 1000", Image="base:1")
        deadline = time.monotonic() + 20
        while "/tmp/ready" not in changes(each_kind, container) and time.monotonic() < deadline:
            time.sleep(0.1)
        rig.said(each_kind, container, "rm", "/tmp/ready")
    image = commit(each_kind, container)
    look = (
        "stat -c '%n %a %u:%g' /tmp/new /srv/a /srv/none /root /home; stat -c %h /srv/a/hard;"
        "cat /var/v /root; readlink /srv/soft; ls -a /var; test -p /srv/pipe; test ! -e /etc/group;"
        "grep more /etc/passwd"
    )
    assert shown(each_kind, image["Id"], look) == (
        "/tmp/new 4755 0:0\n/srv/a 755 1000:2000\n/srv/none 0 0:0\n/root 644 0:0\n/home 700 0:0\n2\n"
        "v\nfile\n../x\n.\n..\nv\nmore\n"
    )
    if state == "running":
        assert each_kind.inspect(container)["State"]["Status"] == "running"


def test_the_same_content_is_the_same_layer(each_kind: NativeEngine) -> None:
    # A link's time cannot be set with busybox, and is not looked at.
    touched = "/etc /etc/passwd /home /root /srv $(find /srv ! -type l) /tmp /tmp/new /var /var/v"
    script = f"{SCRIPT.replace('ln -s ../x /srv/soft', ':')}\ntouch -d @1600000000 {touched}"
    first, second = (ended(each_kind, script, Image="base:1") for _ in range(2))
    layers = [commit(each_kind, container)["RootFS"]["Layers"] for container in (first, second, first)]
    assert layers[0] == layers[1] == layers[2]
    assert len(layers[0]) == 3


def test_a_commit_is_the_same_layer_as_a_builds_step(each_kind: NativeEngine) -> None:
    script = "mkdir /x && echo 1 > /x/f && touch -d @1600000000 /x/f /x"
    dockerfile = f"FROM busybox:test\nRUN {script}\n".encode()
    answer = each_kind.docker("build", "-q", "-t", "built:1", "-", stdin=dockerfile)
    assert answer.returncode == 0, answer.stderr
    built = each_kind.call("GET", "/images/built:1/json").json
    made = commit(each_kind, ended(each_kind, script))
    assert made["RootFS"] == built["RootFS"]


def test_a_commit_of_nothing_has_its_parents_layers(engine: NativeEngine) -> None:
    container = engine.create("true")
    image = commit(engine, container, comment="why", author="me <m@x>")
    parent = engine.call("GET", f"/images/{IMAGE}/json").json
    assert image["RootFS"] == parent["RootFS"]
    assert image["Size"] == parent["Size"]
    assert (image["Comment"], image["Author"], image["Parent"]) == ("why", "me <m@x>", parent["Id"])
    newest = engine.call("GET", f"/images/{image['Id']}/history").json[0]
    assert (newest["Comment"], newest["CreatedBy"], newest["Size"]) == ("why", "true", 0)


def test_the_config_is_the_containers_with_changes_on_top(engine: NativeEngine) -> None:
    container = engine.create(
        "true",
        Env=["A=1", "B=2"],
        Labels={"x": "y"},
        WorkingDir="/tmp",
        User="user",
        ExposedPorts={"80/tcp": {}},
    )
    image = commit(
        engine,
        container,
        changes=[
            'ENV B=3 C="4 5"',
            "EXPOSE 81",
            'ENTRYPOINT ["sh"]',
            "LABEL z=1",
            "WORKDIR sub",
            "VOLUME /v",
        ],
        repo="made",
        tag="2",
    )
    config = image["Config"]
    assert image["RepoTags"] == ["made:2"]
    assert config["Env"] == ["FROM_IMAGE=yes", "A=1", "B=3", "C=4 5"]
    assert config["ExposedPorts"] == {"80/tcp": {}, "81/tcp": {}}
    assert config["Entrypoint"] == ["sh"]
    assert not config.get("Cmd")
    assert config["Labels"] == {"x": "y", "z": "1"}
    assert (config["WorkingDir"], config["User"], config["Volumes"]) == ("/tmp/sub", "user", {"/v": {}})
    assert engine.call("DELETE", "/images/made:2").status == 200


def test_a_config_of_the_request_is_filled_from_the_containers(engine: NativeEngine) -> None:
    container = engine.create("sleep", "5", Env=["A=1"], WorkingDir="/tmp")
    config = commit(engine, container, {"Cmd": ["date"], "Env": ["B=1"]})["Config"]
    assert config["Cmd"] == ["date"]
    assert sorted(config["Env"]) == ["A=1", "B=1", "FROM_IMAGE=yes"]
    assert config["WorkingDir"] == "/tmp"


def events(engine: NativeEngine, container: str, since: float) -> list[str]:
    query = {
        "since": f"{since:.9f}",
        "until": f"{time.time():.9f}",
        "filters": json.dumps({"container": [container]}),
    }
    answer = engine.call("GET", "/events", **query)
    return [json.loads(line)["Action"] for line in answer.text.splitlines()]


def test_a_running_container_is_paused_unless_it_is_not_wanted(engine: NativeEngine) -> None:
    container = engine.run("sleep", "1000")
    since = time.time()
    commit(engine, container)
    assert events(engine, container, since) == ["pause", "unpause", "commit"]
    since = time.time()
    commit(engine, container, pause="0")
    assert events(engine, container, since) == ["commit"]
    assert engine.call("POST", f"/containers/{container}/pause").status == 204
    commit(engine, container)
    assert engine.inspect(container)["State"]["Status"] == "paused"


def test_wrong_commits_are_told(engine: NativeEngine) -> None:
    container = engine.create("true")
    for query, status, words in (
        ({"container": "nobody"}, 404, "No such container: nobody"),
        ({}, 400, "container is missing"),
        ({"container": container, "changes": "RUN x"}, 400, "run is not a valid change command"),
        ({"container": container, "repo": "UPPER"}, 400, "invalid reference format"),
    ):
        answer = engine.call("POST", "/commit", **query)  # type: ignore[arg-type]
        assert (answer.status, words in answer.message) == (status, True), answer.text
    busy = ended(engine, "touch /tmp/.wh.x")
    answer = engine.call("POST", "/commit", container=busy)
    assert answer.status == 400
    assert "/tmp/.wh.x" in answer.message
    assert engine.call("GET", "/containers/nobody/changes").status == 404


def test_an_unpaused_container_that_writes_all_the_time_can_be_committed(engine: NativeEngine) -> None:
    script = "i=0; while :; do i=$((i+1)); mkdir -p /srv/$i; echo $i > /srv/$i/f; rm -rf /srv/$((i-5)); done"
    container = engine.run("sh", "-c", script)
    for _ in range(3):
        commit(engine, container, pause="0")


def exported(engine: NativeEngine, container: str) -> bytes:
    answer = engine.call("GET", f"/containers/{container}/export")
    assert answer.status == 200
    return answer.body


def rows(data: bytes) -> dict[str, tuple[Any, ...]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            info.name: (
                info.type,
                info.mode,
                info.uid,
                info.gid,
                info.size,
                info.linkname,
                int(info.mtime),
                info.pax_headers,
            )
            for info in archive
        }


@pytest.mark.parametrize("state", ["running", "exited"])
def test_an_export_is_the_whole_root_without_volumes(each_kind: NativeEngine, state: str) -> None:
    script = f"{SCRIPT}\necho x > /data/f; echo x > /run/f"
    script += "; touch /done; exec sleep 1000" if state == "running" else ""
    host = {"Binds": ["cpvol:/data"], "Tmpfs": {"/run": ""}}
    container = each_kind.run("sh", "-c", script, Image="base:1", HostConfig=host)
    if state == "running":
        deadline = time.monotonic() + 20
        while "/done" not in changes(each_kind, container) and time.monotonic() < deadline:
            time.sleep(0.1)
    else:
        assert each_kind.wait(container) == 0
    found = rows(exported(each_kind, container))
    assert found["tmp/new"][:5] == (tarfile.REGTYPE, 0o4755, 0, 0, 4)
    assert found["srv/a"][1:4] == (0o755, 1000, 2000)
    assert {found["srv/a/hard"][0], found["srv/a/b/c"][0]} == {tarfile.LNKTYPE, tarfile.REGTYPE}
    assert "data" in found
    assert not {"data/f", "run/f", "etc/group", "var/old"} & set(found)
    assert not [name for name in found if name.startswith(("proc/", "sys/", "dev/"))]
    each_kind.remove(container)
    assert each_kind.call("DELETE", "/volumes/cpvol").status == 204


def test_export_and_import_give_the_same_files_back(each_kind: NativeEngine) -> None:
    container = ended(each_kind, SCRIPT, Image="base:1")
    data = exported(each_kind, container)
    headers = {"Content-Type": "application/x-tar"}
    answer = each_kind.call(
        "POST", "/images/create", data, headers=headers, fromSrc="-", repo="again", tag="1"
    )
    assert b"errorDetail" not in answer.body, answer.text
    again = each_kind.create("true", Image="again:1")
    assert exported(each_kind, again) == data
    assert exported(each_kind, container) == data
    each_kind.remove(again)
    assert each_kind.call("DELETE", "/images/again:1").status == 200


def test_what_was_committed_is_saved_and_loaded_the_same(each_kind: NativeEngine) -> None:
    image = commit(each_kind, ended(each_kind, SCRIPT, Image="base:1"), repo="round", tag="1")
    saved = each_kind.call("GET", "/images/round:1/get").body
    each_kind.remove_containers()
    assert each_kind.call("DELETE", "/images/round:1").status == 200
    assert (
        each_kind.call("POST", "/images/load", saved, headers={"Content-Type": "application/x-tar"}).status
        == 200
    )
    assert each_kind.call("GET", "/images/round:1/json").json["Id"] == image["Id"]
    assert each_kind.call("DELETE", "/images/round:1").status == 200
