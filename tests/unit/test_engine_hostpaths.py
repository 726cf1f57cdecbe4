r"""`C:\x`, `/c/x`, UNC and relative paths in -v and --mount: both platforms' rules, tried on each."""

import ntpath
from pathlib import PurePosixPath, PureWindowsPath

import pytest

from wherry.engine.parse import hostpaths, mounts
from wherry.engine.parse.hostpaths import DRIVE_PREFIX, guest_path, is_path, local_path
from wherry.errors import UsageProblem

CWD = PureWindowsPath("C:\\Users\\me")


@pytest.mark.parametrize(
    ("source", "guest"),
    [
        ("C:\\Users\\me\\data", "/c/Users/me/data"),
        ("c:/Users/me/data", "/c/Users/me/data"),
        ("D:\\", "/d"),
        ("C:\\a\\..\\b", "/c/b"),
        ("\\\\?\\C:\\very\\long", "/c/very/long"),
        ("//?/C:/very/long", "/c/very/long"),
        ("/c/Users/me", "/c/Users/me"),
        (".", "/c/Users/me"),
        (".\\data", "/c/Users/me/data"),
        ("./data", "/c/Users/me/data"),
        ("..\\you", "/c/Users/you"),
        ("data\\sub", "/c/Users/me/data/sub"),
        ("\\data", "/c/data"),
        ("C:\\with blank\\ünï", "/c/with blank/ünï"),
    ],
)
def test_paths_of_windows(source: str, guest: str) -> None:
    assert guest_path(source, CWD, windows=True) == guest


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("\\\\server\\share\\x", "network share"),
        ("//server/share/x", "network share"),
        ("\\\\?\\UNC\\server\\share", "network share"),
        ("\\\\wsl$\\Debian\\home", "network share"),
        ("\\\\.\\pipe\\docker_engine", "named pipe"),
        ("//./pipe/docker_engine", "named pipe"),
    ],
)
def test_what_a_linux_container_cannot_have(source: str, words: str) -> None:
    with pytest.raises(UsageProblem, match=words):
        guest_path(source, CWD, windows=True)


def test_relative_to_a_share_is_refused() -> None:
    with pytest.raises(UsageProblem, match="go to a folder on a drive"):
        guest_path(".\\x", PureWindowsPath("\\\\server\\share\\dir"), windows=True)


@pytest.mark.parametrize(
    ("source", "guest"),
    [
        ("/srv/x", "/srv/x"),
        ("/srv/../x", "/srv/../x"),
        ("./x", "/home/me/x"),
        ("../you", "/home/you"),
        (".", "/home/me"),
        ("/c/x", "/c/x"),
    ],
)
def test_paths_elsewhere(source: str, guest: str) -> None:
    assert guest_path(source, PurePosixPath("/home/me"), windows=False) == guest


@pytest.mark.parametrize(
    ("source", "windows", "path"),
    [
        ("data", True, False), ("data", False, False), ("data\\x", True, True), ("a\\b", False, False),
        ("C:\\x", True, True), ("./x", False, True), ("/x", False, True), (".hidden", True, True),
    ],
)  # fmt: skip
def test_a_name_is_a_volume_and_a_path_is_not(source: str, windows: bool, path: bool) -> None:
    assert is_path(source, windows=windows) is path


@pytest.mark.parametrize(
    ("text", "windows", "local"),
    [
        ("/c/Users/me", True, "C:\\Users\\me"), ("/c", True, "C:\\"), ("/c/", True, "C:\\"),
        ("/cd/x", True, "/cd/x"), ("/c/x", False, "/c/x"), ("C:\\x", True, "C:\\x"), ("x", True, "x"),
    ],
)  # fmt: skip
def test_git_bashs_paths_are_understood_by_cp(text: str, windows: bool, local: str) -> None:
    assert local_path(text, windows=windows) == local


def test_drives_do_not_split_a_volume() -> None:
    for spec, prefix in (("C:\\x:/data:ro", "C:"), ("\\\\?\\C:\\x:/data", "\\\\?\\C:"), ("c:/x:/d", "c:")):
        found = DRIVE_PREFIX.match(spec)
        assert found is not None
        assert found[0] == prefix
    assert DRIVE_PREFIX.match("v:name") is None


@pytest.mark.parametrize(
    ("spec", "bind"),
    [
        ("C:\\x:/data", "/c/x:/data"),
        ("C:\\x:/data:ro", "/c/x:/data:ro"),
        ("\\\\?\\C:\\x:/data", "/c/x:/data"),
        (".\\x:/data", "/c/Users/me/x:/data"),
        ("named:/data", "named:/data"),
        ("/c/x:/data", "/c/x:/data"),
    ],
)
def test_volumes_on_windows(spec: str, bind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on_windows(monkeypatch)
    assert mounts.volumes([spec], CWD) == ([bind], {})  # type: ignore[arg-type]  # a path of Windows


def test_mounts_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    on_windows(monkeypatch)
    made = mounts.mount("type=bind,source=C:\\Users\\me,target=/data", CWD)  # type: ignore[arg-type]
    assert made["Source"] == "/c/Users/me"
    named = mounts.mount("type=volume,source=data,target=/data", CWD)  # type: ignore[arg-type]
    assert named["Source"] == "data"


@pytest.mark.parametrize(
    "spec", ["C:\\x;C:\\Program Files\\Git\\data", "data:C:/Program Files/Git/data", "C:\\x;C:\\Git\\d:ro"]
)
def test_what_git_bash_rewrites_is_told(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on_windows(monkeypatch)
    with pytest.raises(UsageProblem, match="MSYS_NO_PATHCONV"):
        mounts.volumes([spec], CWD)  # type: ignore[arg-type]


def on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults of Windows, without its calls."""
    for function in (hostpaths.is_path, hostpaths.guest_path, hostpaths.check_rewritten):
        monkeypatch.setitem(function.__kwdefaults__, "windows", True)
    assert ntpath.splitdrive("C:\\x")[0] == "C:"
