"""What a step's place in the cache depends on, and what it does not: two builds, and whether the second takes
its last step from the cache."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from builder_rig import build, built, shell
from native_engine import NativeEngine
from test_builder_cache import used_cache

pytestmark = pytest.mark.root

FROM = "FROM busybox:test\n"
STAGE = f"{FROM[:-1]} AS made\nRUN {{}}\n{FROM}COPY {{}} /out /copy\n"
MAKES = "mkdir /out && echo same > /out/f"


def last_is_cached(engine: NativeEngine, *builds: Mapping[str, Any]) -> bool:
    """Of the second build."""
    first, second = (built(engine, files) for files in builds)
    assert used_cache(second)[-1] == (first.image == second.image)
    return used_cache(second)[-1]


@pytest.mark.parametrize(
    ("first", "second", "cached"),
    [
        (f"echo 1 > /a; {MAKES}", f"echo 2 > /a; {MAKES}", True),
        (f"date +%N > /b; {MAKES}", f"sleep 0.01; date +%N > /b; {MAKES}", True),
        (f"echo 1 > /c; {MAKES}", f"echo 2 > /c; {MAKES}; echo more >> /out/f", False),
        (f"echo 1 > /d; {MAKES}", f"echo 2 > /d; {MAKES}; touch /out/g", False),
        (f"echo 1 > /e; {MAKES}", f"echo 2 > /e; {MAKES}; chmod 700 /out/f", False),
        (f"echo 1 > /f; {MAKES}", f"echo 2 > /f; {MAKES}; chown 7 /out/f", False),
        (f"echo 1 > /g; {MAKES}; ln -s f /out/l", f"echo 2 > /g; {MAKES}; ln -s g /out/l", False),
        (f"echo 1 > /h; {MAKES}; ln -s f /out/l", f"echo 2 > /h; {MAKES}; ln -s f /out/l", True),
    ],
    ids=["other file", "other time", "content", "new file", "mode", "owner", "link", "same link"],
)
def test_a_copy_from_a_stage_depends_on_what_is_copied(
    engine: NativeEngine, first: str, second: str, cached: bool
) -> None:
    builds = [{"Dockerfile": STAGE.format(command, "--from=made")} for command in (first, second)]
    assert last_is_cached(engine, *builds) is cached
    # Both are known by now, each by its source as it is.
    assert used_cache(built(engine, builds[0]))[-1]


@pytest.mark.parametrize(
    ("first", "second", "more", "cached"),
    [
        (f"echo 1 > /a; {MAKES}", f"echo 2 > /a; {MAKES}", "", True),
        (f"echo 1 > /b; {MAKES}", f"echo 2 > /b; {MAKES}; echo more >> /out/f", ",rw", False),
        (f"echo 1 > /c; {MAKES}", f"echo 2 > /c; {MAKES}; chown 7 /out/f", "", False),
    ],
    ids=["other file", "content", "owner"],
)
def test_a_mount_from_a_stage_depends_on_what_it_shows(
    engine: NativeEngine, first: str, second: str, more: str, cached: bool
) -> None:
    mount = f"--mount=from=made,source=/out,target=/m{more} --mount=from=busybox:test,source=/etc,target=/e"
    file = f"{FROM[:-1]} AS made\nRUN {{}}\n{FROM}RUN {mount} cat /m/f > /seen; ls -n /m >> /seen\n"
    builds = [{"Dockerfile": file.format(command)} for command in (first, second)]
    assert last_is_cached(engine, *builds) is cached
    assert used_cache(built(engine, builds[0], t="mounted-source"))[-1]
    # Somebody else's cache knows it by the same.
    assert used_cache(built(engine, builds[0], cachefrom='["mounted-source"]'))[-1]


def test_an_owner_that_is_not_taken_over_does_not_count(engine: NativeEngine) -> None:
    commands = (f"echo own > /1; {MAKES}", f"echo own > /2; {MAKES}; chown 7 /out/f")
    assert last_is_cached(
        engine, *({"Dockerfile": STAGE.format(each, "--from=made --chown=3")} for each in commands)
    )


def test_a_copy_out_of_an_image_is_made_again_when_its_image_is_gone(engine: NativeEngine) -> None:
    files = {"Dockerfile": STAGE.format(f"echo gone > /x; {MAKES}", "--from=made")}
    found = built(engine, files, t="gone")
    engine.call("DELETE", f"/images/{found.image}", force="1")
    again = built(engine, {"Dockerfile": files["Dockerfile"].replace("> /x", "> /y")}, t="gone")
    assert not used_cache(again)[-1]
    assert shell(engine, "gone", "cat /copy/f") == "same\n"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ARG A=1\nARG B=2\nRUN echo $A $B > /a\n", "ARG A=2\nARG B=1\nRUN echo $A $B > /a\n"),
        ("RUN --network=none echo n > /n\n", "RUN --network=host echo n > /n\n"),
        ("RUN --mount=type=tmpfs,target=/t echo m > /m\n", "RUN --mount=type=tmpfs,target=/u echo m > /m\n"),
        ("RUN --mount=target=/c,source=a cat /c > /got\n", "RUN --mount=target=/c,source=b cat /c > /got\n"),
        ("RUN --mount=type=cache,target=/c,id=1 true\n", "RUN --mount=type=cache,target=/c,id=2 true\n"),
        ("RUN --mount=type=secret,id=1 true\n", "RUN --mount=type=secret,id=2 true\n"),
        ("USER 1\nRUN id > /tmp/id\n", "USER 2\nRUN id > /tmp/id\n"),
        ("WORKDIR /1\nRUN touch f\n", "WORKDIR /2\nRUN touch f\n"),
        ('SHELL ["sh", "-c"]\nRUN touch s\n', 'SHELL ["sh", "-ec"]\nRUN touch s\n'),
        ("RUN touch '/x y'\n", "RUN touch /x y\n"),
        ('RUN ["touch", "/x y"]\n', 'RUN ["touch", "/x", "y"]\n'),
        ("ONBUILD RUN a\nRUN touch o\n", "ONBUILD RUN b\nRUN touch o\n"),
        ("HEALTHCHECK CMD a\nRUN touch h\n", "HEALTHCHECK CMD b\nRUN touch h\n"),
        ("COPY a /x\n", "COPY b /x\n"),
        ("COPY --chmod=600 a /x\n", "COPY --chmod=644 a /x\n"),
        ("COPY --chown=1 a /x\n", "COPY --chown=2 a /x\n"),
        ("COPY <<E /h\none\nE\n", "COPY <<E /h\ntwo\nE\n"),
        ("RUN <<E\necho one > /h\nE\n", "RUN <<E\necho two > /h\nE\n"),
    ],
    ids=lambda text: text.splitlines()[-1 if "<<" not in text else 0][:30],
)
def test_a_step_depends_on_all_that_it_says_and_stands_on(
    engine: NativeEngine, first: str, second: str
) -> None:
    files = {"a": "a", "b": "b"}
    assert not last_is_cached(engine, *({"Dockerfile": FROM + each, **files} for each in (first, second)))


@pytest.mark.parametrize(
    "query", [{"networkmode": "none"}, {"extrahosts": "a:10.0.0.1"}, {"extrahosts": "a:10.0.0.2"}]
)
def test_a_run_depends_on_the_builds_network_and_hosts(engine: NativeEngine, query: dict[str, str]) -> None:
    files = {"Dockerfile": f"{FROM}RUN echo {query} > /q\n"}
    built(engine, files)
    assert not used_cache(built(engine, files, **query))[-1]
    assert used_cache(built(engine, files, **query))[-1]


def test_a_base_with_another_trigger_is_another_base(engine: NativeEngine) -> None:
    found = []
    for content in ("one", "two"):
        built(engine, {"Dockerfile": f"{FROM}ONBUILD RUN echo {content} > /made\n"}, t="with-trigger")
        built(engine, {"Dockerfile": "FROM with-trigger\nLABEL a=b\n"}, t="from-trigger")
        found.append(shell(engine, "from-trigger", "cat /made"))
    assert found == ["one\n", "two\n"]


def test_a_secret_that_changed_is_no_other_step(engine: NativeEngine) -> None:
    """As with BuildKit: the secret is in no layer, so it is not of the step. --no-cache asks for it again."""
    texts, lines = [], f"{FROM}RUN --mount=type=secret,id=s wc -c < /run/secrets/s > /n\n"
    for content, more in (("YQ==", {}), ("YWI=", {}), ("YWI=", {"nocache": "1"})):
        token = engine.call("POST", "/build/offers", {"Secrets": {"s": content}}).json["Token"]
        built(engine, {"Dockerfile": lines}, t="secret-size", offer=token, **more)
        texts.append(shell(engine, "secret-size", "cat /n"))
    assert texts == ["1\n", "1\n", "2\n"]


def test_nothing_of_a_secret_is_kept(engine: NativeEngine) -> None:
    """Neither in a layer, the history, the cache's records and keys, nor in the engine's database and log."""
    token = engine.call("POST", "/build/offers", {"Secrets": {"s": "dmVyeS1zZWNyZXQtNDcxMQ=="}}).json["Token"]
    lines = f"{FROM}RUN --mount=type=secret,id=s,env=S test ${{#S}} = 16\n"
    built(engine, {"Dockerfile": lines}, t="keeps-nothing", offer=token)
    built(engine, {"Dockerfile": lines}, t="keeps-nothing")
    places = [path for path in (*engine.data_root.rglob("*"), engine.log) if path.is_file()]
    assert len(places) > 10
    assert [path for path in places if b"very-secret-4711" in path.read_bytes()] == []
    assert "very-secret-4711" not in json.dumps(engine.call("GET", "/system/df").json)


def test_a_container_that_is_kept_for_a_look_has_no_secret(engine: NativeEngine) -> None:
    token = engine.call("POST", "/build/offers", {"Secrets": {"s": "c2VlbiBieSBub2JvZHk="}}).json["Token"]
    lines = f'{FROM}RUN --mount=type=secret,id=s,env=S test "$S" = "seen by nobody" && exit 12\n'
    assert build(engine, {"Dockerfile": lines}, offer=token, rm="0").error["code"] == 12
    (kept,) = [each["Id"] for each in engine.call("GET", "/containers/json", all="1").json]
    assert "S=" not in str(engine.call("GET", f"/containers/{kept}/json").json["Config"]["Env"])
