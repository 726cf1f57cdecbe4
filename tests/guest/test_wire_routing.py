"""Wire details, 1: negotiation, paths, versions, errors, bodies, booleans, lists, filters and names."""

import json
import os
from typing import Any

import pytest
from archive_rig import archive, member, url
from builder_rig import built
from native_engine import IMAGE, NativeEngine
from wire_rig import UPGRADE, connected, fields, header

from wherryd import errors
from wherryd.api.status import status_for

pytestmark = pytest.mark.root

JSON = {"Content-Type": "application/json"}
CREATE = json.dumps({"Image": IMAGE, "Cmd": ["true"]}).encode()


# negotiation


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_ping_without_a_version_tells_all_that_clients_negotiate_with(
    engine: NativeEngine, method: str
) -> None:
    answer = engine.call(method, "/_ping")
    assert answer.status == 200
    wanted = {
        "Api-Version": "1.51",
        "Ostype": "linux",
        "Docker-Experimental": "false",
        "Builder-Version": "1",
        "Swarm": "inactive",
    }
    assert wanted.items() <= answer.headers.items()
    assert answer.body == (b"OK" if method == "GET" else b"")


def test_ping_is_kept_by_no_cache(engine: NativeEngine) -> None:
    answer = engine.call("GET", "/_ping")
    assert answer.headers["Cache-Control"].startswith("no-cache")
    assert answer.headers["Pragma"] == "no-cache"


def test_a_client_takes_the_lower_of_both_versions(engine: NativeEngine, docker_cli: str) -> None:
    told = engine.docker("version", "--format", "{{.Client.APIVersion}} {{.Server.APIVersion}}")
    assert told.returncode == 0, told.stderr
    client, server = (tuple(map(int, text.split("."))) for text in told.stdout.decode().split())
    assert server == (1, 51)
    # Above the least that any client of today takes, so that none turns away.
    assert (1, 40) < client <= server


def test_every_answer_names_server_version_and_system(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    tar = archive(member("f", b"1"))
    answers = [
        engine.call("GET", "/info"),
        engine.call("GET", "/nowhere"),
        engine.call("GET", "/v1.99/info"),
        engine.call("GET", "/containers/nobody/json"),
        engine.call("POST", f"/containers/{container}/start"),
        engine.call("DELETE", f"/containers/{container}"),
        engine.call("PUT", url(container, "/proc"), tar),
        engine.call("GET", "/swarm"),
        engine.call("POST", "/session"),
        engine.call("GET", "/events", until="1"),
    ]
    assert [each.status for each in answers] == [200, 404, 400, 404, 304, 409, 403, 503, 501, 200]
    heads: list[Any] = [each.headers for each in answers]
    for upgrade in ("", UPGRADE, "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13"):
        websocket = "websocket" in upgrade
        method, path = ("GET", "attach/ws") if websocket else ("POST", "attach")
        key = "\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" if websocket else ""
        request = f"{method} /containers/{container}/{path}?stream=1&stdout=1\n{upgrade}{key}"
        with connected(engine, request) as connection:
            head = header(connection)
            assert head.startswith("HTTP/1.1 101" if upgrade else "HTTP/1.1 200")
            heads.append(fields(head))
    for each in heads:
        assert each["Server"].startswith("Wherry/")
        assert (each["Api-Version"], each["Ostype"]) == ("1.51", "linux")


# versions and paths


@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.41", "/v1.51"])
def test_a_path_may_name_a_version_and_need_not(engine: NativeEngine, prefix: str) -> None:
    assert engine.call("GET", f"{prefix}/containers/json").json == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1.51.0/info", 200),
        ("/v1.2.3/info", 400),
        ("/v1/info", 400),
        ("/v1.4x/info", 404),
        ("/v-1.41/info", 404),
        ("/1.41/info", 404),
        ("/v1.41", 404),
    ],
)
def test_a_version_is_digits_and_dots(engine: NativeEngine, path: str, status: int) -> None:
    assert engine.call("GET", path).status == status


def test_a_version_too_new_or_too_old_is_refused_with_the_limit(engine: NativeEngine) -> None:
    new, old = engine.call("GET", "/v1.99/info"), engine.call("GET", "/v1.10/info")
    assert (new.status, old.status) == (400, 400)
    assert "Maximum supported API version is 1.51" in new.message
    assert "Minimum supported API version is 1.24" in old.message


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nowhere"), ("PUT", "/info"), ("DELETE", "/version"), ("GET", "/")]
)
def test_an_unknown_path_and_a_wrong_method_are_page_not_found(
    engine: NativeEngine, method: str, path: str
) -> None:
    answer = engine.call(method, path)
    assert (answer.status, answer.json) == (404, {"message": "page not found"})


# errors


def test_an_error_is_a_message_in_json(engine: NativeEngine) -> None:
    answer = engine.call("GET", "/containers/nobody/json")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == {"message": "No such container: nobody"}


def test_each_kind_of_error_has_dockers_status(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60", name="first")
    taken = engine.call("POST", "/containers/create", {"Image": IMAGE}, name="first")
    assert taken.status == 409
    assert f'The container name "/first" is already in use by container "{container}"' in taken.message
    read_only = engine.create("true", HostConfig={"ReadonlyRootfs": True})
    for status, method, path in (
        (404, "GET", "/containers/nobody/json"),
        (400, "POST", f"/containers/{container}/kill?signal=NOPE"),
        (409, "DELETE", f"/containers/{container}"),
        (304, "POST", f"/containers/{container}/start"),
        (503, "GET", "/swarm"),
        (501, "POST", "/session"),
    ):
        assert engine.call(method, path).status == status, path
    assert engine.call("PUT", url(read_only, "/etc"), archive(member("f", b"1"))).status == 403
    # Where nothing can be provoked from outside, the table itself: a registry's no, and the machine's.
    assert status_for(errors.Unauthorized("no")) == 401
    assert status_for(errors.KernelFault("mount", "/x", 5)) == 500
    assert status_for(errors.EngineError("?")) == 500


def test_a_fault_of_the_machine_is_500_and_says_what(engine: NativeEngine) -> None:
    container = engine.create("true")
    folder = engine.data_root / "containers" / container
    hidden = folder.with_name(f"{container}-hidden")
    folder.rename(hidden)
    folder.write_text("in the way")
    try:
        answer = engine.call("POST", f"/containers/{container}/start")
        assert answer.status == 500, answer.text
        assert os.strerror(20) in answer.message or str(folder) in answer.message
    finally:
        folder.unlink()
        hidden.rename(folder)


def test_a_missing_image_is_told_in_the_words_that_docker_py_looks_for(engine: NativeEngine) -> None:
    for answer in (
        engine.call("POST", "/containers/create", {"Image": "no/such:tag", "Cmd": ["x"]}),
        engine.call("GET", "/images/no/such:tag/json"),
        engine.call("DELETE", "/images/no/such:tag"),
        engine.call("POST", "/images/no/such:tag/tag", repo="x"),
    ):
        assert (answer.status, answer.message) == (404, "No such image: no/such:tag")


# bodies


def test_a_body_needs_the_content_type_json(engine: NativeEngine) -> None:
    for kind, status in (
        ("text/plain", 400),
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
    ):
        answer = engine.call("POST", "/containers/create", CREATE, headers={"Content-Type": kind})
        assert answer.status == status, kind


@pytest.mark.parametrize("tail", [b"{}", b"x", b" 1", b"]"])
def test_anything_behind_the_json_value_is_a_bad_request(engine: NativeEngine, tail: bytes) -> None:
    assert engine.call("POST", "/containers/create", CREATE + tail, headers=JSON).status == 400
    assert engine.call("POST", "/containers/create", CREATE + b" \n", headers=JSON).status == 201


def test_a_post_without_type_and_body_is_taken(engine: NativeEngine) -> None:
    container = engine.create("true")
    with connected(engine, f"POST /containers/{container}/start") as connection:
        assert header(connection).startswith("HTTP/1.1 204")
    with connected(engine, "POST /networks/prune\nContent-Length: 0") as connection:
        assert header(connection).startswith("HTTP/1.1 200")


# query strings


@pytest.mark.parametrize(
    ("text", "all_of_them"),
    [("", 0), ("0", 0), ("no", 0), ("False", 0), ("none", 0), ("1", 1), ("x", 1), ("yes", 1), ("-1", 1)],
)
def test_everything_but_five_words_is_true(engine: NativeEngine, text: str, all_of_them: int) -> None:
    engine.create("true")
    assert len(engine.call("GET", "/containers/json", all=text).json) == all_of_them


def test_lists_repeat_their_key(engine: NativeEngine) -> None:
    image = built(engine, {"Dockerfile": "FROM busybox:test\nLABEL a=b\n"}, t=["twice:1", "twice:2"]).image
    tagged = engine.call("GET", f"/images/{image}/json").json["RepoTags"]
    assert sorted(tagged) == ["twice:1", "twice:2"]
    both = engine.call("GET", "/images/get", names=["twice:1", IMAGE]).body
    assert b"twice:1" in both
    assert IMAGE.encode() in both


def test_filters_are_maps_of_maps_or_of_lists(engine: NativeEngine) -> None:
    engine.create("true", name="found")
    engine.create("true", name="other")
    for text in ('{"name":{"found":true,"other":false}}', '{"name":["found"]}'):
        (each,) = engine.call("GET", "/containers/json", all="1", filters=text).json
        assert each["Names"] == ["/found"]


@pytest.mark.parametrize("path", ["/containers/json", "/images/json", "/networks", "/volumes", "/events"])
def test_a_filter_that_is_no_json_or_not_known_is_a_bad_request(engine: NativeEngine, path: str) -> None:
    for text in ("{", "x", '"name"', '{"name":1}', '{"colour":["red"]}'):
        answer = engine.call("GET", path, filters=text, until="1")
        assert answer.status == 400, text


# names


@pytest.mark.parametrize(
    "written",
    [
        "team/app:1",
        "team%2Fapp%3A1",
        "team%2fapp:1",
        "team/app%3a1",
        "team/app@{digest}",
        "team%2Fapp%40{digest}",
    ],
)
def test_names_in_paths_may_hold_slash_colon_and_at_escaped_or_not(
    engine: NativeEngine, written: str
) -> None:
    assert engine.call("POST", f"/images/{IMAGE}/tag", repo="team/app", tag="1").status == 201
    image = engine.call("GET", f"/images/{IMAGE}/json").json["Id"]
    answer = engine.call("GET", f"/images/{written.format(digest=image)}/json")
    if "{digest}" in written:
        # It is a name with a digest, which this image, never pushed, has not.
        assert (answer.status, answer.message) == (404, f"No such image: team/app@{image}")
    else:
        assert answer.json["Id"] == image


def test_a_container_is_found_with_a_slash_without_and_by_the_start_of_its_id(engine: NativeEngine) -> None:
    container = engine.create("true", name="found")
    for reference in ("found", "%2Ffound", container, container[:12]):
        assert engine.inspect(reference)["Id"] == container


def test_a_body_over_the_limit_is_refused(engine: NativeEngine) -> None:
    answer = engine.call("POST", "/containers/create", {"Image": "x" * 2_000_000})
    assert (answer.status, "too large" in answer.message) == (400, True)
