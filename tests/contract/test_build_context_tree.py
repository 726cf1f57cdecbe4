"""A context's list and its files say the same: which sources a pattern means, and their digest."""

import os
from pathlib import Path

import pytest

from wherry.engine.buildcontext import whole
from wherry.engine.contextlist import entry_of, tell
from wherry.engine.statcache import Last
from wherryd.builder.contexts.tree import ContextTree, Unclear
from wherryd.builder.copying import digest
from wherryd.builder.copying.errors import CopyError
from wherryd.sys import paths
from wherrywire.contextsync import Entry, Kind

NONE: frozenset[str] = frozenset()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("context")
    for name, data in {
        "a": b"a",
        "b.txt": b"",
        "src/one.c": b"1",
        "src/two.c": b"2",
        "src/deep/er/three.c": b"3" * 5000,
        'src/deep/er/\u00fc "quoted"\n': b"4",
        "src-old/one.c": b"1",
        "src/x[y]": b"5",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / os.fsdecode(b"src/no\xff")).write_bytes(b"6")
    (root / "src" / "empty").mkdir(mode=0o700)
    (root / "src" / "one.c").chmod(0o755)
    (root / "src" / "again.c").hardlink_to(root / "src" / "one.c")
    (root / "src" / "link").symlink_to("one.c")
    (root / "out").symlink_to("src/deep")
    os.mkfifo(root / "src" / "pipe", 0o640)
    root.chmod(0o755)
    return root


@pytest.fixture(scope="module")
def tree(folder: Path) -> ContextTree:
    return ContextTree(map(entry_of, tell(whole(folder), Last()).lines))


def of_files(folder: Path, patterns: tuple[str, ...], excludes: tuple[str, ...], parents: bool) -> object:
    root = paths.open_root(str(folder))
    try:
        return digest.of_sources(root, patterns, excludes, parents=parents)
    except CopyError as exc:
        return str(exc)
    finally:
        os.close(root)


def of_list(tree: ContextTree, patterns: tuple[str, ...], excludes: tuple[str, ...], parents: bool) -> object:
    try:
        return tree.digest(patterns, excludes, NONE, parents=parents)
    except CopyError as exc:
        return str(exc)


@pytest.mark.parametrize("parents", [False, True])
@pytest.mark.parametrize("excludes", [(), ("*.c",), ("deep", "!deep/er/three.c"), ("src",)])
@pytest.mark.parametrize(
    "patterns",
    [
        ("a",),
        ("/",),
        (".",),
        ("./src/", "a"),
        ("src/*.c",),
        ("s*/o?e.c",),
        ("src/[ao]*.c", "b.txt"),
        ("src/deep/../one.c",),
        ("src/deep/**/three.c",),
        ("src*/../src/deep/*/t*",),
        ("src/./deep/er",),
        ("src/x\\[y\\]",),
        ("src/pipe",),
        ("src/again.c",),
        ("src/n*",),
        ("missing",),
        ("a/below",),
        ("src/d*/missing",),
        ("../a",),
        ("src/[",),
    ],
)
def test_a_list_means_what_the_files_do(
    folder: Path, tree: ContextTree, patterns: tuple[str, ...], excludes: tuple[str, ...], parents: bool
) -> None:
    assert of_list(tree, patterns, excludes, parents) == of_files(folder, patterns, excludes, parents)


@pytest.mark.parametrize(
    "pattern", ["out", "out/er", "src/link", "src/l*", "o*/er/three.c", "out/missing", "src/*/x"]
)
def test_links_are_not_followed_in_a_list(tree: ContextTree, pattern: str) -> None:
    with pytest.raises(Unclear):
        tree.digest((pattern,), (), NONE, parents=False)


def test_what_is_hidden_is_not_there(folder: Path, tree: ContextTree) -> None:
    hidden = frozenset({"a", "src/one.c"})
    with pytest.raises(CopyError, match="stat a: file does not exist"):
        tree.digest(("a",), (), hidden, parents=False)
    shown = tree.digest(("src/*.c",), (), hidden, parents=False)
    assert shown == of_files(folder, ("src/again.c", "src/two.c"), (), parents=False)


def test_a_digest_is_taken_over_only_where_nothing_changed() -> None:
    def file(path: str, digit: str) -> Entry:
        value = "sha256:" + digit * 64
        return Entry(kind=Kind.FILE, path=path, mode=0o644, mtime_ns=0, size=1, value=value)

    before = ContextTree([file("a/x", "1"), file("b", "1")])
    after = ContextTree([file("a/x", "1"), file("b", "2")])
    asked = [(("a",), ()), (("b",), ()), (("a/../b",), ()), (("*",), ()), (("/",), ("a",))]
    known = [before.digest(*each, NONE, parents=False) for each in asked]
    after.inherit(before, ["b"])
    found = [after.digest(*each, NONE, parents=False) for each in asked]
    assert [one == other for one, other in zip(known, found, strict=True)] == [True] + [False] * 4
