"""`insert`: a file from a URL as a layer of its own, on a running engine."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from images_rig import archive, directory, entry, symlink
from native_engine import IMAGE, Answer, NativeEngine
from serving import served_folder

pytestmark = pytest.mark.root


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A web server on loopback with two files."""
    folder = tmp_path / "site"
    (folder / "sub").mkdir(parents=True)
    (folder / "motd").write_bytes(b"welcome aboard\n")
    (folder / "a[b]*.txt").write_bytes(b"odd")
    with served_folder(folder) as address:
        yield address


@pytest.fixture(autouse=True)
def only_busybox(engine: NativeEngine) -> Iterator[None]:
    yield
    engine.remove_containers()
    for image in engine.call("GET", "/images/json", all="1").json:
        if image["RepoTags"] != [IMAGE]:
            engine.call("DELETE", f"/images/{image['Id']}", force="1")


def ask(engine: NativeEngine, name: str, **query: str) -> Answer:
    return engine.call("POST", f"/images/{name}/insert?{urlencode(query)}")


def insert(engine: NativeEngine, url: str, path: str, name: str = IMAGE) -> str:
    """The new image's id."""
    answer = ask(engine, name, url=url, path=path)
    assert answer.status == 200, answer.text
    lines = [json.loads(line) for line in answer.body.split(b"\r\n") if line]
    assert "errorDetail" not in lines[-1], answer.text
    assert {line["status"] for line in lines[:-1]} == {"Inserting"}
    return str(lines[-1]["status"])


def seen(engine: NativeEngine, image: str, script: str) -> str:
    done = engine.docker("run", "--rm", "--network", "none", image, "sh", "-c", script)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_inserted_file_is_a_layer_on_the_same_image(engine: NativeEngine, site: str) -> None:
    made = insert(engine, f"{site}/motd", "/etc/motd")
    before = engine.call("GET", f"/images/{IMAGE}/json").json
    after = engine.call("GET", f"/images/{made}/json").json
    assert after["RootFS"]["Layers"][:-1] == before["RootFS"]["Layers"]
    assert (after["Parent"], after["RepoTags"]) == (before["Id"], [])
    assert after["Config"] == before["Config"]
    history = engine.call("GET", f"/images/{made}/history").json
    assert history[0]["CreatedBy"] == f"insert {site}/motd /etc/motd"
    assert seen(engine, made, "stat -c '%a %u %g' /etc/motd; cat /etc/motd") == "644 0 0\nwelcome aboard\n"
    # The base is as it was.
    assert engine.docker("run", "--rm", IMAGE, "cat", "/etc/motd").returncode != 0


def test_same_file_makes_the_same_layer(engine: NativeEngine, site: str) -> None:
    first, second = (insert(engine, f"{site}/motd", "/srv/deep/motd") for _ in range(2))
    layers = [engine.call("GET", f"/images/{made}/json").json["RootFS"] for made in (first, second)]
    assert layers[0] == layers[1]


@pytest.mark.parametrize("path", ["/etc/", "/etc", "etc/."])
def test_folder_gets_the_file_under_its_own_name(engine: NativeEngine, site: str, path: str) -> None:
    made = insert(engine, f"{site}/a%5Bb%5D*.txt", path)
    assert seen(engine, made, "cat '/etc/a[b]*.txt'") == "odd"


def test_links_of_the_image_are_followed_inside_it(engine: NativeEngine, site: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    data = archive(
        directory("usr"), directory("usr/lib"), symlink("lib", "usr/lib"), symlink("out", str(outside)),
        entry("usr/lib/old", b"o"),
    )  # fmt: skip
    answer = engine.call("POST", "/images/create", data, fromSrc="-", repo="linked", tag="1")
    assert answer.status == 200
    made = insert(engine, f"{site}/motd", "/lib/new", "linked:1")
    # One file more in the folder that the link leads to, which is still a link.
    upper = Path(engine.call("GET", f"/images/{made}/json").json["GraphDriver"]["Data"]["UpperDir"])
    assert sorted(str(path.relative_to(upper)) for path in upper.rglob("*")) == [
        "usr", "usr/lib", "usr/lib/new"
    ]  # fmt: skip
    refused = ask(engine, "linked:1", url=f"{site}/motd", path="/out/motd")
    assert "a link that leads nowhere" in refused.text
    assert not list(outside.iterdir())


@pytest.mark.parametrize(
    ("name", "query", "status", "message"),
    [
        ("no/such", {"url": "http://127.0.0.1/x", "path": "/x"}, 404, "No such image: no/such:latest"),
        (IMAGE, {"url": "{site}/absent", "path": "/x"}, 404, "no such file (404)"),
        (IMAGE, {"url": "{site}/motd"}, 400, "path is missing"),
        (IMAGE, {"path": "/x"}, 400, "url is missing"),
        (IMAGE, {"url": "ftp://127.0.0.1/x", "path": "/x"}, 400, "only http and https"),
        (IMAGE, {"url": "{site}/sub/", "path": "/etc/"}, 400, "give the whole path"),
        (IMAGE, {"url": "http://127.0.0.1:1/x", "path": "/x"}, 503, "check the address"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_line(
    engine: NativeEngine, site: str, name: str, query: dict[str, str], status: int, message: str
) -> None:
    query = {key: value.replace("{site}", site) for key, value in query.items()}
    answer = ask(engine, name, **query)
    assert (answer.status, message in answer.message) == (status, True), answer.text


def test_password_of_the_url_is_not_in_the_history(engine: NativeEngine, site: str) -> None:
    made = insert(engine, site.replace("//", "//me:secret@") + "/motd", "/motd")
    assert "secret" not in engine.call("GET", f"/images/{made}/history").text


def test_nothing_is_left_of_an_insertion_that_failed(engine: NativeEngine, site: str) -> None:
    layers, builds = engine.data_root / "overlay" / "l", engine.data_root / "builder" / "builds"
    before = sorted(layers.iterdir())
    answer = ask(engine, IMAGE, url=f"{site}/motd", path="/bin/busybox/x")
    assert "non-directory" in answer.text
    assert sorted(layers.iterdir()) == before
    assert not list((engine.data_root / "overlay" / "w").iterdir())
    deadline = time.monotonic() + 20  # its folder goes after the answer
    while list(builds.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
