"""What the newer Dockerfile language asks of the engine: sources mixed in one ADD, folders kept, modes in
words, caches that begin with files, entitlements, named contexts."""

import json
from collections.abc import Iterator

import pytest
from builder_rig import build, built, context, saved, served, shell, tree
from native_engine import NativeEngine

pytestmark = pytest.mark.root


@pytest.fixture
def web() -> Iterator[str]:
    files = {"/page": b"from the web", "/box.tar": context({"in-box": "1", "own": "box"})}
    with served(files) as url:
        yield url


def names(engine: NativeEngine, image: str, below: str) -> set[str]:
    return {name for name in tree(saved(engine, image)) if name.startswith(below)}


def test_add_takes_files_downloads_and_heredocs_in_their_order(engine: NativeEngine, web: str) -> None:
    file = f"FROM busybox:test\nADD own {web}/page local.tar {web}/box.tar <<here /to/\ninline\nhere\n"
    files = {"Dockerfile": file, "own": "mine", "local.tar": context({"own": "unpacked"})}
    built(engine, files, t="mixed")
    assert names(engine, "mixed", "to/") == {"to/own", "to/page", "to/box.tar", "to/here"}
    assert shell(engine, "mixed", "cat /to/own /to/page /to/here") == "unpackedfrom the webinline\n"
    assert "Using cache" in built(engine, files).text
    changed = built(engine, {**files, "own": "other"})
    assert "Using cache" not in changed.text


def test_add_unpacks_what_it_is_told_to(engine: NativeEngine, web: str) -> None:
    file = (
        f"FROM busybox:test\nADD --unpack=true {web}/box.tar /web/\nADD --unpack=false local.tar /kept/\n"
        "ADD local.tar /local/\n"
    )
    built(engine, {"Dockerfile": file, "local.tar": context({"f": "1"})}, t="unpacked")
    assert names(engine, "unpacked", "web/") == {"web/in-box", "web/own"}
    assert names(engine, "unpacked", "kept/") == {"kept/local.tar"}
    assert names(engine, "unpacked", "local/") == {"local/f"}


DEEP = {
    "a/one.txt": "1",
    "a/b/two.txt": "2",
    "a/b/c/three.txt": "3",
    "a/b/c/other": "o",
    "top.txt": "t",
}


@pytest.mark.parametrize(
    ("flags", "sources", "expected"),
    [
        ("--parents", "a/b/two.txt", {"a", "a/b", "a/b/two.txt"}),
        ("--parents", "a/./b/two.txt", {"b", "b/two.txt"}),
        ("--parents", "./a/b/./c", {"c", "c/three.txt", "c/other"}),
        ("--parents", "a/*/./c", {"c", "c/three.txt", "c/other"}),
        (
            "--parents",
            "**/*.txt",
            {"top.txt", "a", "a/one.txt", "a/b", "a/b/two.txt", "a/b/c", "a/b/c/three.txt"},
        ),
        ("--parents", "a/./**/t*.txt", {"b", "b/two.txt", "b/c", "b/c/three.txt"}),
        ("--parents --exclude=**/c", "a", {"a", "a/one.txt", "a/b", "a/b/two.txt"}),
        ("--exclude=*.txt", "a/b/c/*", {"other"}),
        ("--exclude=b", "a", {"one.txt"}),
    ],
)
def test_parents_keeps_folders_from_the_pivot_on(
    engine: NativeEngine, flags: str, sources: str, expected: set[str]
) -> None:
    built(engine, {"Dockerfile": f"FROM scratch\nCOPY {flags} {sources} /to/\n", **DEEP}, t="parents")
    assert {name.removeprefix("to/") for name in names(engine, "parents", "to/")} == expected


def test_a_pivot_behind_any_number_of_folders_is_refused(engine: NativeEngine) -> None:
    found = build(engine, {"Dockerfile": "FROM scratch\nCOPY --parents a/**/./c /to/\n", **DEEP})
    assert "** cannot stand before /./" in found.error["message"]


def test_with_parents_the_cache_knows_the_folders_names(engine: NativeEngine) -> None:
    file = "FROM scratch\nCOPY --parents */f /\n"
    built(engine, {"Dockerfile": file, "x/f": "same"})
    moved = built(engine, {"Dockerfile": file, "y/f": "same"}, t="moved")
    assert "Using cache" not in moved.text
    assert names(engine, "moved", "") == {"y", "y/f"}


def test_chmod_in_words_looks_at_what_is_copied(engine: NativeEngine) -> None:
    file = "FROM busybox:test\nCOPY --chmod=u=rwX,go=rX d /d\nCOPY --chmod=a-w,+x d/plain /x\n"
    files = {"Dockerfile": file, "d/": (0o700, ""), "d/plain": (0o600, "p"), "d/program": (0o700, "q")}
    built(engine, files, t="modes")
    assert shell(engine, "modes", "stat -c %a /d/plain /d/program /x") == "644\n755\n511\n"
    bad = build(engine, {**files, "Dockerfile": "FROM busybox:test\nCOPY --chmod=u=q d /d\n"})
    assert 'invalid chmod parameter: "u=q"' in bad.error["message"]


def test_a_cache_mount_begins_with_the_files_of_its_from(engine: NativeEngine) -> None:
    file = """FROM busybox:test AS seed
        RUN mkdir -p /s/in && echo seeded > /s/in/f && chown 5:6 /s/in/f
        FROM busybox:test
        ARG N
        RUN --mount=type=cache,target=/c,from=seed,source=/s/in \\
            echo $N >> /c/log && cat /c/f /c/log > /seen && stat -c %u:%g /c/f >> /seen
        RUN --mount=type=cache,target=/c test ! -e /c/f
        RUN --mount=type=cache,target=/c,source=sub touch /c/in-sub
        RUN --mount=type=cache,target=/c test -e /c/sub/in-sub
    """
    built(engine, {"Dockerfile": file}, buildargs='{"N": "1"}', t="seeded")
    assert shell(engine, "seeded", "cat /seen") == "seeded\n1\n5:6\n"
    built(engine, {"Dockerfile": file}, buildargs='{"N": "2"}', t="seeded")
    assert shell(engine, "seeded", "cat /seen") == "seeded\n1\n2\n5:6\n"


def test_an_insecure_run_needs_its_entitlement(engine: NativeEngine) -> None:
    # Only root of the machine's own user namespace may mount this.
    file = "FROM busybox:test\nRUN --security=insecure grep CapEff /proc/self/status > /caps\n"
    refused = build(engine, {"Dockerfile": file})
    assert "needs the entitlement security.insecure" in refused.error["message"]
    assert "--allow security.insecure" in refused.error["message"]
    built(engine, {"Dockerfile": file}, allow="security.insecure", t="insecure")
    built(engine, {"Dockerfile": file.replace("--security=insecure", "")}, t="secure")
    insecure, secure = (
        int(shell(engine, image, "cat /caps").split()[1], 16) for image in ("insecure", "secure")
    )
    assert insecure & secure == secure
    assert insecure.bit_count() > secure.bit_count()
    assert build(engine, {"Dockerfile": file}, allow="everything").status == 400


def test_a_device_is_refused_by_name(engine: NativeEngine) -> None:
    found = build(engine, {"Dockerfile": "FROM busybox:test\nRUN --device=vendor.com/gpu=0 true\n"})
    assert "RUN --device is not available" in found.text + str(found.error)


def announced(engine: NativeEngine, files: dict[str, str]) -> str:
    """A context as our client announces it; the token."""
    import hashlib

    lines, contents = [], {}
    for name, text in files.items():
        data = text.encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        contents[digest] = data
        lines.append(json.dumps(["f", name, 0o644, 0, len(data), digest]))
    answer = engine.call("POST", "/build/contexts", ("\n".join(lines) + "\n").encode())
    assert answer.status == 201, answer.text
    missing = b"".join(contents[digest] for digest in answer.json["Missing"])
    if missing:
        assert engine.call("PUT", f"/build/contexts/{answer.json['Token']}", missing).status == 204
    return f"context:{answer.json['Token']}"


def test_a_named_context_stands_in_for_images_and_stages(engine: NativeEngine, web: str) -> None:
    file = """FROM nowhere.invalid/base AS stage
        RUN test "$FROM_IMAGE" = yes && echo ran > /ran
        FROM scratch AS other
        COPY never /
        FROM stage
        COPY --from=other f /f
        COPY --from=boxed in-box /in-box
        RUN --mount=from=other,target=/m cat /m/f > /mounted
    """

    def contexts(text: str) -> str:
        return json.dumps(
            {
                "nowhere.invalid/base:latest": "docker-image://busybox:test",
                "OTHER": announced(engine, {"f": text}),
                "boxed": f"{web}/box.tar",
            }
        )

    built(engine, {"Dockerfile": file}, contexts=contexts("first"), t="named")
    assert shell(engine, "named", "cat /ran /f /in-box /mounted") == "ran\nfirst1first"
    assert "Running in" not in built(engine, {"Dockerfile": file}, contexts=contexts("first")).text
    built(engine, {"Dockerfile": file}, contexts=contexts("second"), t="named")
    assert shell(engine, "named", "cat /f /mounted") == "secondsecond"


def test_a_folder_can_be_what_a_stage_stands_on(engine: NativeEngine) -> None:
    place = json.dumps({"base": announced(engine, {"etc/f": "1", "g": "2"})})
    built(engine, {"Dockerfile": "FROM base\nLABEL on=folder\n"}, contexts=place, t="folder")
    assert names(engine, "folder", "") == {"etc", "etc/f", "g"}


@pytest.mark.parametrize("place", ["oci-layout://x", "ssh://git@host/x", "../folder", ""])
def test_a_named_context_that_cannot_be_is_refused(engine: NativeEngine, place: str) -> None:
    found = build(engine, {"Dockerfile": "FROM scratch\n"}, contexts=json.dumps({"x": place}))
    assert found.status == 400
    assert "build context x" in found.text


def test_buildkits_own_arguments_are_heeded_and_others_are_named(engine: NativeEngine) -> None:
    cache = "--mount=type=cache,target=/c,id=of-a-namespace"
    run = f"RUN {cache} hostname > /h; ls /c > /l; touch /c/$(hostname)\n"
    file = f"# check=skip=all\nFROM busybox:test\n{run}CMD x\n"

    def seen(**arguments: str) -> tuple[str, str]:
        given = {f"BUILDKIT_{name}": value for name, value in arguments.items()}
        text = built(engine, {"Dockerfile": file}, buildargs=json.dumps(given), t="of-buildkit").text
        return shell(engine, "of-buildkit", "cat /h /l"), text

    host, text = seen()
    assert host == "buildkitsandbox\n"
    assert "[Warning]" not in text
    host, text = seen(
        SANDBOX_HOSTNAME="named", DOCKERFILE_CHECK="skip=nothing", INLINE_CACHE="1", UNKNOWN="x"
    )
    assert host == "named\nbuildkitsandbox\n"
    assert "[Warning] JSONArgsRecommended" in text
    assert "build-args [BUILDKIT_UNKNOWN] were not consumed" in text
    assert "INLINE_CACHE" not in text
    assert seen(CACHE_MOUNT_NS="other", SYNTAX="docker/dockerfile:1")[0] == "buildkitsandbox\n"
    for arguments, problem in (
        ('{"BUILDKIT_SYNTAX": "mine"}', 'asks for the frontend "mine"'),
        ('{"BUILDKIT_DOCKERFILE_CHECK": "error=true"}', "lint violation found"),
        ('{"BUILDKIT_DOCKERFILE_CHECK": "loud"}', 'invalid check option "loud"'),
    ):
        assert problem in build(engine, {"Dockerfile": file}, buildargs=arguments).text
