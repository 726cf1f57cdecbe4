"""Docker's config file and credential helpers."""

import base64
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from wherry.engine.logins import HUB_KEY, Login, Logins, server_key
from wherry.errors import UsageProblem

HELPER = """#!/bin/sh
# A keychain in a folder; what it is asked goes into a log.
echo "$1" >>"{folder}/asked"
case $1 in
  get)
    name=$(tr -c 'a-z0-9\\n' _)
    if [ -e "{folder}/$name" ]; then cat "{folder}/$name"
    else echo "credentials not found in native keychain"; exit 1; fi ;;
  store) cat >"{folder}/stored"; cp "{folder}/stored" "{folder}/reg_example" ;;
  erase) rm -f "{folder}/reg_example" ;;
esac
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def keychain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder behind the helper "folder", which is on PATH."""
    if sys.platform == "win32":
        pytest.skip("the helper is a shell script")
    folder = tmp_path / "keychain"
    folder.mkdir()
    program = folder / "docker-credential-folder"
    program.write_text(HELPER.format(folder=folder))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def write(file: Path, document: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document if isinstance(document, str) else json.dumps(document))


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("", HUB_KEY),
        ("docker.io", HUB_KEY),
        ("https://index.docker.io/v1/", HUB_KEY),
        ("localhost:5000", "localhost:5000"),
        ("https://reg.example/v2/", "reg.example"),
    ],
)
def test_servers_have_dockers_keys(address: str, key: str) -> None:
    assert server_key(address) == key


def test_without_a_file_nobody_is_logged_in(file: Path) -> None:
    assert Logins(file).get(HUB_KEY) is None
    assert Logins(file).header_for("docker.io") == {}
    assert not Logins(file).erase("reg.example")
    assert not file.exists()


def test_header_is_what_the_engine_reads(file: Path) -> None:
    write(file, {"auths": {"reg.example": {"auth": packed("me:pass:wörd?>~")}}})
    header = Logins(file).header_for("reg.example")["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(header)) == {
        "username": "me",
        "password": "pass:wörd?>~",
        "serveraddress": "reg.example",
    }
    assert Logins(file).header_for("other.example") == {}


def test_entry_with_a_scheme_is_found_too(file: Path) -> None:
    write(file, {"auths": {"https://reg.example/v2/": {"auth": packed("me:p")}}})
    found = Logins(file).get("reg.example")
    assert found is not None
    assert found.username == "me"
    assert Logins(file).erase("reg.example")
    assert json.loads(file.read_text()) == {"auths": {}}


def test_identity_token_goes_in_place_of_the_password(file: Path) -> None:
    logins = Logins(file)
    assert not logins.store(Login(server="reg.example", username="me", identity_token="tok"))
    assert json.loads(file.read_text())["auths"]["reg.example"] == {
        "auth": packed("me:"),
        "identitytoken": "tok",
    }
    found = logins.get("reg.example")
    assert found is not None
    assert found.document() == {"serveraddress": "reg.example", "identitytoken": "tok"}


def test_login_keeps_what_else_is_in_the_file_and_closes_it_to_others(file: Path) -> None:
    write(file, {"currentContext": "wherry", "auths": {"a.example": {"auth": packed("x:y")}}})
    Logins(file).store(Login(server="reg.example", username="me", password="p"))
    document = json.loads(file.read_text())
    assert document["currentContext"] == "wherry"
    assert document["auths"] == {
        "a.example": {"auth": packed("x:y")},
        "reg.example": {"auth": packed("me:p")},
    }
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["config.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_linked_file_stays_a_link(file: Path, tmp_path: Path) -> None:
    write(tmp_path / "real.json", {})
    file.parent.mkdir()
    file.symlink_to(tmp_path / "real.json")
    Logins(file).store(Login(server="reg.example", username="me", password="p"))
    assert file.is_symlink()
    assert "reg.example" in (tmp_path / "real.json").read_text()


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": []}'])
def test_broken_file_is_named(file: Path, text: str) -> None:
    write(file, text)
    if text == '{"auths": []}':
        write(file, '{"auths": ["x"]}')
    with pytest.raises(UsageProblem, match=r"config\.json"):
        Logins(file).get(HUB_KEY)


def test_login_that_cannot_be_read_says_so(file: Path) -> None:
    write(file, {"auths": {"reg.example": {"auth": "%%%"}}})
    with pytest.raises(UsageProblem, match="wherry login"):
        Logins(file).get("reg.example")


def test_helper_keeps_and_gives_the_secret(file: Path, keychain: Path) -> None:
    write(file, {"credsStore": "folder"})
    logins = Logins(file)
    assert logins.get("reg.example") is None
    assert logins.store(Login(server="reg.example", username="me", password="s3cret"))
    assert "s3cret" not in file.read_text()
    assert json.loads((keychain / "stored").read_text()) == {
        "ServerURL": "reg.example",
        "Username": "me",
        "Secret": "s3cret",
    }
    found = logins.get("reg.example")
    assert found == Login(server="reg.example", username="me", password="s3cret")
    assert logins.erase("reg.example")
    assert not logins.erase("reg.example")


def test_helper_of_one_server_wins_and_may_hold_a_token(file: Path, keychain: Path) -> None:
    write(file, {"credsStore": "absent", "credHelpers": {"reg.example": "folder"}})
    answer = {"ServerURL": "reg.example", "Username": "<token>", "Secret": "tok"}
    (keychain / "reg_example").write_text(json.dumps(answer))
    found = Logins(file).get("reg.example")
    assert found == Login(server="reg.example", identity_token="tok")
    with pytest.raises(UsageProblem, match="docker-credential-absent is named .* not installed"):
        Logins(file).get("other.example")


def test_helper_that_fails_is_quoted(file: Path, keychain: Path) -> None:
    write(file, {"credsStore": "folder"})
    (keychain / "docker-credential-folder").write_text("#!/bin/sh\necho the keychain is locked >&2; exit 1\n")
    with pytest.raises(UsageProblem, match="keychain is locked"):
        Logins(file).get("reg.example")


def test_helper_is_a_name_and_no_path(file: Path) -> None:
    write(file, {"credsStore": "../../bin/sh"})
    with pytest.raises(UsageProblem, match="no name of a credential helper"):
        Logins(file).get("reg.example")


def test_secrets_do_not_show() -> None:
    assert "s3cret" not in repr(Login(server="x", username="me", password="s3cret", identity_token="s3cret"))


def test_a_build_gets_every_login_there_is(file: Path, keychain: Path) -> None:
    assert Logins(file).header_for_build() == {}
    file.parent.mkdir(exist_ok=True)
    packed = base64.b64encode(b"me:secret").decode()
    file.write_text(
        json.dumps({
            "auths": {HUB_KEY: {"auth": packed}, "https://reg:5000/v2/": {"auth": packed}, "empty": {}},
            "credHelpers": {"reg.example": "folder"},
        })
    )  # fmt: skip
    (keychain / "reg_example").write_text(
        json.dumps({"ServerURL": "reg.example", "Username": "you", "Secret": "hidden"})
    )
    header = Logins(file).header_for_build()["X-Registry-Config"]
    found = {
        server: each["username"] for server, each in json.loads(base64.urlsafe_b64decode(header)).items()
    }
    assert found == {HUB_KEY: "me", "reg:5000": "me", "reg.example": "you"}
