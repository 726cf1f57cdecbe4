"""Wire details, 8: progress of pulls, pushes, loads, imports and builds: lines, words, errors on the way."""

import json
from typing import Any

import pytest
import registry_fixtures
from builder_rig import build, built, context
from native_engine import NativeEngine, busybox_tar
from registry_rig import RealRegistry

pytestmark = pytest.mark.root

TAR = {"Content-Type": "application/x-tar"}
FIELDS = {"status", "id", "progress", "progressDetail", "stream", "aux", "errorDetail", "error", "from"}


registry = registry_fixtures.registry


def lines(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines()]


def two_layers(engine: NativeEngine, name: str) -> str:
    """An image with a layer on busybox; its id."""
    made = built(engine, {"Dockerfile": f"FROM busybox:test\nRUN echo {name} > /f\n"}, t=name)
    return made.image


def push(engine: NativeEngine, name: str) -> list[dict[str, Any]]:
    repository, _, tag = name.rpartition(":")
    return lines(engine.call("POST", f"/images/{repository}/push", tag=tag).body)


def forget_all(engine: NativeEngine) -> None:
    """All images, and with them their layers."""
    for image in engine.call("GET", "/images/json", all="1").json:
        engine.call("DELETE", f"/images/{image['Id']}", force="1")


def pull(engine: NativeEngine, name: str) -> Any:
    repository, _, tag = name.rpartition(":")
    return engine.call("POST", "/images/create", fromImage=repository, tag=tag)


def test_progress_is_one_json_object_a_line_that_ends_in_cr_lf(
    engine: NativeEngine, registry: RealRegistry
) -> None:
    name = f"{registry.host}/lines:1"
    two_layers(engine, name)
    repository, _, tag = name.rpartition(":")
    saved = engine.call("GET", f"/images/{name}/get").body
    answers = {
        "push": engine.call("POST", f"/images/{repository}/push", tag=tag),
        "pull": pull(engine, name),
        "load": engine.call("POST", "/images/load", saved, headers=TAR),
        "import": engine.call("POST", "/images/create", busybox_tar(), headers=TAR, fromSrc="-"),
        "build": engine.call("POST", "/build", context({"Dockerfile": "FROM busybox:test\n"}), headers=TAR),
    }
    for what, answer in answers.items():
        assert answer.status == 200, what
        assert answer.headers["Content-Type"] == "application/json"
        *whole, rest = answer.body.split(b"\r\n")
        assert (bool(whole), rest) == (True, b""), what
        for line in whole:
            assert b"\n" not in line
            assert set(json.loads(line)) <= FIELDS, line


def test_layers_without_numbers_have_an_empty_progress_detail(
    engine: NativeEngine, registry: RealRegistry
) -> None:
    name = f"{registry.host}/detail:1"
    two_layers(engine, name)
    pushed = push(engine, name)
    forget_all(engine)
    for found in (pushed, lines(pull(engine, name).body)):
        layers = [line for line in found if "id" in line and len(line["id"]) == 12]
        assert layers
        assert all("progressDetail" in line for line in layers)
        assert {} in [line["progressDetail"] for line in layers]
    engine.import_busybox()


def test_a_transfer_tells_current_and_total(engine: NativeEngine, registry: RealRegistry) -> None:
    name = f"{registry.host}/numbers:1"
    two_layers(engine, name)
    push(engine, name)
    forget_all(engine)
    found = [line for line in lines(pull(engine, name).body) if line.get("status") == "Downloading"]
    assert found
    for line in found:
        detail = line["progressDetail"]
        assert 0 < detail["current"] <= detail["total"]
    engine.import_busybox()


def test_an_error_before_the_first_line_is_an_http_error(
    engine: NativeEngine, registry: RealRegistry
) -> None:
    missing = pull(engine, f"{registry.host}/nothing:1")
    assert (missing.status, "not found" in missing.message or "unknown" in missing.message) == (404, True)
    wrong = build(engine, {"Dockerfile": "FROM busybox:test\nNOPE\n"})
    assert (wrong.status, wrong.lines) == (400, [])
    unknown = engine.call("POST", "/images/no-such/push", tag="1")
    assert unknown.status == 404
    broken = engine.call("POST", "/images/create", b"no archive at all" * 100, headers=TAR, fromSrc="-")
    assert broken.status == 400


def test_an_error_behind_the_first_line_is_a_line_of_a_good_answer(
    engine: NativeEngine, registry: RealRegistry
) -> None:
    failed = build(engine, {"Dockerfile": "FROM busybox:test\nRUN exit 7\n"})
    assert failed.status == 200
    last = failed.lines[-1]
    assert (last["errorDetail"]["code"], last["error"]) == (7, last["errorDetail"]["message"])
    # A layer that the registry has lost: the pull has begun when that is found out.
    name = f"{registry.host}/lost:1"
    two_layers(engine, name)
    push(engine, name)
    digest = registry.manifest("lost:1")[1]["layers"][-1]["digest"].removeprefix("sha256:")
    (registry.folder / f"docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data").unlink()
    forget_all(engine)
    answer = pull(engine, name)
    assert answer.status == 200
    found = lines(answer.body)
    assert found[0]["status"].startswith("Pulling from")
    assert found[-1]["error"] == found[-1]["errorDetail"]["message"]
    engine.import_busybox()


def test_load_tells_its_error_as_a_line_where_docker_py_looks_for_it(engine: NativeEngine) -> None:
    answer = engine.call("POST", "/images/load", b"no archive" * 100, headers=TAR)
    assert answer.status == 200
    (line,) = lines(answer.body)
    assert line["error"] == line["errorDetail"]["message"]


def test_a_layer_that_is_here_is_said_to_exist_and_the_end_names_digest_and_status(
    engine: NativeEngine, registry: RealRegistry
) -> None:
    name = f"{registry.host}/twice:1"
    two_layers(engine, name)
    digest = push(engine, name)[-1]["aux"]["Digest"]
    found = lines(pull(engine, name).body)
    assert found[-1]["status"] == f"Status: Image is up to date for {name}"
    assert found[-2]["status"] == f"Digest: {digest}"
    # Another image on the same layers.
    other = f"{registry.host}/other:1"
    built(engine, {"Dockerfile": f"FROM {name}\nRUN echo more > /g\n"}, t=other)
    push(engine, other)
    assert engine.call("DELETE", f"/images/{other}").status == 200
    said = [line["status"] for line in lines(pull(engine, other).body)]
    assert said.count("Already exists") == 2
    assert said[-1] == f"Status: Downloaded newer image for {other}"


def test_a_push_ends_with_tag_digest_and_size(engine: NativeEngine, registry: RealRegistry) -> None:
    name = f"{registry.host}/pushed:7"
    two_layers(engine, name)
    last = push(engine, name)[-1]
    digest, manifest = registry.manifest("pushed:7")
    assert set(last["aux"]) == {"Tag", "Digest", "Size"}
    assert (last["aux"]["Tag"], last["aux"]["Digest"]) == ("7", digest)
    assert last["aux"]["Size"] > len(manifest["layers"]) * 100


def test_a_build_tells_its_images_id_as_aux(engine: NativeEngine) -> None:
    made = built(engine, {"Dockerfile": "FROM busybox:test\nLABEL a=b\n"}, t="aux:1")
    image = engine.call("GET", "/images/aux:1/json").json["Id"]
    assert [line["aux"] for line in made.lines if "aux" in line] == [{"ID": image}]


def test_what_a_step_prints_comes_as_stream(engine: NativeEngine) -> None:
    made = built(engine, {"Dockerfile": "FROM busybox:test\nRUN echo to be seen; echo this too >&2\n"})
    assert {"stream": "to be seen\n"} in made.lines
    assert "this too\n" in made.text
