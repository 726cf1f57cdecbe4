"""--squash and --cache-from: an image whose layers become one, an image as the source of steps."""

import json

import pytest
from builder_rig import build, built, config, layers, saved, shell, tree
from native_engine import NativeEngine

pytestmark = pytest.mark.root

STEPS = """FROM busybox:test
RUN mkdir -p /a/b /gone && echo 1 > /a/b/f && ln /a/b/f /a/hard && chown 3:4 /a/hard && echo big > /gone/x
COPY f /a/b/copied
RUN rm -r /gone /home && rm /etc/group && echo 2 > /a/b/f2 && chmod 700 /a
RUN rm -r /a/b && mkdir /a/b && echo new > /a/b/new && rm /tmp -rf && ln -s /a /tmp && echo same > /etc/passwd
ENV LAST=yes
"""


def test_squash_makes_one_layer_with_the_same_files(engine: NativeEngine) -> None:
    files = {"Dockerfile": STEPS, "f": "copied"}
    built(engine, files, t="steps")
    found = built(engine, files, squash="1", t="squashed")
    base = layers(engine, "busybox:test")
    assert layers(engine, "squashed")[:-1] == base
    assert len(layers(engine, "steps")) == len(base) + 4
    whole, one = saved(engine, "steps"), saved(engine, "squashed")
    assert tree(one, times=True) == tree(whole, times=True)
    assert config(one)["config"] == config(whole)["config"]
    assert found.image == engine.call("GET", "/images/squashed/json").json["Id"]
    # Nothing that came and went is in it.
    assert shell(engine, "squashed", "ls -l /a/hard | awk '{print $2, $3, $4}'") == "1 3 4\n"
    history = config(one)["history"]
    assert [bool(entry.get("empty_layer")) for entry in history[-6:]] == [True] * 5 + [False]
    assert history[-1]["comment"].startswith("merge sha256:")
    assert built(engine, files, squash="1").image == found.image


def test_squash_on_scratch_and_without_files(engine: NativeEngine) -> None:
    built(engine, {"Dockerfile": "FROM scratch\nCOPY f /1\nCOPY f /2\n", "f": "f"}, squash="1", t="bare")
    assert set(tree(saved(engine, "bare"))) == {"1", "2"}
    assert len(layers(engine, "bare")) == 1
    built(engine, {"Dockerfile": "FROM busybox:test\nLABEL a=b\n"}, squash="1", t="labelled")
    assert layers(engine, "labelled") == layers(engine, "busybox:test")


# cache sources

FROM_SOURCE = "FROM busybox:test\nENV FOO=bar\nRUN head -c 8 /dev/urandom > /r\nCOPY --chmod=600 f /f\n"


def hits(text: str) -> int:
    return text.count("Using cache")


def test_steps_come_from_a_named_image_and_from_no_other(fresh_engine: NativeEngine) -> None:
    engine = fresh_engine
    files = {"Dockerfile": FROM_SOURCE, "f": "f"}
    first = built(engine, files, t="source")
    archive = saved(engine, "source")
    assert hits(built(engine, files, cachefrom='["nosuchtag"]').text) == 0
    engine.call("DELETE", "/images/source", force="1")
    engine.call("POST", "/build/prune", all="1")
    assert engine.call("POST", "/images/load", archive).status == 200
    # It is here, but nobody named it.
    assert hits(built(engine, files, t="other").text) == 0
    found = built(engine, files, cachefrom='["nosuchtag", "source"]', t="again")
    assert hits(found.text) == 3
    assert found.image == first.image
    assert "Running in" not in found.text
    longer = {**files, "Dockerfile": FROM_SOURCE + "RUN cat /r > /copy\n"}
    built(engine, longer, cachefrom='["source"]', t="longer")
    assert layers(engine, "longer")[:-1] == layers(engine, "source")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"f": "changed"}, 2),
        ({"Dockerfile": FROM_SOURCE.replace("600", "644")}, 2),
        ({"Dockerfile": FROM_SOURCE.replace("FOO=bar", "FOO=baz")}, 0),
        ({"Dockerfile": FROM_SOURCE.replace("RUN", "HEALTHCHECK CMD true\nRUN")}, 1),
        ({"Dockerfile": FROM_SOURCE.replace("RUN ", "RUN --network=none ")}, 1),
    ],
)
def test_a_source_serves_until_something_differs(
    engine: NativeEngine, change: dict[str, str], expected: int
) -> None:
    files = {"Dockerfile": FROM_SOURCE, "f": "f"}
    built(engine, files, t="differs")
    assert hits(built(engine, {**files, **change}, cachefrom='["differs"]').text) == expected


def test_a_source_with_a_lookalike_history_serves_nothing(engine: NativeEngine) -> None:
    """Somebody else's image with the same words in its history (CVE-2024-24557)."""
    file = "FROM busybox:test\nRUN echo good > /f\n"
    built(engine, {"Dockerfile": file}, t="good")
    container = engine.docker("create", "busybox:test").stdout.decode().strip()
    evil = engine.docker(
        "commit", "--change", "LABEL x=y", "-m", "wherry.step " + "0" * 64, container, "evil"
    )
    assert evil.returncode == 0, evil.stderr
    engine.docker("rm", container)
    found = built(engine, {"Dockerfile": file}, cachefrom='["evil"]', t="rebuilt")
    assert hits(found.text) == 0
    assert shell(engine, "rebuilt", "cat /f") == "good\n"


def test_a_cache_source_that_is_no_list_is_refused(engine: NativeEngine) -> None:
    found = build(engine, {"Dockerfile": "FROM scratch\n"}, cachefrom=json.dumps({"a": 1}))
    assert found.status == 400
