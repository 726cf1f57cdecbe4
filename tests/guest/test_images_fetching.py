"""`import` of a URL, from a web server on loopback; and what load and save make of platforms."""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import zstandard
from crashes_rig import image_archive
from images_rig import archive, entry
from native_engine import NativeEngine
from serving import serving

pytestmark = pytest.mark.root

ROOTFS = archive(entry("hello", b"from the web"))


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802 - as the base class wants it
        data = gzip.compress(ROOTFS)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/rootfs.tar.gz")
            self.end_headers()
            return
        if self.path.removeprefix("/as/") in COMPRESSIONS:
            data = COMPRESSIONS[self.path.removeprefix("/as/")](ROOTFS)
        elif self.path not in ("/rootfs.tar.gz", "/cut"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:50] if self.path == "/cut" else data)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with serving(_Handler) as address:
        yield address.removeprefix("http://")


@pytest.mark.parametrize(
    ("scheme", "path"), [("http://", "rootfs.tar.gz"), ("", "rootfs.tar.gz"), ("http://", "moved")]
)
def test_url_is_imported_with_changes_message_and_platform(
    engine: NativeEngine, web: str, scheme: str, path: str
) -> None:
    url = f"{scheme}{web}/{path}"
    answer = engine.call(
        "POST", "/images/create", fromSrc=url, repo="web", tag="1", changes="CMD x", platform="linux/arm/v6"
    )
    assert answer.status == 200, answer.text
    assert "errorDetail" not in answer.text
    image = engine.call("GET", "/images/web:1/json").json
    assert image["Comment"] == f"Imported from http://{web}/{path}"
    assert (image["Architecture"], image["Variant"]) == ("arm", "v6")
    assert image["Config"]["Cmd"] == ["/bin/sh", "-c", "x"]
    assert image["Size"] == len(b"from the web")
    answer = engine.call("POST", "/images/create", fromSrc=url, repo="web", tag="2", message="mine")
    assert engine.call("GET", "/images/web:2/json").json["Comment"] == "mine"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_archive_of_any_compression_is_imported_from_a_file_a_pipe_and_a_url(
    engine: NativeEngine, web: str, tmp_path: Path, compression: str
) -> None:
    file = tmp_path / "rootfs"
    file.write_bytes(COMPRESSIONS[compression](ROOTFS))
    wherry = [sys.executable, "-c", "from wherry.cli.main import main; main()"]
    environment = {**os.environ, "WHERRY_HOST": f"unix://{engine.socket}"}
    options = ["-c", "CMD one", "--change", "ENV A=1 B=2", "-m", "by hand", "--platform", "linux/arm64/v8"]
    for number, source in enumerate((str(file), "-", f"http://{web}/as/{compression}")):
        done = subprocess.run(
            [*wherry, "import", *options, source, f"{compression}:{number}"],
            input=file.read_bytes() if source == "-" else None,
            env=environment, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        image = engine.call("GET", f"/images/{compression}:{number}/json").json
        assert done.stdout.decode().splitlines()[-1] == image["Id"]
        assert image["RootFS"]["Layers"] == ["sha256:" + hashlib.sha256(ROOTFS).hexdigest()]
        assert (image["Comment"], image["Architecture"], image["Variant"]) == ("by hand", "arm64", "v8")
        assert image["Config"]["Cmd"] == ["/bin/sh", "-c", "one"]
        assert image["Config"]["Env"] == ["A=1", "B=2"]


def test_url_that_is_not_there_or_breaks_off_leaves_nothing(engine: NativeEngine, web: str) -> None:
    before = {image["Id"] for image in engine.call("GET", "/images/json", all="1").json}
    absent = engine.call("POST", "/images/create", fromSrc=f"http://{web}/absent", repo="no")
    assert (absent.status, "404" in absent.message) == (404, True)
    cut = engine.call("POST", "/images/create", fromSrc=f"http://{web}/cut", repo="no")
    assert "broke off" in cut.text or "damaged" in cut.text
    assert {image["Id"] for image in engine.call("GET", "/images/json", all="1").json} == before
    assert not list((engine.data_root / "content" / "ingest").iterdir())


def test_load_and_save_of_another_platform_are_refused(engine: NativeEngine) -> None:
    data = image_archive("platform:1", 2)
    other = json.dumps({"os": "linux", "architecture": "s390x"})
    assert (
        "does not match the specified platform"
        in engine.call("POST", "/images/load", data, platform=other).text
    )
    assert engine.call("GET", "/images/platform:1/json").status == 404
    own = json.dumps({"os": "linux", "architecture": "amd64"})
    assert engine.call("POST", "/images/load", data, platform=own).status == 200
    assert engine.call("GET", "/images/platform:1/get", platform=other).status == 404
    assert engine.call("GET", "/images/platform:1/get", platform=own).status == 200
    assert engine.call("POST", "/images/platform:1/push", platform=other).status == 404


def test_an_image_of_another_platform_is_not_shown_and_not_removed(engine: NativeEngine) -> None:
    assert engine.call("POST", "/images/load", image_archive("shown:1", 1)).status == 200
    own, other = (json.dumps({"os": "linux", "architecture": each}) for each in ("amd64", "s390x"))
    for path, since, before in (("json", "v1.49", "v1.48"), ("history", "v1.48", "v1.47")):
        answer = engine.call("GET", f"/{since}/images/shown:1/{path}", platform=other)
        assert (answer.status, "does not match" in answer.text) == (404, True)
        assert engine.call("GET", f"/{since}/images/shown:1/{path}", platform=own).status == 200
        assert engine.call("GET", f"/{before}/images/shown:1/{path}", platform=other).status == 200
    both = engine.call("GET", "/v1.49/images/shown:1/json", platform=own, manifests="1")
    assert both.status == 400
    assert engine.call("DELETE", "/v1.50/images/shown:1", platforms=[own, other]).status == 404
    assert engine.call("DELETE", "/v1.50/images/shown:1", platforms=own).status == 200
