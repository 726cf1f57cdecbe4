"""`import` of a URL, from a web server on loopback; and what load and save make of platforms."""

import gzip
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from crashes_rig import image_archive
from images_rig import archive, entry
from native_engine import NativeEngine
from serving import serving

pytestmark = pytest.mark.root

ROOTFS = archive(entry("hello", b"from the web"))


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802 - as the base class wants it
        data = gzip.compress(ROOTFS)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/rootfs.tar.gz")
            self.end_headers()
            return
        if self.path not in ("/rootfs.tar.gz", "/cut"):
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
