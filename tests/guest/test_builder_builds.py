"""Builds on a native engine, over the API: what each instruction does, in its words and its files."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from builder_rig import build, built, busybox_file, config, context, layers, saved, served, shell, tree
from native_engine import NativeEngine

pytestmark = pytest.mark.root


# instructions


def test_arg_and_env_have_their_scopes(engine: NativeEngine) -> None:
    file = """
        ARG BASE=busybox:test
        ARG SHARED=global
        FROM $BASE
        RUN test -z "$SHARED"
        ARG SHARED
        ARG OWN=${SHARED}-own
        ARG GIVEN
        ENV ENVIRONMENT=$OWN OVERRIDDEN=env
        ARG OVERRIDDEN=arg
        RUN echo "$SHARED $OWN $GIVEN $ENVIRONMENT $OVERRIDDEN" > /seen
        LABEL seen=${GIVEN:-nothing}
    """
    arguments = json.dumps({"GIVEN": "yes", "NULL": None})
    found = built(engine, {"Dockerfile": file}, buildargs=arguments, t="scopes")
    assert shell(engine, "scopes", "cat /seen") == "global global-own yes global-own env\n"
    assert "GIVEN" not in shell(engine, "scopes", "env")
    assert "[Warning] One or more build-args [NULL] were not consumed" in found.text
    assert engine.call("GET", "/images/scopes/json").json["Config"]["Labels"] == {"seen": "yes"}


def test_a_failing_run_gives_its_exit_code_and_leaves_nothing(engine: NativeEngine) -> None:
    found = build(engine, {"Dockerfile": "FROM busybox:test\nRUN echo before; exit 17\n"})
    assert found.error["code"] == 17
    assert "returned a non-zero code: 17" in found.error["message"]
    assert "before\n" in found.text
    assert not engine.call("GET", "/containers/json", all="1").json


def test_the_container_of_a_failing_run_can_be_kept_for_a_look(engine: NativeEngine) -> None:
    build(engine, {"Dockerfile": "FROM busybox:test\nRUN echo mine > /left; exit 1\n"}, rm="0")
    (container,) = engine.call("GET", "/containers/json", all="1").json
    assert container["State"] == "exited"


def test_a_missing_program_is_127(engine: NativeEngine) -> None:
    assert build(engine, {"Dockerfile": 'FROM busybox:test\nRUN ["/nope"]\n'}).error["code"] == 127


def test_an_error_while_building_shows_its_line(engine: NativeEngine) -> None:
    found = build(engine, {"Dockerfile": 'FROM busybox:test\n\nLABEL a="${X:?give X}"\n'})
    assert found.error["message"].startswith("dockerfile parse error on line 3: ")
    assert "X: give X" in found.error["message"]
    assert '     3 | LABEL a="${X:?give X}"' in found.error["message"]


def test_a_broken_dockerfile_is_a_bad_request(engine: NativeEngine) -> None:
    found = build(engine, {"Dockerfile": "FROM busybox:test\nCPY a b\n"})
    assert found.status == 400
    assert "line 2: unknown instruction: CPY" in found.text


HEREDOCS = """FROM busybox:test
RUN <<EOF
echo one > /1
echo "$HOME" > /2
EOF
RUN cat <<A > /3 && cat <<B >> /3
a
A
b
B
RUN <<EOF
#!/bin/busybox sh
echo "$0" > /4
EOF
COPY <<"raw" <<-cooked /docs/
$HOME
raw
\t$HOME$PATH_ "q"
cooked
"""


def test_run_heredocs_are_scripts_and_copy_heredocs_are_files(engine: NativeEngine) -> None:
    built(engine, {"Dockerfile": HEREDOCS}, t="heredocs")
    seen = shell(engine, "heredocs", "cat /1 /2 /3 /4; cat /docs/raw /docs/cooked")
    assert seen == 'one\n/root\na\nb\n/dev/pipes/EOF\n$HOME\n "q"\n'


def test_shell_onbuild_and_user_are_obeyed(engine: NativeEngine) -> None:
    base = """FROM busybox:test
        SHELL ["/bin/sh", "-ec"]
        ONBUILD COPY app /srv/app
        ONBUILD RUN id -u > /tmp/who
        USER user
    """
    built(engine, {"Dockerfile": base}, t="base-of-many")
    found = built(engine, {"Dockerfile": "FROM base-of-many\nRUN false || true\n", "app": "x"}, t="child")
    assert "# Executing 2 build triggers" in found.text
    assert shell(engine, "child", "cat /srv/app /tmp/who") == "x1000\n"
    assert not engine.call("GET", "/images/child/json").json["Config"].get("OnBuild")


def test_volumes_keep_what_later_steps_write(engine: NativeEngine) -> None:
    file = "FROM busybox:test\nRUN mkdir /v\nVOLUME /v\nRUN echo kept > /v/f\nRUN cat /v/f\n"
    assert "kept\n" in built(engine, {"Dockerfile": file}).text


def test_run_network_none_has_no_network(engine: NativeEngine) -> None:
    file = "FROM busybox:test\nRUN --network=none test $(ls /sys/class/net | wc -l) = 1\n"
    built(engine, {"Dockerfile": file})
    built(engine, {"Dockerfile": file.replace("--network=none ", "")}, networkmode="none")


def test_run_has_the_network_that_the_build_or_the_line_says(engine: NativeEngine) -> None:
    """ "host" is the machine's own, "default" one with an interface, and a line wins over the build."""
    look = "readlink /proc/self/ns/net > /net; grep -c : /proc/net/dev >> /net"
    ours = str(Path("/proc/self/ns/net").readlink())

    def seen(line: str, mode: str) -> str:
        built(engine, {"Dockerfile": f"FROM busybox:test\nRUN {line}{look}\n"}, networkmode=mode, t="net")
        namespace, count = shell(engine, "net", "cat /net").split()
        return "host" if namespace == ours else {"1": "none", "2": "default"}[count]

    for mode in ("none", "host", "default"):
        assert seen("", mode) == mode
        assert seen(f"--network={mode} ", "none") == ("none" if mode == "default" else mode)
    assert seen("--network=none ", "host") == "none"


def test_cache_mounts_live_on_and_are_in_no_layer(engine: NativeEngine) -> None:
    file = (
        "FROM busybox:test\nARG N\n"
        "RUN --mount=type=cache,target=/c,id=mine echo $N >> /c/log && cat /c/log > /log\n"
    )
    for number in ("1", "2"):
        built(engine, {"Dockerfile": file}, buildargs=json.dumps({"N": number}), t="cached")
    assert shell(engine, "cached", "cat /log; test -e /c || echo gone") == "1\n2\ngone\n"


def test_a_private_cache_is_anothers_while_it_is_used(engine: NativeEngine) -> None:
    """Two stages at once that meet in another cache, so that each has the first one when it looks into it."""
    step = (
        "touch /c/{0} /meet/{0}; for i in $(seq 500); do test -e /meet/one -a -e /meet/two && break; "
        "sleep 0.02; done; ls /c > /seen"
    )
    seen = {}
    for sharing in ("private", "shared"):
        mount = f"--mount=type=cache,target=/c,id=c{sharing},sharing={sharing}"
        meeting = f"--mount=type=cache,target=/meet,id=meet{sharing}"
        file = "".join(
            f"FROM busybox:test AS {name}\nRUN {mount} {meeting} {step.format(name)}\n"
            for name in ("one", "two")
        )
        file += "FROM busybox:test\nCOPY --from=one /seen /one\nCOPY --from=two /seen /two\n"
        built(engine, {"Dockerfile": file}, t="caches")
        seen[sharing] = shell(engine, "caches", "cat /one; echo and; cat /two").split()
    assert seen == {"private": ["one", "and", "two"], "shared": ["one", "two", "and", "one", "two"]}


def test_a_health_check_has_all_its_times(engine: NativeEngine) -> None:
    options = "--interval=90s --timeout=1.5s --start-period=1m --start-interval=500ms --retries=4"
    built(engine, {"Dockerfile": f"FROM busybox:test\nHEALTHCHECK {options} CMD true\n"}, t="healthy")
    assert engine.call("GET", "/images/healthy/json").json["Config"]["Healthcheck"] == {
        "Test": ["CMD-SHELL", "true"],
        "Interval": 90_000_000_000,
        "Timeout": 1_500_000_000,
        "StartPeriod": 60_000_000_000,
        "StartInterval": 500_000_000,
        "Retries": 4,
    }


def test_bind_and_tmpfs_mounts_are_there_for_their_step_only(engine: NativeEngine) -> None:
    file = (
        "FROM busybox:test\n"
        "RUN --mount=target=/ctx,source=src --mount=type=tmpfs,target=/t,size=1m "
        "cp /ctx/f /got && echo x > /t/x && ! touch /ctx/new\n"
        "RUN test ! -e /ctx && test ! -e /t\n"
    )
    built(engine, {"Dockerfile": file, "src/f": "from the context"}, t="mounted")
    assert shell(engine, "mounted", "cat /got") == "from the context"


def test_a_step_sees_files_of_a_stage_and_may_write_to_a_copy(engine: NativeEngine) -> None:
    file = """FROM busybox:test AS tools
        RUN mkdir /t && echo from the stage > /t/f && chown 5 /t/f
        FROM busybox:test
        WORKDIR /w
        RUN --mount=from=tools,source=/t,target=t --mount=from=tools,source=/t/f,target=/one \\
            cat t/f /one > /seen && stat -c %u t/f >> /seen && ! touch t/x
        RUN --mount=target=/ctx,rw echo written >> /ctx/f && cat /ctx/f >> /seen
        COPY f /f
    """
    built(engine, {"Dockerfile": file, "f": "context\n"}, t="from-stage")
    seen = shell(engine, "from-stage", "cat /seen /f; ls /w")
    assert seen == "from the stage\nfrom the stage\n5\ncontext\nwritten\ncontext\n"
    changed = built(engine, {"Dockerfile": file, "f": "changed\n"}, t="from-stage")
    # What a bind mount shows counts: the step that saw the file runs again, those before do not.
    assert changed.text.count("Running in") == 1
    assert shell(engine, "from-stage", "cat /seen").endswith("5\nchanged\nwritten\n")


# files


def test_what_the_runtime_mounts_is_in_no_layer(engine: NativeEngine) -> None:
    file = 'FROM scratch\nCOPY --chmod=755 busybox /\nRUN ["/busybox", "mkdir", "/made"]\n'
    built(engine, {"Dockerfile": file, "busybox": busybox_file()}, t="bare")
    assert sorted(tree(saved(engine, "bare"))) == ["busybox", "made"]


def test_the_layers_of_a_built_image_save_and_load(engine: NativeEngine) -> None:
    file = (
        "FROM busybox:test\n"
        "RUN mkdir -p /d/e && dd if=/dev/zero of=/d/big bs=100000 count=11 2>/dev/null && ln /d/big /d/link "
        "&& rm -r /home && mkdir /home && touch /home/x && rm /etc/group && chmod 2755 /d/e\n"
    )
    built(engine, {"Dockerfile": file}, t="saved")
    archive = saved(engine, "saved")
    before, ids = tree(archive, times=True), layers(engine, "saved")
    engine.call("DELETE", "/images/saved")
    assert engine.call("POST", "/images/load", archive).status == 200
    assert tree(saved(engine, "saved"), times=True) == before
    assert layers(engine, "saved") == ids
    assert "etc/group" not in before
    assert before["d/link"] == before["d/big"]


def test_chmod_parents_and_excludes(engine: NativeEngine) -> None:
    file = """FROM scratch
        COPY --chmod=0604 a/f /one/
        COPY --parents a/b/g ./a/./b/h /two/
        COPY --exclude=*.o --exclude=sub/* a/c /three/
    """
    files = {"a/": "", "a/f": "f", "a/b/": "", "a/b/g": "g", "a/b/h": "h", "a/c/": "", "a/c/x.o": "",
             "a/c/y": "y", "a/c/sub/": "", "a/c/sub/z": "z"}  # fmt: skip
    built(engine, {"Dockerfile": file, **files}, t="flags")
    found = tree(saved(engine, "flags"))
    assert found["one/f"][1] == "0o604"
    assert {"two/a/b/g", "two/b/h"} <= set(found)
    assert [path for path in found if path.startswith("three/")] == ["three/sub", "three/y"]


def test_add_unpacks_archives_and_copy_does_not(engine: NativeEngine) -> None:
    inner = context({"in/f": "x"})
    files = {"a.tar": inner, "a.tgz": gzip.compress(inner, mtime=0), "plain": "not an archive"}
    file = "FROM scratch\nADD a.tar a.tgz plain /add/\nCOPY a.tar /copy/\nADD --unpack=false a.tgz /raw/\n"
    built(engine, {"Dockerfile": file, **files}, t="archives")
    found = set(tree(saved(engine, "archives")))
    assert {"add/in/f", "add/plain", "copy/a.tar", "raw/a.tgz"} <= found
    assert "add/a.tar" not in found


@pytest.fixture
def server() -> Iterator[str]:
    """Serves /f (with a time) and /a.tgz; anything else is not there."""
    files = {"/f": b"downloaded", "/a.tgz": gzip.compress(context({"in": "x"}), mtime=0)}
    with served(files) as url:
        yield url


def test_add_downloads_and_checks(engine: NativeEngine, server: str) -> None:
    checksum = f"sha256:{hashlib.sha256(b'downloaded').hexdigest()}"
    file = (
        f"FROM scratch\nADD --checksum={checksum} {server}/f /d/\n"
        f"ADD --chmod=644 {server}/f {server}/a.tgz /e/\n"
    )
    built(engine, {"Dockerfile": file}, t="downloads")
    found = tree(saved(engine, "downloads"), times=True)
    assert found["d/f"][1] == "0o600"
    assert found["d/f"][-1] == 1_700_000_000
    # A download is not unpacked.
    assert {"e/f", "e/a.tgz"} <= set(found)
    assert "Using cache" in built(engine, {"Dockerfile": file}).text
    wrong = build(engine, {"Dockerfile": file.replace(checksum, "sha256:" + "0" * 64)})
    assert f"has digest {checksum}, expected sha256:0000" in wrong.error["message"]
    missing = build(engine, {"Dockerfile": f"FROM scratch\nADD {server}/nope /\n"})
    assert "the server answers 404" in missing.error["message"]


def test_the_dockerfile_and_the_ignore_file_can_be_kept_out(engine: NativeEngine) -> None:
    ignored = "Dockerfile\n.dockerignore\n"
    files = {"Dockerfile": "FROM scratch\nCOPY . /\n", ".dockerignore": ignored, "f": ""}
    built(engine, files, t="ignored")
    assert list(tree(saved(engine, "ignored"))) == ["f"]


def test_an_archive_without_its_end_is_read(engine: NativeEngine) -> None:
    """docker's own client sends such a one with `-f -`: no padding, no end mark."""
    data = context({"Dockerfile": "FROM scratch\nCOPY . /\n", "z": "last"})
    end = data.rindex(b"last") + len(b"last")
    built(engine, data[:end], t="cut")
    assert "z" in tree(saved(engine, "cut"))


# the request


def test_labels_and_tags_of_the_request(engine: NativeEngine) -> None:
    built(
        engine,
        {"Dockerfile": "FROM busybox:test\nLABEL a=file b=file\n"},
        labels=json.dumps({"b": "it's $HOME", "c": ""}),
        t=["tagged:1", "tagged:2"],
    )
    one, two = (engine.call("GET", f"/images/tagged:{number}/json").json for number in (1, 2))
    assert one["Id"] == two["Id"]
    assert one["Config"]["Labels"] == {"a": "file", "b": "it's $HOME", "c": ""}


def test_quiet_says_the_id_only(engine: NativeEngine) -> None:
    found = built(engine, {"Dockerfile": "FROM busybox:test\nRUN echo loud\n"}, q="1")
    assert found.text.strip() in {each["Id"] for each in engine.call("GET", "/images/json", all="1").json}
    assert len(found.lines) == 1


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"version": "2"}, "BuildKit"),
        ({"outputs": "[{}]"}, "outputs"),
    ],
)
def test_what_is_not_available_is_refused_by_name(
    engine: NativeEngine, query: dict[str, str], reason: str
) -> None:
    found = build(engine, {"Dockerfile": "FROM busybox:test\n"}, **query)
    assert found.status == 501
    assert reason in found.text


def test_parameters_are_checked_and_nothing_is_taken_for_nothing(engine: NativeEngine) -> None:
    data = {"Dockerfile": "FROM busybox:test\n"}
    assert build(engine, data, buildargs="{").status == 400
    assert build(engine, data, labels='{"a": null}').status == 400
    # What the docker command sends when there is nothing to say.
    built(engine, data, cachefrom="[]", ulimits="null", labels="{}", buildargs="{}")


def test_the_platform_of_the_base_is_checked(engine: NativeEngine) -> None:
    found = build(engine, {"Dockerfile": "FROM --platform=linux/s390x busybox:test\nRUN true\n"})
    assert "not linux/s390x" in found.error["message"]
    file = "FROM scratch\nARG TARGETARCH BUILDPLATFORM\nLABEL t=$TARGETARCH b=$BUILDPLATFORM\n"
    built(engine, {"Dockerfile": file}, platform="linux/arm64", t="other")
    document = config(saved(engine, "other"))
    assert document["architecture"] == "arm64"
    assert document["config"]["Labels"]["t"] == "arm64"


def test_limits_hold_in_run(engine: NativeEngine) -> None:
    file = (
        "FROM busybox:test\n"
        "RUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true\n"
    )
    assert "67108864" in built(engine, {"Dockerfile": file}, memory=str(64 * 1024**2), nocache="1").text


def test_owners_in_a_layer_are_those_from_inside(engine: NativeEngine) -> None:
    file = """FROM busybox:test
        COPY f /f
        RUN mkdir /d && touch /d/g && chown 5:6 /f /d/g && chmod 4755 /d/g && ln -s x /l && test -w /d
        RUN test $(stat -c %u /f) = 5 && test $(stat -c %u /d) = 0
        USER user
        RUN touch /tmp/mine
    """
    built(engine, {"Dockerfile": file, "f": "f"}, t="inside", networkmode="none")
    found = tree(saved(engine, "inside"))
    assert {path: found[path][1:4] for path in ("f", "d", "d/g", "tmp/mine")} == {
        "f": ("0o644", 5, 6),
        "d": ("0o755", 0, 0),
        "d/g": ("0o4755", 5, 6),
        "tmp/mine": ("0o644", 1000, 1000),
    }
    assert max(row[2] for row in found.values()) <= 1000
    assert "etc/hosts" not in found


def test_builds_work_on_whole_copies_too(fresh_engine: NativeEngine) -> None:
    fresh_engine.stop()
    fresh_engine.data_root = fresh_engine.folder / "copies"
    fresh_engine.start("--storage-driver", "vfs")
    fresh_engine.import_busybox()
    file = """FROM busybox:test
        RUN mkdir -p /a/b && echo 1 > /a/b/f && rm -r /home && rm /etc/group && touch /etc/new
        RUN rm /a/b/f && mkdir /a/b/f && touch /a/b/f/g
        COPY f /a/
    """
    built(fresh_engine, {"Dockerfile": file, "f": "f"}, t="copies")
    found = set(tree(saved(fresh_engine, "copies")))
    assert {"a/b/f/g", "a/f", "etc/new"} <= found
    assert not {"home", "etc/group", "etc/hosts"} & found
    assert len(layers(fresh_engine, "copies")) == 4
