r"""Where copies go, what is packed, and what an archive may do to the user's files.

Windows' rules are tried on every platform; its console and file calls only there.
"""

import io
import ntpath
import os
import stat
import sys
import tarfile
from pathlib import Path

import pytest

from wherry.engine.copying import local, places
from wherry.engine.copying.pack import pack
from wherry.engine.copying.places import Argument, Place, Target, argument, renamed
from wherry.engine.copying.unpack import Result, unpack
from wherry.engine.copying.windows_names import problem
from wherry.errors import EngineProblem, UsageProblem

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and permissions of POSIX")


@pytest.mark.parametrize(
    ("text", "windows", "parsed"),
    [
        ("db:/etc/hosts", False, Argument("db", "/etc/hosts")),
        ("db:etc", False, Argument("db", "etc")),
        ("/abs:x", False, Argument("", "/abs:x")),
        ("./a:b", False, Argument("", "./a:b")),
        (".a:b", False, Argument("", ".a:b")),
        ("plain", False, Argument("", "plain")),
        ("-", False, Argument("", "-")),
        ("C:\\Users\\me", False, Argument("C", "\\Users\\me")),
        ("C:\\Users\\me", True, Argument("", "C:\\Users\\me")),
        ("c:/Users/me", True, Argument("", "c:/Users/me")),
        ("C:file", True, Argument("", "C:file")),
        ("\\\\server\\share\\x", True, Argument("", "\\\\server\\share\\x")),
        ("//server/share/x", True, Argument("", "//server/share/x")),
        ("\\\\?\\C:\\long", True, Argument("", "\\\\?\\C:\\long")),
        ("\\x", True, Argument("", "\\x")),
        ("/c/x", True, Argument("", "/c/x")),
        ("db:/etc", True, Argument("db", "/etc")),
        ("db:C:\\x", True, Argument("db", "C:\\x")),
    ],
)
def test_arguments_are_split_as_the_platform_has_paths(text: str, windows: bool, parsed: Argument) -> None:
    assert argument(text, windows=windows) == parsed


FOLDER, FILE = (
    Target(path="/t/x", exists=True, is_folder=True),
    Target(path="/t/x", exists=True, is_folder=False),
)
NOTHING = Target(path="/t/x", exists=False, is_folder=False)


@pytest.mark.parametrize(
    ("base", "is_folder", "target", "place"),
    [
        ("src", True, FOLDER, Place("/t/x", "src")),
        ("src", False, FOLDER, Place("/t/x", "src")),
        (".", True, FOLDER, Place("/t/x", ".")),
        ("src", False, FILE, Place("/t", "x")),
        ("src", False, NOTHING, Place("/t", "x")),
        ("src", True, NOTHING, Place("/t", "x")),
        (".", True, NOTHING, Place("/t", "x")),
    ],
)
def test_places(base: str, is_folder: bool, target: Target, place: Place) -> None:
    assert places.place(base, is_folder, target) == place


def test_places_on_windows() -> None:
    target = Target(path="C:\\t\\x", exists=False, is_folder=False)
    assert places.place("src", False, target, ntpath) == Place("C:\\t", "x")
    asserted = Target(path="C:\\t\\x\\", exists=False, is_folder=False)
    with pytest.raises(UsageProblem, match="no such directory"):
        places.place("src", False, asserted, ntpath)
    assert places.base("C:\\a\\.", ntpath) == "."
    assert places.base("C:\\a\\", ntpath) == "a"
    assert places.base("C:\\", ntpath) == "."
    assert places.base("\\\\server\\share\\a", ntpath) == "a"


def test_a_folder_never_replaces_a_file_and_a_file_makes_no_folder() -> None:
    with pytest.raises(UsageProblem, match="cannot copy directory"):
        places.place("src", True, FILE)
    with pytest.raises(UsageProblem, match="no such directory"):
        places.place("src", False, Target(path="/t/x/", exists=False, is_folder=False))


@pytest.mark.parametrize(
    ("name", "root", "new", "becomes"),
    [
        ("etc/hosts", "etc", "x", "x/hosts"),
        ("etc/", "etc", "x", "x"),
        ("./a/b", ".", "x", "x/a/b"),
        ("./", ".", ".", "."),
        ("a/b", ".", ".", "a/b"),
        ("etc/../../up", "etc", "x", None),
        ("../up", ".", "x", None),
        ("etcetera", "etc", "x", None),
        ("/etc/hosts", "etc", "x", "x/hosts"),
        ("etc/a/../b", "etc", "etc", "etc/b"),
    ],
)
def test_names_in_an_archive_move_with_their_root(
    name: str, root: str, new: str, becomes: str | None
) -> None:
    assert renamed(name, root, new) == becomes


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a/b.txt", True),
        ("a:b", False),
        ("a\\b", False),
        ("con", False),
        ("NUL.txt", False),
        ("com1", False),
        ("com10", True),
        ("console", True),
        ("dot.", False),
        ("blank ", False),
        ("tab\t", False),
        ("sub/aux/x", False),
        (".", True),
    ],
)
def test_names_that_windows_cannot_have(name: str, good: bool) -> None:
    assert (problem(name) == "") is good


def archive(*entries: tuple[str, bytes | None, dict[str, object]]) -> io.BytesIO:
    """name, contents (None: by the fields alone), fields of TarInfo."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, data, fields in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            info.size = len(data or b"")
            for key, value in fields.items():
                setattr(info, key, value)
            made.addfile(info, io.BytesIO(data or b""))
    buffer.seek(0)
    return buffer


def link(name: str, to: str) -> tuple[str, None, dict[str, object]]:
    return name, None, {"type": tarfile.SYMTYPE, "linkname": to}


def folder(name: str, mode: int = 0o755) -> tuple[str, None, dict[str, object]]:
    return name, None, {"type": tarfile.DIRTYPE, "mode": mode}


def into(target: Path, stream: io.BytesIO) -> Result:
    return unpack(stream, target, lambda name: renamed(name, ".", "."), owners=False)


@posix_only
def test_links_from_the_archive_are_made_and_never_followed(tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    into(target, archive(link("l", "/etc"), link("rel", "../outside")))
    assert str((target / "l").readlink()) == "/etc"
    for stream in (
        archive(link("escape", str(outside)), ("escape/x", b"evil", {})),
        archive(link("one", "."), link("one/two", ".."), ("one/two/outside/x", b"evil", {})),
        archive(("rel/x", b"evil", {})),
    ):
        with pytest.raises(UsageProblem, match="cannot write"):
            into(target, stream)
    assert list(outside.iterdir()) == []


@posix_only
def test_hard_links_reach_nothing_outside(tmp_path: Path) -> None:
    secret, target = tmp_path / "secret", tmp_path / "target"
    secret.write_text("mine")
    target.mkdir()
    for to in ("../secret", str(secret)):
        hard = ("h", None, {"type": tarfile.LNKTYPE, "linkname": to})
        with pytest.raises((EngineProblem, UsageProblem)):
            into(target, archive(hard))
    through = ("t", None, {"type": tarfile.LNKTYPE, "linkname": "s"})
    into(target, archive(link("s", str(secret)), through))
    assert (target / "t").is_symlink()  # the link itself, not what it leads to
    assert secret.stat().st_nlink == 1


def test_names_that_climb_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineProblem, match=r'names "\.\./x"'):
        into(tmp_path, archive(("../x", b"evil", {})))


@posix_only
def test_files_keep_mode_and_time_but_not_setuid(tmp_path: Path) -> None:
    into(tmp_path, archive(folder("d", 0o750), ("d/f", b"abc", {"mode": 0o4755, "mtime": 1_000_000})))
    status = (tmp_path / "d/f").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o755, 1_000_000)
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o750


@posix_only
def test_a_read_only_folder_gets_its_files(tmp_path: Path) -> None:
    into(tmp_path, archive(folder("d", 0o555), ("d/f", b"abc", {})))
    assert (tmp_path / "d/f").read_bytes() == b"abc"
    (tmp_path / "d").chmod(0o755)


def test_folders_and_files_do_not_replace_each_other(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(UsageProblem, match="cannot overwrite directory"):
        into(tmp_path, archive(("x", b"file", {})))
    (tmp_path / "y").write_text("file")
    with pytest.raises(UsageProblem, match="cannot overwrite non-directory"):
        into(tmp_path, archive(folder("y")))


@posix_only
def test_a_file_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("old")
    target = tmp_path / "target"
    target.mkdir()
    (target / "f").symlink_to(precious)
    into(target, archive(("f", b"new", {})))
    assert (precious.read_text(), (target / "f").read_text()) == ("old", "new")


def test_a_cut_archive_is_an_error(tmp_path: Path) -> None:
    whole = archive(("f", b"x" * 5000, {})).getvalue()
    with pytest.raises(EngineProblem, match="cannot be read"):
        into(tmp_path, io.BytesIO(whole[:3000]))


@posix_only
def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub/f").write_bytes(b"x" * 300_000)
    (source / "sub/f").chmod(0o640)
    (source / "hard").hardlink_to(source / "sub/f")
    (source / "soft").symlink_to("sub/f")
    os.mkfifo(source / "pipe")
    (source / ("n" * 150)).write_text("long")
    target = tmp_path / "target"
    target.mkdir()
    stream = io.BytesIO(b"".join(pack(source, "copy", owners=False)))
    unpack(stream, target, lambda name: renamed(name, "copy", "new"), owners=False)
    new = target / "new"
    assert sorted(path.name for path in new.iterdir()) == sorted(path.name for path in source.iterdir())
    assert (new / "sub/f").read_bytes() == b"x" * 300_000
    assert stat.S_IMODE((new / "sub/f").stat().st_mode) == 0o640
    assert (new / "hard").samefile(new / "sub/f")
    assert str((new / "soft").readlink()) == "sub/f"
    assert (new / "pipe").is_fifo()


@posix_only
def test_local_paths_are_looked_at_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("dir")
    assert local.source(f"{tmp_path}/link", follow=False).is_folder is False
    assert local.source(f"{tmp_path}/link/", follow=False).is_folder is True
    assert local.source(f"{tmp_path}/link", follow=True).name == "link"
    assert local.source(f"{tmp_path}/dir/.", follow=False).name == "."
    with pytest.raises(UsageProblem, match="not a directory"):
        local.source(f"{tmp_path}/file/", follow=False)
    with pytest.raises(UsageProblem, match="no such file"):
        local.source(f"{tmp_path}/nope", follow=False)
    with pytest.raises(UsageProblem, match='directory ".*no" does not exist'):
        local.target(f"{tmp_path}/no/such")
    assert local.target(f"{tmp_path}/link").is_folder is True
