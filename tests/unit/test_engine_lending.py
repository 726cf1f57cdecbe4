"""`--secret` and `--ssh`: what they mean, and what is wrong with one that means nothing."""

from pathlib import Path

import pytest

from wherry.engine import lending
from wherry.errors import UsageProblem


def test_secrets_come_from_files_and_variables(tmp_path: Path) -> None:
    file = tmp_path / "s"
    file.write_bytes(b"\x00raw")
    loan = lending.read(
        [f"id=a,src={file}", "id=b,env=B", "type=env,id=C", f"id=d,source={file},type=file"],
        [],
        {"B": "of b", "C": "of c"},
    )
    assert loan.secrets == {"a": b"\x00raw", "b": b"of b", "C": b"of c", "d": b"\x00raw"}


def test_an_id_alone_is_a_variable_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "NAME").write_text("file")
    assert lending.read(["id=NAME"], [], {"NAME": "variable"}).secrets == {"NAME": b"variable"}
    assert lending.read(["id=NAME"], [], {}).secrets == {"NAME": b"file"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("src=x", "an id is needed"),
        ("id=x,src=/nowhere/at/all", "cannot read"),
        ("id=x,env=NOT_SET", "no variable NOT_SET"),
        ("x", "write id=NAME"),
        ("id=x,type=vault", "unsupported type vault"),
    ],
)
def test_a_secret_that_cannot_be_read_is_named(text: str, problem: str) -> None:
    with pytest.raises(UsageProblem, match=problem):
        lending.read([text], [], {})


def test_a_secret_has_a_limit(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(lending.MAX_SECRET_BYTES + 1))
    with pytest.raises(UsageProblem, match="larger than 500 KiB"):
        lending.read([f"id=x,src={tmp_path / 'big'}"], [], {})


def test_agents_are_sockets(tmp_path: Path) -> None:
    assert lending.read([], ["default"], {"SSH_AUTH_SOCK": "/a"}).agents == {"default": "/a"}
    assert lending.read([], ["git=/b"], {}).agents == {"git": "/b"}
    (tmp_path / "key").write_text("a key")
    with pytest.raises(UsageProblem, match="is a key"):
        lending.read([], [f"default={tmp_path / 'key'}"], {})


def test_nothing_lent_is_no_call() -> None:
    assert not lending.read([], [], {})
