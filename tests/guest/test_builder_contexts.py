"""Contexts told by their contents: only what is needed and missing is sent, and the result is the same."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from builder_rig import MTIME, build, built, saved, tree
from native_engine import NativeEngine

from wherrywire.contextsync import Entry, Kind, difference, digest_of, needs_digest

pytestmark = pytest.mark.root


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def entry(path: str, data: bytes = b"", **fields: Any) -> Entry:
    given = {
        "kind": Kind.FILE,
        "mode": 0o644,
        "mtime_ns": MTIME * 10**9,
        "size": len(data),
        "value": digest(data),
    }
    return Entry(path=path, **{**given, **fields})


def announce(engine: NativeEngine, entries: list[Entry] | bytes) -> Any:
    data = entries if isinstance(entries, bytes) else b"".join(each.line() for each in entries)
    return engine.call("POST", "/build/contexts", data)


def announced(engine: NativeEngine, files: Mapping[str, bytes]) -> dict[str, Any]:
    answer = announce(engine, [entry(name, data) for name, data in files.items()])
    assert answer.status == 201, answer.text
    return dict(answer.json)


def wherry(engine: NativeEngine, folder: Path, *arguments: str) -> str:
    """What our own client prints; its cache is in the folder's own parent."""
    done = subprocess.run(
        [sys.executable, "-c", "from wherry.cli.main import main; main()", "build", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "WHERRY_HOST": f"unix://{engine.socket}",
            "WHERRY_HOME": str(folder.parent / "home"),
        },
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sent(output: str) -> str:
    return output.splitlines()[0].removeprefix("Sending build context to Docker daemon  ")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "src" / "deep").mkdir(parents=True)
    (root / "src" / "main").write_bytes(os.urandom(100_000))
    (root / "src" / "deep" / "empty").touch(0o600)
    (root / "src" / "again").write_bytes((root / "src" / "main").read_bytes())
    (root / "src" / "run").symlink_to("main")
    (root / "src" / "twin").hardlink_to(root / "src" / "main")
    (root / "other").write_bytes(bytes(500_000))
    (root / "src" / "main").chmod(0o750)
    (root / "Dockerfile").write_text("FROM busybox:test\nCOPY src /src\nRUN cat /src/run > /copy\n")
    for path in (*root.rglob("*"), root):
        os.utime(path, (MTIME, MTIME), follow_symlinks=False)
    return root


def test_the_same_image_comes_of_it_as_of_an_archive(engine: NativeEngine, folder: Path) -> None:
    wherry(engine, folder, "-t", "ctx:synced", ".")
    archive = subprocess.run(
        ["tar", "-c", "--owner=0", "--group=0", "."], cwd=folder, check=True, capture_output=True
    )
    found = build(engine, archive.stdout, t="ctx:archive")
    # Every step is found in the cache: the engine's digests of both contexts agree.
    assert found.text.count("Using cache") == 2, found.text
    built(engine, archive.stdout, t="ctx:archive", nocache="1")
    ours, theirs = (tree(saved(engine, name), times=True) for name in ("ctx:synced", "ctx:archive"))
    assert {k: v for k, v in ours.items() if k.startswith("src")} == {
        k: v for k, v in theirs.items() if k.startswith("src")
    }
    assert ours["src/main"][4] == ours["copy"][4]


def test_only_what_is_needed_and_missing_is_sent(engine: NativeEngine, folder: Path) -> None:
    first = wherry(engine, folder, ".")
    assert sent(first) in ("100kB of 200.1kB", "100.1kB of 200.1kB")  # another test has sent the Dockerfile
    again = wherry(engine, folder, ".")
    assert sent(again).startswith("0B of ")
    assert again.count("Using cache") == 2
    (folder / "src" / "again").write_text("one line")
    changed = wherry(engine, folder, ".")
    assert sent(changed).startswith("8B of ")
    assert "Using cache" not in changed


def test_what_is_deleted_at_home_is_gone_from_the_context(engine: NativeEngine, folder: Path) -> None:
    wherry(engine, folder, ".")
    (folder / "src" / "again").unlink()
    wherry(engine, folder, "-t", "ctx:less", ".")
    assert "src/again" not in tree(saved(engine, "ctx:less"))


def test_links_on_the_way_to_a_source_are_followed(engine: NativeEngine, folder: Path) -> None:
    (folder / "app").symlink_to("/src/deep/..")
    (folder / "Dockerfile").write_text("FROM busybox:test\nCOPY app/main /main\nCOPY app/deep /deep\n")
    wherry(engine, folder, "-t", "ctx:links", ".")
    assert {"main", "deep/empty"} <= set(tree(saved(engine, "ctx:links")))


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("FROM scratch\nCOPY a b/c* /d/\nADD https://x.test/y ./e /d/\n", ["a", "b/c*", "e"]),
        ("ARG B=scratch\nFROM $B\nCOPY x$y/z w/$y /d/\n", ["", "w"]),
        ("FROM busybox:test\nRUN --mount=target=/m,source=in --mount=type=cache,target=/c true\n", ["in"]),
        ("FROM busybox:test\nRUN --mount=type=bind,target=/m true\n", [""]),
        ("FROM nobody/knows\nCOPY a /\n", [""]),
        (
            "FROM scratch AS s\nCOPY s /\nFROM scratch AS u\nCOPY u /\nFROM scratch\nCOPY --from=s /s /\n",
            ["s"],
        ),
        ("FROM scratch\nONBUILD COPY later /\nCOPY now /\n", ["later", "now"]),
    ],
)
def test_the_engine_says_what_a_dockerfile_can_need(
    engine: NativeEngine, text: str, paths: list[str]
) -> None:
    answer = engine.call("POST", "/build/contexts/needs", text.encode())
    assert answer.json == {"Paths": paths}


def test_triggers_of_a_base_image_need_their_sources(engine: NativeEngine) -> None:
    built(engine, {"Dockerfile": "FROM busybox:test\nONBUILD ADD theirs /\n"}, t="ctx:base")
    answer = engine.call("POST", "/build/contexts/needs", b"FROM ctx:base\nCOPY mine /\n")
    assert answer.json == {"Paths": ["mine", "theirs"]}


def test_a_context_is_for_one_build(engine: NativeEngine) -> None:
    file = b"FROM scratch\nLABEL once=yes\n"
    made = announced(engine, {"Dockerfile": file})
    engine.call("PUT", f"/build/contexts/{made['Token']}", file)
    assert engine.call("POST", "/build", b"", context=made["Token"]).status == 200
    assert engine.call("POST", "/build", b"", context=made["Token"]).status == 404


def test_contents_are_kept_under_no_other_name(engine: NativeEngine) -> None:
    good, bad = os.urandom(5000), os.urandom(5000)
    made = announced(engine, {"Dockerfile": good})
    for data, problem in (
        (bad, "is not the digest"),
        (good[:-1], "ended early"),
        (good + b"x", "more was sent"),
    ):
        answer = engine.call("PUT", f"/build/contexts/{made['Token']}", data)
        assert answer.status == 400
        assert problem in answer.message
    assert announced(engine, {"f": bad})["Missing"] == [digest(bad)]


def test_a_build_without_all_contents_is_refused(engine: NativeEngine) -> None:
    made = announced(engine, {"Dockerfile": b"FROM scratch\n", "lost": os.urandom(10)})
    answer = engine.call("POST", "/build", b"", context=made["Token"])
    assert answer.status == 400
    assert "not sent" in answer.message


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([entry("../x")], "not a path below it"),
        ([entry("/etc/x")], "not a path below it"),
        ([entry("a/./b")], "not a path below it"),
        ([entry("a\0")], "not a path below it"),
        ([entry("l", kind=Kind.SYMLINK, value="/etc", size=0), entry("l/passwd")], "below a file or link"),
        ([entry("a"), entry("a")], "comes twice"),
        ([entry("a", value="sha256:../../x")], "no digest"),
        ([entry("a", kind=Kind.HARD_LINK, value="../../../etc/shadow")], "second name of no file"),
        ([entry("a", mode=0o100644)], "not an entry"),
        (b'{"a": 1}\n', "not an entry"),
        (b'["f","a"', "cut off"),
        (b"x" * 70_000, "a line of more than"),
    ],
)
def test_a_list_that_leads_out_of_the_context_is_refused(
    engine: NativeEngine, entries: Any, problem: str
) -> None:
    answer = announce(engine, entries)
    assert answer.status == 400
    assert problem in answer.message


def test_an_empty_file_has_no_digest_but_its_own(engine: NativeEngine) -> None:
    file = b"FROM scratch\nCOPY e /e\n"
    lines = [entry("Dockerfile", file), entry("e", value=digest(b"something else"))]
    token = announce(engine, lines).json["Token"]
    engine.call("PUT", f"/build/contexts/{token}", file)
    answer = engine.call("POST", "/build", b"", context=token)
    first = json.loads(answer.text.splitlines()[-2])["aux"]["ID"] if "aux" in answer.text else ""
    assert first
    assert built(engine, {"Dockerfile": file, "e": b""}).image == first


def test_a_step_that_writes_to_its_context_does_not_change_what_is_kept(
    engine: NativeEngine, folder: Path
) -> None:
    (folder / "Dockerfile").write_text(
        "FROM busybox:test\nRUN --mount=type=bind,target=/m,rw echo evil > /m/src/main; cat /m/src/main\n"
        "COPY src/main /main\n"
    )
    wherry(engine, folder, "-t", "ctx:rw", ".")
    data = (folder / "src" / "main").read_bytes()
    assert tree(saved(engine, "ctx:rw"))["main"][4] == hashlib.sha256(data).hexdigest()


def test_a_torn_content_of_an_earlier_boot_is_not_believed(engine: NativeEngine, folder: Path) -> None:
    wherry(engine, folder, ".")
    blobs = engine.data_root / "builder" / "blobs"
    name = hashlib.sha256((folder / "src" / "main").read_bytes()).hexdigest()
    engine.stop()
    (blobs / "boot").write_text("another")
    (blobs / name[:2] / name).write_bytes(bytes(100_000))
    engine.start()
    output = wherry(engine, folder, "--no-cache", "-t", "ctx:torn", ".")
    assert sent(output).startswith("100kB of ")
    assert tree(saved(engine, "ctx:torn"))["src/main"][4] == name


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"short")])
def test_a_content_that_somebody_took_away_is_asked_for_again(
    engine: NativeEngine, folder: Path, harm: Callable[[Path], None]
) -> None:
    """What is there is remembered: the build that finds a content missing fails, and the next one has it."""
    data = os.urandom(5000)
    (folder / "src" / "main").write_bytes(data)
    for _ in range(2):  # the second one finds it there
        wherry(engine, folder, ".")
    name = hashlib.sha256(data).hexdigest()
    harm(engine.data_root / "builder" / "blobs" / name[:2] / name)
    files = {"Dockerfile": b"FROM scratch\nCOPY main /main\n", "main": data}
    made = announced(engine, files)
    if made["Missing"]:
        assert made["Missing"] == [digest(files["Dockerfile"])]
        engine.call("PUT", f"/build/contexts/{made['Token']}", files["Dockerfile"])
    answer = engine.call("POST", "/build", b"", context=made["Token"])
    # Found out by the step that wants the file.
    assert "not sent; build again" in json.loads(answer.text.splitlines()[-1])["error"]
    assert digest(data) in announced(engine, files)["Missing"]


def test_nothing_of_a_build_is_left_but_its_contents(engine: NativeEngine, folder: Path) -> None:
    wherry(engine, folder, ".")
    root = engine.data_root / "builder"
    assert list((root / "blobs" / "incoming").iterdir()) == []
    kept = [path for path in (root / "blobs").glob("??/*") if path.stat().st_size == 100_000]
    assert kept


# one call for a build whose list the engine knows

FILES = {"Dockerfile": b"FROM scratch\nCOPY app /app\nCOPY src /src\n", "app": b"1", "src/main": b"main"}
PATHS = needs_digest(["app", "src"])


def lines_of(files: Mapping[str, bytes]) -> list[bytes]:
    return [entry(name, data).line() for name, data in files.items()]


def known(engine: NativeEngine, files: Mapping[str, bytes]) -> list[bytes]:
    """The lines of a context that the engine has all of."""
    made = announced(engine, files)
    by_digest = {digest(data): data for data in files.values()}
    engine.call("PUT", f"/build/contexts/{made['Token']}", b"".join(map(by_digest.get, made["Missing"])))  # type: ignore[arg-type]
    assert engine.call("POST", "/build", b"", context=made["Token"]).status == 200
    return lines_of(files)


def test_a_list_that_is_known_needs_no_second_telling(engine: NativeEngine) -> None:
    lines = known(engine, FILES)
    for _ in range(2):
        answer = engine.call("POST", "/build", b"", context=digest_of(lines), needs=PATHS)
        assert answer.text.count("Using cache") == 2, answer.text


def test_what_has_changed_goes_with_the_build(engine: NativeEngine) -> None:
    before = known(engine, FILES)
    data = os.urandom(20_000)
    after = lines_of({**FILES, "app": data, "src/new": b"", "src/other": b"other"})
    changes = difference(before, after)
    assert changes is not None
    body = b"".join([*changes, b"\n", data, b"other"])
    query = {"context": digest_of(after), "base": digest_of(before), "needs": PATHS, "t": "ctx:quick"}
    answer = engine.call("POST", "/build", body, **query)
    assert "Successfully tagged ctx:quick" in answer.text
    found = tree(saved(engine, "ctx:quick"))
    assert [found[name][4] for name in ("app", "src/other", "src/new", "src/main")] == [
        hashlib.sha256(each).hexdigest() for each in (data, b"other", b"", b"main")
    ]
    # The next one may build on it.
    assert engine.call("POST", "/build", b"", context=digest_of(after)).text.count("Using cache") == 2


@pytest.mark.parametrize(
    ("status", "why", "harm"),
    [
        (404, "it is not known", {"context": digest(b"no such list")}),
        (404, "it is not known", {"base": digest(b"no such list")}),
        (404, "needs other paths", {"needs": needs_digest(["app"])}),
        (400, "another one than its digest says", {"context": digest(b"no such list")}),
    ],
)
def test_what_is_not_so_builds_nothing(
    engine: NativeEngine, status: int, why: str, harm: dict[str, str]
) -> None:
    before = known(engine, FILES)
    data = os.urandom(10)
    after = lines_of({**FILES, "app": data})
    query = {"context": digest_of(after), "base": digest_of(before), "needs": PATHS}
    if status == 404 and "context" in harm:
        del query["base"]
    changes = difference(before, after)
    assert changes is not None
    answer = engine.call("POST", "/build", b"".join([*changes, b"\n", data]), **{**query, **harm})
    assert (answer.status, why in answer.message) == (status, True), answer.text


@pytest.mark.parametrize(
    ("changes", "content", "message"),
    [
        ([b"=99\n"], b"", "no such change"),
        ([b"=1\n", b"-x\n"], b"", "no such change"),
        ([b"=3\n", b"=1\n"], b"", "no such change"),
        ([b"=3\n", entry("app/below", b"").line()], b"", "below a file"),
        ([b"=3\n", entry("../app", b"").line()], b"", "not a path below"),
        ([b"=3\n", entry("more", b"more").line()], b"less", "not the digest of what was sent"),
        ([b"=3\n", entry("more", b"more").line()], b"mo", "ended early"),
        ([b"=3\n", entry("more", b"more").line()], b"more and more", "more was sent"),
        (None, b"", "cut off"),
    ],
)
def test_changes_that_cannot_be_are_refused(
    engine: NativeEngine, changes: list[bytes] | None, content: bytes, message: str
) -> None:
    before = known(engine, FILES)
    body = b"=3\n" if changes is None else b"".join([*changes, b"\n", content])
    answer = engine.call("POST", "/build", body, context=digest(b"new"), base=digest_of(before))
    assert (answer.status, message in answer.message) == (400, True), answer.text


def test_the_client_tells_all_to_an_engine_that_has_forgotten(engine: NativeEngine, folder: Path) -> None:
    wherry(engine, folder, "-q", ".")
    for number in range(2 * 8):  # more lists than are remembered
        announced(engine, {f"other{number}": b""})
    assert wherry(engine, folder, ".").count("Using cache") == 2


def test_a_trigger_that_came_with_the_base_gets_its_files(engine: NativeEngine, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM ctx:base\nCOPY src /src\n")
    build(engine, {"Dockerfile": b"FROM busybox:test\n"}, t="ctx:base")
    wherry(engine, folder, "-q", ".")
    build(engine, {"Dockerfile": b"FROM busybox:test\nONBUILD COPY other /other\n"}, t="ctx:base")
    wherry(engine, folder, "-q", "-t", "ctx:triggered", ".")
    assert "other" in tree(saved(engine, "ctx:triggered"))


def test_a_dockerfile_from_elsewhere_may_change_nothing(engine: NativeEngine, folder: Path) -> None:
    other = folder.parent / "Other"
    other.write_text("FROM busybox:test\nCOPY src /src\n")
    for count in (0, 1, 1):
        assert wherry(engine, folder, "-f", str(other), ".").count("Using cache") >= count
    other.write_text("FROM busybox:test\nCOPY other /other\n")
    wherry(engine, folder, "-q", "-t", "ctx:elsewhere", "-f", str(other), ".")
    assert "other" in tree(saved(engine, "ctx:elsewhere"))
