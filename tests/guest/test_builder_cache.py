"""Stages, the cache and its safety, reproducibility, and what is left when a build ends early."""

import base64
import io
import json
import socket
import tarfile
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from builder_rig import Built, build, built, busybox_file, config, context, saved, shell, tree
from native_engine import NativeEngine
from registry_rig import PASSWORD, USER, real_registry

pytestmark = pytest.mark.root

PATIENCE = 30.0


def images(engine: NativeEngine) -> set[str]:
    return {each["Id"] for each in engine.call("GET", "/images/json", all="1").json}


def used_cache(found: Built) -> list[bool]:
    """Of each step but the first FROM."""
    return ["Using cache" in part for part in found.text.split("Step ")[2:]]


def without_times(data: bytes) -> bytes:
    """The same archive with other times."""
    made = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        tarfile.open(fileobj=made, mode="w") as new,
    ):
        for member in old:
            member.mtime += 1000
            new.addfile(member, old.extractfile(member))
    return made.getvalue()


def start_build(engine: NativeEngine, data: bytes, until: bytes, **query: str) -> socket.socket:
    """A build over a connection of its own, up to the moment it has printed something."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(str(engine.socket))
    parameters = "&".join(f"{key}={quote(value)}" for key, value in query.items())
    head = f"POST /build?{parameters} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
    connection.sendall(head.encode() + data)
    answer = b""
    while until not in answer:
        more = connection.recv(65536)
        assert more, answer
        answer += more
    return connection


# stages


def test_only_the_stages_that_are_needed_are_built(engine: NativeEngine) -> None:
    file = """FROM busybox:test AS used
        RUN echo used > /f
        FROM busybox:test AS broken
        RUN exit 1
        FROM scratch AS target
        COPY --from=used /f /f
        FROM broken
    """
    found = built(engine, {"Dockerfile": file}, target="target", t="staged")
    assert "Step 4/4 : COPY --from=used /f /f" in found.text
    assert list(tree(saved(engine, "staged"))) == ["f"]
    assert "could not be found" in build(engine, {"Dockerfile": file}, target="nope").text


def test_a_stage_sees_earlier_ones_only(engine: NativeEngine) -> None:
    file = "FROM busybox:test\nCOPY --from=0 /x /\nFROM busybox:test\n"
    found = build(engine, {"Dockerfile": file}, target="0")
    assert found.status == 400
    assert "refers to current build stage" in found.text


def test_a_base_that_is_not_here_is_pulled_with_the_clients_login(
    engine: NativeEngine, tmp_path: Path
) -> None:
    with real_registry(tmp_path / "registry", auth=True) as registry:
        name = f"{registry.host}/base:1"
        login = {"username": USER, "password": PASSWORD}
        auth = base64.urlsafe_b64encode(json.dumps(login).encode()).decode()
        engine.call("POST", "/images/busybox:test/tag", repo=f"{registry.host}/base", tag="1")
        pushed = engine.call(
            "POST", f"/images/{registry.host}/base/push", headers={"X-Registry-Auth": auth}, tag="1"
        )
        assert "errorDetail" not in pushed.text
        engine.call("DELETE", f"/images/{name}")
        files = {"Dockerfile": f"FROM {name}\nRUN echo pulled > /p\n"}
        assert "unauthorized" in str(build(engine, files).error).lower()
        logins = base64.urlsafe_b64encode(json.dumps({registry.host: login}).encode()).decode()
        headers = {"Content-Type": "application/x-tar", "X-Registry-Config": logins}
        for query in ({}, {"pull": "1"}):
            answer = engine.call("POST", "/build", context(files), headers=headers, t="pulled", **query)
            assert "errorDetail" not in answer.text
            assert f"Status: Image is up to date for {name}" in answer.text or not query
        assert shell(engine, "pulled", "cat /p") == "pulled\n"


# the cache


def test_a_rebuild_without_change_takes_everything_from_the_cache(engine: NativeEngine) -> None:
    file = "FROM busybox:test\nARG A=1\nENV B=2\nWORKDIR /w\nCOPY f .\nRUN date > /d\nCMD x\n"
    first = built(engine, {"Dockerfile": file, "f": "1"})
    again = built(engine, {"Dockerfile": file, "f": "1"})
    assert again.image == first.image
    assert used_cache(again) == [True] * 6
    assert "Running in" not in again.text


def test_the_cache_knows_contents_and_not_times(engine: NativeEngine) -> None:
    file = "FROM busybox:test\nENV CASE=contents\nCOPY f /f\nRUN date > /d\n"
    data = context({"Dockerfile": file, "f": "1"})
    first = built(engine, data)
    assert built(engine, without_times(data)).image == first.image
    assert used_cache(built(engine, {"Dockerfile": file, "f": "2"})) == [True, False, False]
    assert used_cache(built(engine, {"Dockerfile": file, "f": (0o600, "1")})) == [True, False, False]
    assert used_cache(built(engine, {"Dockerfile": file, "f": "1", "other": "x"})) == [True, True, True]


def test_the_cache_knows_arguments_and_instructions(engine: NativeEngine) -> None:
    file = "FROM busybox:test\nENV CASE=arguments\nARG V\nRUN echo $V > /v\n"
    one = {"buildargs": '{"V": "1"}'}
    built(engine, {"Dockerfile": file}, **one)
    assert used_cache(built(engine, {"Dockerfile": file}, **one)) == [True, True, True]
    assert not used_cache(built(engine, {"Dockerfile": file}, buildargs='{"V": "2"}'))[-1]
    for check in ("HEALTHCHECK CMD a\n", "HEALTHCHECK CMD b\n", "HEALTHCHECK --retries=2 CMD b\n"):
        assert not used_cache(built(engine, {"Dockerfile": file + check}, **one))[-1]
    assert not any(used_cache(built(engine, {"Dockerfile": file}, nocache="1", **one)))


def test_proxies_reach_run_and_neither_cache_nor_history(engine: NativeEngine) -> None:
    file = "FROM busybox:test\nENV CASE=proxies\nRUN echo $HTTP_PROXY > /p\n"
    arguments = '{"HTTP_PROXY": "http://user:hidden@a"}'
    first = built(engine, {"Dockerfile": file}, buildargs=arguments, t="proxied")
    assert shell(engine, "proxied", "cat /p") == "http://user:hidden@a\n"
    assert "hidden" not in json.dumps(config(saved(engine, "proxied")))
    assert built(engine, {"Dockerfile": file}).image == first.image


def test_a_loaded_image_is_never_taken_for_a_step(fresh_engine: NativeEngine) -> None:
    """CVE-2024-24557: an image whose parent and command look right must not be found by them."""
    file = "FROM scratch\nCOPY f /f\nLABEL poisoned=no\n"
    built(fresh_engine, {"Dockerfile": file, "f": "good"}, t="poison")
    archive = saved(fresh_engine, "poison")
    fresh_engine.stop()
    (fresh_engine.data_root / "wherry.db").unlink()
    fresh_engine.start()
    assert fresh_engine.call("POST", "/images/load", archive).status == 200
    # The very same image is there, and nothing was built by this engine.
    assert used_cache(built(fresh_engine, {"Dockerfile": file, "f": "good"})) == [False, False]


def test_a_step_whose_image_was_removed_is_made_again(engine: NativeEngine) -> None:
    files = {"Dockerfile": "FROM busybox:test\nENV CASE=removed\nRUN date > /d\n"}
    found = built(engine, files)
    assert engine.call("DELETE", f"/images/{found.image}").status == 200
    assert used_cache(built(engine, files))[-1] is False


def test_the_same_input_and_epoch_make_the_same_image(engine: NativeEngine) -> None:
    file = """FROM scratch
        COPY --chmod=755 busybox /
        COPY d /d/
        WORKDIR /w
        RUN ["/busybox", "touch", "/new"]
    """
    files = {"Dockerfile": file, "busybox": busybox_file(), "d/": "", "d/f": "x"}
    epoch = {"buildargs": '{"SOURCE_DATE_EPOCH": "1500000000"}', "nocache": "1"}
    first = built(engine, files, **epoch)
    time.sleep(1.1)
    assert built(engine, files, **epoch).image == first.image
    assert config(saved(engine, first.image))["created"] == "2017-07-14T02:40:00Z"
    assert tree(saved(engine, first.image), times=True)["new"][-1] == 1_500_000_000


def test_prune_removes_what_only_the_cache_holds(fresh_engine: NativeEngine) -> None:
    file = (
        "FROM busybox:test\n"
        "RUN --mount=type=cache,target=/c echo x > /c/x && dd if=/dev/zero of=/z bs=1000 count=9\n"
    )
    built(fresh_engine, {"Dockerfile": file + "ENV A=1\n"}, t="named")
    built(fresh_engine, {"Dockerfile": file + "RUN echo more\n"})
    before = images(fresh_engine)
    answer = fresh_engine.call("POST", "/build/prune").json
    assert len(before - images(fresh_engine)) == 1
    assert answer["SpaceReclaimed"] > 0
    assert len(answer["CachesDeleted"]) == 2
    assert shell(fresh_engine, "named", "ls /z") == "/z\n"


# security


def test_links_of_the_context_lead_nowhere_else(engine: NativeEngine, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("the engine's own file")
    files = {
        "out": f"-> {outside}",
        "up": "-> ../../../../../../../../etc/hostname",
        "d": f"-> {tmp_path}",
    }
    for line in ("COPY out /x", "COPY up /x", "COPY d/outside /x", "RUN --mount=target=/m,source=out true"):
        found = build(engine, {"Dockerfile": f"FROM busybox:test\n{line}\n", **files})
        assert "not found" in found.error["message"], line


def test_links_of_the_image_lead_nowhere_else(engine: NativeEngine, tmp_path: Path) -> None:
    file = f"FROM busybox:test\nRUN ln -s {tmp_path} /away && ln -s /../../../.. /up\nCOPY f /away/f\n"
    # It leads to a folder that the image does not have.
    assert "a link that leads nowhere" in build(engine, {"Dockerfile": file, "f": "x"}).error["message"]
    assert not list(tmp_path.iterdir())
    built(engine, {"Dockerfile": file.replace("/away/f", "/up/g"), "f": "x"}, t="up")
    assert shell(engine, "up", "cat /g") == "x"


def test_a_context_that_climbs_out_is_refused(engine: NativeEngine) -> None:
    found = build(engine, context({"Dockerfile": "FROM busybox:test\n", "../../evil": "x"}))
    assert found.status == 400
    assert "leads out of the archive" in found.text


def test_a_body_that_is_no_archive_is_refused(engine: NativeEngine) -> None:
    assert build(engine, b"FROM busybox:test\n").status == 400
    assert "empty" in build(engine, b"").text


def test_a_dockerfile_that_is_not_there_or_outside_is_refused(engine: NativeEngine) -> None:
    assert "Cannot locate specified Dockerfile" in build(engine, {"x": ""}).text
    assert "Forbidden path" in build(engine, {"x": ""}, dockerfile="../x").text
    assert "Cannot locate" in build(engine, {"Dockerfile": "-> /etc/hostname"}).text


# the end


def test_a_client_that_goes_away_ends_the_build(engine: NativeEngine) -> None:
    data = context({"Dockerfile": "FROM busybox:test\nRUN echo started; sleep 1000\n"})
    start_build(engine, data, rb"started\n").close()
    builds = engine.data_root / "builder" / "builds"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not engine.call("GET", "/containers/json", all="1").json and not list(builds.iterdir()):
            return
        time.sleep(0.1)
    pytest.fail(f"left behind: {list(builds.iterdir())}")


def test_images_under_a_build_cannot_be_taken_away(engine: NativeEngine) -> None:
    file = "FROM busybox:test\nENV CASE=held\nRUN echo started; sleep 2; echo done\n"
    with start_build(engine, context({"Dockerfile": file}), rb"started\n", t="held:1") as connection:
        engine.call("POST", "/images/prune")
        engine.call("POST", "/build/prune")
        answer = b""
        while b"Successfully tagged" not in answer and b"errorDetail" not in answer:
            answer += connection.recv(65536)
    assert b"Successfully tagged held:1" in answer


def test_a_killed_engine_leaves_a_cache_and_no_garbage(fresh_engine: NativeEngine) -> None:
    file = "FROM busybox:test\nRUN date > /d\nRUN echo started; sleep 1000\n"
    with start_build(fresh_engine, context({"Dockerfile": file}), rb"started\n"):
        fresh_engine.kill()
    fresh_engine.start()
    assert not fresh_engine.call("GET", "/containers/json", all="1").json
    assert not list((fresh_engine.data_root / "builder" / "builds").iterdir())
    found = built(fresh_engine, {"Dockerfile": file.replace("sleep 1000", "true")})
    assert used_cache(found)[0] is True
