"""Wire details, 11a: the upload of a build: packed, in chunks, answered while it comes; its parameters."""

import bz2
import gzip
import io
import json
import lzma
import os
import socket
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from builder_rig import build, built, context
from native_engine import NativeEngine
from wire_rig import chunks, connected, header

pytestmark = pytest.mark.root

MIB = 1 << 20
POST = "POST /build{query}\nContent-Type: application/x-tar\nTransfer-Encoding: chunked"


def send(connection: socket.socket, data: bytes) -> None:
    """One chunk; an empty one ends the body. Source: RFC 9112, section 7.1."""
    connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))


def answer(connection: socket.socket) -> list[dict[str, Any]]:
    head = header(connection)
    assert head.startswith("HTTP/1.1 200"), head
    return [json.loads(line) for line in chunks(connection).splitlines()]


def memory(engine: NativeEngine) -> int:
    pages = int(Path(f"/proc/{engine.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        bz2.compress,
        lzma.compress,
        lambda data: zstandard.ZstdCompressor().compress(data),
    ],
    ids=["plain", "gzip", "bzip2", "xz", "zstd"],
)
def test_a_context_in_chunks_may_be_packed(engine: NativeEngine, pack: Callable[[bytes], bytes]) -> None:
    data = pack(context({"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "x" * 50_000}))
    with connected(engine, POST.format(query="")) as connection:
        for start in range(0, len(data), 10_001):
            send(connection, data[start : start + 10_001])
        send(connection, b"")
        assert any("aux" in line for line in answer(connection))


def test_what_is_wrong_is_said_while_the_upload_still_runs(engine: NativeEngine) -> None:
    climbing = context({"../../evil": "x", "Dockerfile": "FROM busybox:test\n"})
    for data, words in ((b"no archive at all" * 100, "archive"), (climbing, "leads out of the archive")):
        with connected(engine, POST.format(query="")) as connection:
            send(connection, data)
            # There is no last chunk: the client has more to send, and waits.
            head = header(connection)
            assert head.startswith("HTTP/1.1 400"), head
            assert words in connection.recv(65536).decode()


def test_output_begins_when_the_archive_has_ended_and_the_upload_has_not(engine: NativeEngine) -> None:
    data = context({"Dockerfile": "FROM busybox:test\nRUN echo to be seen; sleep 0.5\n"})
    with connected(engine, POST.format(query="?nocache=1")) as connection:
        send(connection, data)
        assert header(connection).startswith("HTTP/1.1 200")
        seen = b""
        while b"to be seen" not in seen:
            more = connection.recv(65536)
            assert more, seen
            seen += more
        # The client is at its padding still; its connection serves the next request, too.
        for _ in range(3):
            send(connection, bytes(10_240))
        send(connection, b"")
        while not seen.endswith(b"0\r\n\r\n"):
            more = connection.recv(65536)
            assert more, seen
            seen += more
        assert b"Successfully built" in seen
        connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert header(connection).startswith("HTTP/1.1 200")


def test_an_upload_is_not_kept_in_memory(engine: NativeEngine) -> None:
    built(engine, {"Dockerfile": "FROM busybox:test\n"})
    before = memory(engine)
    head = io.BytesIO()
    entry = tarfile.TarInfo("big")
    entry.size = 200 * MIB
    head.write(entry.tobuf())
    block = os.urandom(MIB)
    with connected(engine, POST.format(query="?dockerfile=big")) as connection:
        send(connection, head.getvalue())
        for _ in range(150):
            send(connection, block)
        assert memory(engine) - before < 32 * MIB
    assert engine.call("GET", "/_ping").status == 200


@pytest.mark.parametrize("when", ["upload", "step"])
def test_a_client_that_goes_away_ends_its_build(engine: NativeEngine, when: str) -> None:
    folder = engine.data_root / "builder" / "builds"
    data = context({"Dockerfile": "FROM busybox:test\nRUN echo started; sleep 1000\n", "f": "x" * 500_000})
    with connected(engine, POST.format(query="?nocache=1")) as connection:
        if when == "upload":
            send(connection, data[:200_000])
            deadline = time.monotonic() + 30
            while not list(folder.iterdir()):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        else:
            send(connection, data)
            send(connection, b"")
            seen = b""
            while b"started" not in seen:
                seen += connection.recv(65536)
    deadline = time.monotonic() + 30
    while list(folder.iterdir()) or engine.call("GET", "/containers/json", all="1").json:
        assert time.monotonic() < deadline, list(folder.iterdir())
        time.sleep(0.05)


def test_values_of_build_arguments_may_be_null(engine: NativeEngine) -> None:
    file = "FROM busybox:test\nARG A=own\nARG B=own\nRUN echo $A $B\n"
    found = built(engine, {"Dockerfile": file}, buildargs=json.dumps({"A": None, "B": "given"}))
    assert {"stream": "own given\n"} in found.lines


def test_labels_cache_sources_and_limits_of_a_build_are_json(engine: NativeEngine) -> None:
    file = {"Dockerfile": "FROM busybox:test\nRUN ulimit -n\n"}
    found = built(
        engine,
        file,
        t="parameters:1",
        nocache="1",
        labels='{"a":"b"}',
        cachefrom='["no/such:image"]',
        ulimits='[{"Name":"nofile","Soft":321,"Hard":321}]',
    )
    assert {"stream": "321\n"} in found.lines
    assert engine.call("GET", "/images/parameters:1/json").json["Config"]["Labels"] == {"a": "b"}
    # What the docker command sends for nothing.
    built(engine, file, cachefrom="[]", ulimits="null", labels="null", buildargs="null")
    for key in ("labels", "cachefrom", "ulimits", "buildargs"):
        assert build(engine, file, **{key: "{"}).status == 400, key


def test_outputs_of_a_build_are_refused_by_name(engine: NativeEngine) -> None:
    found = build(engine, {"Dockerfile": "FROM busybox:test\n"}, outputs='[{"Type":"local"}]')
    assert (found.status, "outputs" in found.text) == (501, True)


@pytest.mark.parametrize(
    ("query", "left"),
    [({}, 0), ({"rm": "1"}, 0), ({"rm": "0", "forcerm": "1"}, 0), ({"rm": "0"}, 1)],
)
def test_containers_of_a_build_are_removed_unless_rm_is_off_and_forcerm_too(
    engine: NativeEngine, query: dict[str, str], left: int
) -> None:
    found = build(engine, {"Dockerfile": "FROM busybox:test\nRUN exit 3\n"}, **query)
    assert found.error["code"] == 3
    assert len(engine.call("GET", "/containers/json", all="1").json) == left


def test_the_dockerfile_is_named_from_the_contexts_root(engine: NativeEngine) -> None:
    files = {"sub/": "", "sub/Other": "FROM busybox:test\nLABEL which=sub\n", "Dockerfile": "FROM scratch\n"}
    for name in ("sub/Other", "./sub/Other", "/sub/Other", "sub/../sub/Other"):
        built(engine, files, dockerfile=name, t="named:1")
        assert engine.call("GET", "/images/named:1/json").json["Config"]["Labels"] == {"which": "sub"}
    assert build(engine, files, dockerfile="../Dockerfile").status == 400
