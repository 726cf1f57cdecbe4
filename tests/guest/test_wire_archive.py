"""Wire details, 10: the archive calls behind `docker cp`: the header of a path, content codings, names."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable

import archive_rig as rig
import pytest
from native_engine import NativeEngine

pytestmark = pytest.mark.root


def test_the_stat_header_is_base64_of_name_size_mode_time_and_link_target(engine: NativeEngine) -> None:
    container = engine.create("true")
    file = rig.member("ü.txt", b"12345", mode=0o640)
    link = rig.member("l", type=rig.tarfile.SYMTYPE, linkname="/tmp/ü.txt")
    assert rig.put(engine, container, "/tmp", rig.archive(file, link)).status == 200
    for method in ("HEAD", "GET"):
        answer = engine.call(method, rig.url(container, "/tmp/ü.txt"))
        document = json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"], validate=True))
        assert set(document) == {"name", "size", "mode", "mtime", "linkTarget"}
        assert (document["name"], document["size"], document["linkTarget"]) == ("ü.txt", 5, "")
        assert document["mtime"].startswith("2023-11-14T22:13:20")
    assert rig.stat(engine, container, "/tmp/l")["linkTarget"] == "/tmp/ü.txt"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/tmp/file", 0o640),
        ("/tmp/folder", 1 << 31 | 0o750),
        ("/tmp/link", 1 << 27 | 0o777),
        ("/tmp/pipe", 1 << 25 | 0o600),
        ("/tmp/suid", 1 << 23 | 0o755),
        ("/tmp/sgid", 1 << 22 | 0o755),
        ("/tmp", 1 << 31 | 1 << 20 | 0o777),
        ("/dev/null", 1 << 26 | 1 << 21 | 0o666),
    ],
)
def test_the_mode_is_gos_file_mode_and_not_st_mode(engine: NativeEngine, path: str, number: int) -> None:
    container = engine.run("sleep", "60")
    data = rig.archive(
        rig.member("file", b"1", mode=0o640),
        rig.folder("folder", mode=0o750),
        rig.member("link", type=rig.tarfile.SYMTYPE, linkname="file", mode=0o777),
        rig.member("pipe", type=rig.tarfile.FIFOTYPE, mode=0o600),
        rig.member("suid", b"1", mode=0o4755),
        rig.member("sgid", b"1", mode=0o2755),
    )
    assert rig.put(engine, container, "/tmp", data).status == 200
    assert rig.stat(engine, container, path)["mode"] == number


@pytest.mark.parametrize(
    ("accepted", "coding", "unpacked"),
    [
        ("gzip", "gzip", gzip.decompress),
        ("deflate, gzip", "gzip", gzip.decompress),
        ("deflate", "deflate", lambda data: zlib.decompress(data, -15)),
        ("gzip;q=0.5, deflate;q=0.8", "deflate", lambda data: zlib.decompress(data, -15)),
        ("gzip;q=0, br", None, bytes),
        ("identity", None, bytes),
        ("", None, bytes),
    ],
)
def test_an_archive_comes_in_the_coding_that_the_client_likes(
    engine: NativeEngine, accepted: str, coding: str | None, unpacked: Callable[[bytes], bytes]
) -> None:
    container = engine.create("true")
    plain = rig.get(engine, container, "/bin").body
    answer = engine.call("GET", rig.url(container, "/bin"), headers={"Accept-Encoding": accepted})
    assert answer.headers.get("Content-Encoding") == coding
    assert unpacked(answer.body) == plain
    assert coding is None or len(answer.body) < len(plain)


def test_the_archives_top_entry_is_the_paths_last_name_and_with_a_dot_only_what_is_in_it(
    engine: NativeEngine,
) -> None:
    container = engine.create("true")
    data = rig.archive(rig.folder("deep"), rig.folder("deep/x"), rig.member("deep/x/f", b"1"))
    assert rig.put(engine, container, "/tmp", data).status == 200

    def names(path: str) -> list[str]:
        return sorted(rig.entries(rig.get(engine, container, path).body))

    assert names("/tmp/deep/x") == ["x", "x/f"]
    assert names("/tmp/deep/x/") == ["x", "x/f"]
    assert names("/tmp/deep/x/f") == ["f"]
    assert names("/tmp/deep/x/.") == [".", "./f"]
