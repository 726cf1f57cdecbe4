import sqlite3
from pathlib import Path

import pytest

from wherryd.errors import SystemFault
from wherryd.metadata import database
from wherryd.metadata.database import Database


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    db = Database(tmp_path / "wherry.db")
    with pytest.raises(RuntimeError), db.transaction() as cursor:
        cursor.execute("INSERT INTO containers VALUES ('a', 'one', '', '{}')")
        raise RuntimeError
    assert db.query("SELECT * FROM containers") == []
    db.close()


def test_committed_records_are_there_after_reopening(tmp_path: Path) -> None:
    first = Database(tmp_path / "wherry.db")
    with first.transaction() as cursor:
        cursor.execute("INSERT INTO containers VALUES ('a', 'one', '', '{}')")
    first.close()
    first.close()
    second = Database(tmp_path / "wherry.db")
    assert [row["name"] for row in second.query("SELECT * FROM containers")] == ["one"]
    second.close()


def test_two_containers_cannot_share_a_name(tmp_path: Path) -> None:
    db = Database(tmp_path / "wherry.db")
    with db.transaction() as cursor:
        cursor.execute("INSERT INTO containers VALUES ('a', 'one', '', '{}')")
    with pytest.raises(sqlite3.IntegrityError), db.transaction() as cursor:
        cursor.execute("INSERT INTO containers VALUES ('b', 'one', '', '{}')")
    db.close()


def test_a_newer_schema_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "wherry.db"
    Database(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(SystemFault, match="newer wherryd .* another --data-root"):
        Database(path)


def test_migrations_run_once_each_and_from_any_older_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "wherry.db"
    Database(path).close()
    more = (*database.MIGRATIONS, ("CREATE TABLE later (x)",))
    monkeypatch.setattr(database, "MIGRATIONS", more)
    for _ in range(2):
        db = Database(path)
        assert db.query("SELECT x FROM later") == []
        db.close()
