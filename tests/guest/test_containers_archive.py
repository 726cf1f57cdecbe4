"""`docker cp` through the API: in and out, running or not, on each kind of storage, with ids of one's own."""

import bz2
import contextlib
import gzip
import lzma
import os
import socket
import stat as stats
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import archive_rig as rig
import pytest
import zstandard
from native_engine import IMAGE, NativeEngine

pytestmark = pytest.mark.root

#: How an archive may be packed by its client.
PACKED = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
}
STATES = ("created", "running", "paused", "exited")
_numbers = iter(range(50, 200))


@pytest.fixture(scope="module", params=list(rig.KINDS))
def shared(request: pytest.FixtureRequest) -> Iterator[NativeEngine]:
    with rig.engine_of(request.param, next(_numbers)) as engine:
        yield engine


@pytest.fixture
def each_kind(shared: NativeEngine) -> Iterator[NativeEngine]:
    yield shared
    shared.remove_containers()


def in_state(engine: NativeEngine, state: str, **fields: object) -> str:
    if state == "created":
        return engine.create("sleep", "1000", **fields)
    container = engine.run(*(("true",) if state == "exited" else ("sleep", "1000")), **fields)
    if state == "exited":
        assert engine.wait(container) == 0
    elif state == "paused":
        assert engine.call("POST", f"/containers/{container}/pause").status == 204
    return container


@pytest.mark.parametrize("state", STATES)
def test_files_go_in_and_come_back_with_owner_mode_and_time(each_kind: NativeEngine, state: str) -> None:
    container = in_state(each_kind, state)
    data = rig.archive(
        rig.folder("d", mode=0o750, uid=3, gid=4),
        rig.member("d/f", b"hello", mode=0o4755, uid=1000, gid=1001),
        rig.member("d/l", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        rig.member("d/h", type=tarfile.LNKTYPE, linkname="d/f"),
        rig.member("d/p", type=tarfile.FIFOTYPE, mode=0o600),
        rig.member("d/none", b"", mode=0),
        rig.member("d/caf\udce9 " + "x" * 150, b"odd"),
    )
    answer = rig.put(each_kind, container, "/tmp", data)
    assert (answer.status, answer.body) == (200, b"")
    answer = rig.get(each_kind, container, "/tmp/d")
    assert answer.status == 200
    found = rig.entries(answer.body)
    assert sorted(found) == sorted(
        ["d", *(f"d/{name}" for name in ("f", "l", "h", "p", "none", "caf\udce9 " + "x" * 150))]
    )
    folder, file = found["d"], found["d/f"]
    assert (folder.mode, folder.uid, folder.gid, folder.mtime) == (0o750, 3, 4, 1_700_000_000)
    first, second = sorted((file, found["d/h"]), key=lambda info: info.type)
    assert (first.mode, first.uid, first.gid, first.mtime) == (0o4755, 1000, 1001, 1_700_000_000)
    assert second.islnk()
    assert second.linkname == first.name
    assert found["d/l"].linkname == "/etc/passwd"
    assert found["d/p"].isfifo()
    assert found["d/none"].mode == 0
    assert rig.content(answer.body, first.name) == b"hello"


@pytest.mark.parametrize("state", ["created", "running"])
def test_what_was_copied_is_what_the_container_sees(each_kind: NativeEngine, state: str) -> None:
    container = in_state(each_kind, state)
    assert (
        rig.put(each_kind, container, "/etc", rig.archive(rig.member("x", b"1", uid=1000, gid=5))).status
        == 200
    )
    if state == "created":
        assert each_kind.call("POST", f"/containers/{container}/start").status == 204
    assert rig.said(each_kind, container, "stat", "-c", "%u:%g %s", "/etc/x") == "1000:5 1\n"


@pytest.mark.parametrize("state", ["created", "running", "exited"])
def test_volumes_and_binds_are_reached_and_keep_their_ids(
    each_kind: NativeEngine, state: str, tmp_path: Path
) -> None:
    (tmp_path / "deep").mkdir()
    host = {"Binds": [f"{tmp_path}:/host", "cpvol:/data", f"{tmp_path}/deep:/data/deep"]}
    container = in_state(each_kind, state, HostConfig=host)
    data = rig.archive(rig.member("f", b"1", uid=7, gid=8))
    for path in ("/host", "/data", "/data/deep"):
        assert rig.put(each_kind, container, path, data).status == 200
        assert rig.entries(rig.get(each_kind, container, f"{path}/f").body)["f"].uid == 7
    for file in (tmp_path / "f", tmp_path / "deep" / "f"):
        assert (file.stat().st_uid, file.stat().st_gid) == (7, 8)
    each_kind.remove(container)
    assert each_kind.call("DELETE", "/volumes/cpvol").status == 204


def test_a_running_containers_tmpfs_and_own_mounts_are_reached(each_kind: NativeEngine) -> None:
    container = in_state(each_kind, "running", HostConfig={"Tmpfs": {"/run": ""}})
    assert rig.put(each_kind, container, "/run", rig.archive(rig.member("f", b"1"))).status == 200
    assert rig.said(each_kind, container, "cat", "/run/f") == "1"
    rig.said(each_kind, container, "sh", "-c", "echo 2 > /dev/shm/g")
    assert rig.content(rig.get(each_kind, container, "/dev/shm/g").body, "g") == b"2\n"


def test_a_tmpfs_of_a_container_that_does_not_run_takes_nothing(each_kind: NativeEngine) -> None:
    container = in_state(each_kind, "created", HostConfig={"Tmpfs": {"/tmp": ""}})
    answer = rig.put(each_kind, container, "/tmp", rig.archive(rig.member("f", b"1")))
    assert answer.status == 403
    assert "/tmp" in answer.message
    assert "start" in answer.message


@pytest.mark.parametrize("state", ["created", "running"])
def test_what_is_read_only_is_refused(each_kind: NativeEngine, state: str, tmp_path: Path) -> None:
    host = {
        "ReadonlyRootfs": True,
        "Binds": [f"{tmp_path}:/host:ro", "cpro:/data:ro", "cprw:/write"],
        "Tmpfs": {"/run": ""},
    }
    container = in_state(each_kind, state, HostConfig=host)
    data = rig.archive(rig.member("f", b"1"))
    for path, words in (
        ("/etc", "container rootfs is marked read-only"),
        ("/host", "mounted volume is marked read-only"),
        ("/data", "mounted volume is marked read-only"),
    ):
        answer = rig.put(each_kind, container, path, data)
        assert (answer.status, answer.message) == (403, words), path
    assert rig.put(each_kind, container, "/write", data).status == 200
    if state == "running":
        assert rig.put(each_kind, container, "/run", data).status == 200
        assert rig.put(each_kind, container, "/proc", data).status == 403
    assert list(tmp_path.iterdir()) == []
    each_kind.remove(container)
    for volume in ("cpro", "cprw"):
        assert each_kind.call("DELETE", f"/volumes/{volume}").status == 204


def test_the_header_has_gos_modes_and_where_links_lead(engine: NativeEngine) -> None:
    container = in_state(engine, "running")
    rig.said(engine, container, "sh", "-c", "cd /tmp; ln -s ../etc/./passwd l; ln -s l m; ln -s /no/x/../y n")
    assert rig.stat(engine, container, "/")["name"] == "/"
    folder = rig.stat(engine, container, "/tmp")
    assert (folder["name"], folder["mode"]) == ("tmp", 1 << 31 | 1 << 20 | 0o777)
    link = rig.stat(engine, container, "/tmp/m")
    assert (link["mode"] >> 27 & 1, link["linkTarget"]) == (1, "/etc/passwd")
    assert rig.stat(engine, container, "/tmp/n")["linkTarget"] == "/no/y"
    file = rig.stat(engine, container, "tmp/../etc//passwd")
    assert (file["name"], file["mode"], file["linkTarget"]) == ("passwd", 0o644, "")
    assert file["size"] == len(rig.content(rig.get(engine, container, "/etc/passwd").body, "passwd"))
    assert rig.stat(engine, container, "/dev/null")["mode"] == 1 << 26 | 1 << 21 | 0o666
    assert rig.stat_of(rig.get(engine, container, "/tmp/m")) == link


def test_a_link_is_followed_where_the_path_says_so(engine: NativeEngine) -> None:
    container = in_state(engine, "running")
    rig.said(engine, container, "sh", "-c", "mkdir -p /srv/d; echo 1 > /srv/d/f; ln -s /srv/d /tmp/l")

    def names(path: str) -> list[str]:
        return sorted(rig.entries(rig.get(engine, container, path).body))

    assert rig.entries(rig.get(engine, container, "/tmp/l").body)["l"].issym()
    assert names("/tmp/l/") == ["l", "l/f"]
    assert names("/tmp/l/.") == [".", "./f"]
    assert names("/srv/d/.") == [".", "./f"]
    assert names("/tmp/l/f") == ["f"]
    assert rig.put(engine, container, "/tmp/l", rig.archive(rig.member("g", b"2"))).status == 200
    assert rig.said(engine, container, "cat", "/srv/d/g") == "2"
    # Links of the container on an entry's way, also absolute ones.
    assert rig.put(engine, container, "/tmp", rig.archive(rig.member("l/h", b"3"))).status == 200
    assert rig.said(engine, container, "cat", "/srv/d/h") == "3"


def test_the_whole_root_is_without_what_is_the_kernels(engine: NativeEngine) -> None:
    container = in_state(engine, "running")
    found = rig.entries(rig.get(engine, container, "/").body)
    # tarfile takes a leading slash away from "/bin", and all there is from "/".
    assert {name.lstrip("/") for name in found} >= {"bin/busybox", "etc/hosts", "proc", "sys", "dev"}
    assert not [name for name in found if name.lstrip("/").startswith(("proc/", "sys/", "dev/"))]
    answer = rig.get(engine, container, "/proc/meminfo")
    assert answer.status == 400
    assert "exec" in answer.message


def test_a_link_that_leads_nowhere_for_the_copying_process_is_no_fault(engine: NativeEngine) -> None:
    """It is not in the container's process namespace: /proc/self says nothing to it."""
    container = in_state(engine, "running")
    answer = engine.call("PUT", rig.url(container, "/proc/self"), rig.archive(rig.member("f", b"1")))
    assert answer.status == 404, answer.text
    assert rig.get(engine, container, "/dev/stdin").status == 200


def test_an_entry_that_is_the_kernels_is_refused_and_no_fault(engine: NativeEngine) -> None:
    container = in_state(engine, "running")
    answer = engine.call("PUT", rig.url(container, "/"), rig.archive(rig.folder("proc")))
    assert answer.status == 403, answer.text
    assert "proc" in answer.message


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/no/where", 404, "Could not find the file /no/where in container"),
        ("PUT", "/no/where", 404, "Could not find the file /no/where in container"),
        ("PUT", "/etc/passwd", 400, "extraction point is not a directory"),
        ("GET", "/etc/passwd/", 400, "not a directory"),
        ("GET", "", 400, "path cannot be empty"),
        ("PUT", "", 400, "path cannot be empty"),
    ],
)
def test_wrong_paths_are_told(engine: NativeEngine, method: str, path: str, status: int, words: str) -> None:
    container = in_state(engine, "created")
    body = rig.archive(rig.member("f", b"1")) if method == "PUT" else None
    answer = engine.call(method, rig.url(container, path), body)
    assert answer.status == status
    assert words in answer.message


def test_a_missing_container_or_path_is_404_also_for_head(engine: NativeEngine) -> None:
    container = in_state(engine, "created")
    assert engine.call("HEAD", rig.url(container, "/nope")).status == 404
    assert engine.call("HEAD", rig.url("nobody", "/")).status == 404
    assert rig.get(engine, "nobody", "/").message == "No such container: nobody"


def test_no_overwrite_keeps_folders_and_files_apart(engine: NativeEngine) -> None:
    container = in_state(engine, "running")
    rig.said(engine, container, "sh", "-c", "mkdir -p /tmp/d/e; echo 1 > /tmp/f")
    file, directory = rig.archive(rig.member("d", b"1")), rig.archive(rig.folder("f"))
    answer = rig.put(engine, container, "/tmp", file, noOverwriteDirNonDir="1")
    assert answer.status == 400
    assert 'cannot overwrite directory "/tmp/d" with non-directory "/tmp"' in answer.message
    answer = rig.put(engine, container, "/tmp", directory, noOverwriteDirNonDir="1")
    assert answer.status == 400
    assert 'cannot overwrite non-directory "/tmp/f" with directory "/tmp"' in answer.message
    # Without it each takes the other's place.
    assert rig.put(engine, container, "/tmp", file).status == 200
    assert rig.put(engine, container, "/tmp", directory).status == 200
    assert rig.said(engine, container, "stat", "-c", "%F", "/tmp/d", "/tmp/f") == "regular file\ndirectory\n"


def test_copy_uid_gid_gives_everything_to_the_containers_user(engine: NativeEngine) -> None:
    data = rig.archive(rig.folder("d"), rig.member("d/f", b"1", uid=7, gid=8))
    container = engine.create("sleep", "1000", User="user")
    assert rig.put(engine, container, "/tmp", data, copyUIDGID="1").status == 200
    found = rig.entries(rig.get(engine, container, "/tmp/d").body)
    assert {(info.uid, info.gid) for info in found.values()} == {(1000, 1000)}
    plain = engine.create("sleep", "1000")
    assert rig.put(engine, plain, "/tmp", data, copyUIDGID="1").status == 200
    assert rig.entries(rig.get(engine, plain, "/tmp/d").body)["d/f"].uid == 7


def test_a_file_something_is_mounted_on_gets_the_new_content(engine: NativeEngine, tmp_path: Path) -> None:
    (tmp_path / "conf").write_text("old and longer")
    container = in_state(engine, "running", HostConfig={"Binds": [f"{tmp_path}/conf:/etc/conf"]})
    assert rig.put(engine, container, "/etc", rig.archive(rig.member("conf", b"new"))).status == 200
    assert (tmp_path / "conf").read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["conf"]


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz", "zst"])
def test_compressed_archives_are_taken(engine: NativeEngine, mode: str) -> None:
    container = in_state(engine, "created")
    plain = rig.archive(rig.member("f", b"1" * 100_000))
    packed = PACKED[mode](plain)
    assert rig.put(engine, container, "/tmp", packed).status == 200
    assert rig.stat(engine, container, "/tmp/f")["size"] == 100_000
    assert rig.put(engine, container, "/tmp", b"").status == 200  # nothing to do, as with dockerd


def test_a_file_that_is_made_longer_or_shorter_meanwhile_keeps_the_archive_whole(
    engine: NativeEngine,
) -> None:
    script = "while :; do head -c 3000000 /dev/zero > /tmp/f; : > /tmp/f; done"
    container = engine.run("sh", "-c", script)
    for _ in range(5):
        assert rig.get(engine, container, "/tmp").status == 200
        assert "tmp" in rig.entries(rig.get(engine, container, "/tmp").body)


# clients that go away, and what stays


def children(engine: NativeEngine) -> list[int]:
    """Processes of the engine that copy files."""
    found = []
    for task in Path(f"/proc/{engine.pid}/task").iterdir():
        for pid in (task / "children").read_text().split():
            with contextlib.suppress(FileNotFoundError):
                if b"containers.archive.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
    return found


def none_left(engine: NativeEngine) -> bool:
    deadline = time.monotonic() + 10
    while children(engine):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def half_put(engine: NativeEngine, container: str, path: str, data: bytes) -> socket.socket:
    """A PUT that has sent this much and no more."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(engine.socket))
    head = f"PUT {rig.url(container, path)} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
    connection.sendall(head.encode() + data)
    return connection


@pytest.mark.parametrize("state", ["created", "running"])
def test_a_client_that_leaves_a_put_leaves_no_half_file(each_kind: NativeEngine, state: str) -> None:
    container = in_state(each_kind, state)
    data = rig.archive(rig.member("whole", b"1"), rig.member("half", bytes(5_000_000)))[:3_000_000]
    connection = half_put(each_kind, container, "/tmp", data)
    deadline = time.monotonic() + 10
    while not children(each_kind) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    connection.close()
    assert none_left(each_kind)
    assert [name for name in rig.entries(rig.get(each_kind, container, "/tmp").body) if name != "tmp"] == [
        "tmp/whole"
    ]


def test_a_client_that_stops_reading_costs_nothing_and_can_be_ended(engine: NativeEngine) -> None:
    container = in_state(engine, "running")
    rig.said(engine, container, "sh", "-c", "head -c 400000000 /dev/zero > /tmp/big")
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(engine.socket))
    connection.sendall(
        f"GET /containers/{container}/archive?path=/tmp/big HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    )
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    time.sleep(0.5)
    resident = int((Path("/proc") / str(engine.pid) / "statm").read_text().split()[1]) * os.sysconf(
        "SC_PAGE_SIZE"
    )
    assert resident < 250_000_000
    assert children(engine)
    engine.remove(container)
    assert none_left(engine)
    connection.close()


def test_start_waits_for_a_copy_out_of_a_container_that_does_not_run(engine: NativeEngine) -> None:
    container = in_state(engine, "created")
    assert rig.put(engine, container, "/tmp", rig.archive(rig.member("big", bytes(30_000_000)))).status == 200
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(engine.socket))
    connection.sendall(f"GET /containers/{container}/archive?path=/tmp HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    start = subprocess.Popen(
        ["docker", "start", container], env=engine.docker_environment(), stdout=subprocess.DEVNULL
    )
    time.sleep(0.5)
    assert start.poll() is None
    connection.close()
    assert start.wait(20) == 0


def test_events_are_told(engine: NativeEngine) -> None:
    container = in_state(engine, "created")
    since = time.time()
    rig.get(engine, container, "/etc/passwd")
    rig.put(engine, container, "/tmp", rig.archive(rig.member("f", b"1")))
    answer = engine.call(
        "GET",
        "/events",
        since=f"{since:.9f}",
        until=f"{time.time():.9f}",
        filters=f'{{"container":["{container}"]}}',
    )
    assert b'"archive-path"' in answer.body
    assert b'"extract-to-dir"' in answer.body


def test_device_nodes_go_in_where_the_ids_are_the_hosts(engine: NativeEngine) -> None:
    container = engine.run("sleep", "600", HostConfig={"UsernsMode": "host"})
    node = rig.member("n", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    assert rig.put(engine, container, "/tmp", rig.archive(node)).status == 200
    found = rig.entries(rig.get(engine, container, "/tmp/n").body)["n"]
    assert (found.type, found.devmajor, found.devminor, found.mode) == (tarfile.CHRTYPE, 1, 3, 0o666)
    assert stats.S_IMODE(0o666) == found.mode
    assert engine.inspect(container)["Config"]["Image"] == IMAGE
