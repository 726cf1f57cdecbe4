"""The engine's one SQLite database: crash-safe, no server.

Tables are in `schema.py`, each group owned by the package that reads and writes it. A change to a
table is a new migration at the end of the list, never an edit of an old one.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wherryd.errors import SystemFault
from wherryd.metadata.schema import MIGRATIONS

#: As much as SQLite puts into the log before it begins anew (wal_autocheckpoint: 1000 pages of 4 KiB).
_RESERVED_BYTES = 4 * 1024 * 1024


class Database:
    """A connection that any thread may use, one at a time.

    WAL mode: a reader never waits for a writer, and a kill at any moment leaves the last committed
    state. `close` may be called twice.
    """

    def __init__(self, path: Path) -> None:
        """Opens, creates and migrates. Raises SystemFault when the file is from a newer Wherry."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        # NORMAL loses no committed transaction when the process dies; FULL also survives a power cut
        # between commit and checkpoint, at the price of an fsync: see transaction(durable=True).
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        try:
            self._migrate(path)
            _reserve(path.with_name(f"{path.name}-wal"))
        except BaseException:
            self._connection.close()
            raise

    def _migrate(self, path: Path) -> None:
        (done,) = self._connection.execute("PRAGMA user_version").fetchone()
        if done > len(MIGRATIONS):
            raise SystemFault(
                f"{path} was written by a newer wherryd (schema {done}, this one knows {len(MIGRATIONS)}); "
                "start that version, or give another --data-root"
            )
        for number, statements in enumerate(MIGRATIONS[done:], start=done + 1):
            with self.transaction() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Cursor]:
        """A cursor inside BEGIN IMMEDIATE; committed at the end, rolled back on any exception.

        durable: on disk when it returns, with every transaction before it. For what must not be undone by a
        power cut: a row that goes before the files it speaks of, a name the user was told about.
        """
        with self._lock:
            cursor = self._connection.cursor()
            if durable:
                cursor.execute("PRAGMA synchronous = FULL")
            try:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    yield cursor
                except BaseException:
                    cursor.execute("ROLLBACK")
                    raise
                cursor.execute("COMMIT")
            finally:
                if durable:
                    cursor.execute("PRAGMA synchronous = NORMAL")

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a SELECT, addressable by column name."""
        with self._lock:
            return self._connection.execute(statement, parameters).fetchall()

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _reserve(log: Path) -> None:
    """Gives the write-ahead log its blocks before they are needed: on a full disk the end of a container
    must still be written down, or whoever waits for it waits for ever.

    SQLite ends reading the log at the first frame whose checksum is wrong, so zeros behind it mean nothing
    (file format, "WAL Reset" and "Checkpoint Algorithm"); each restart of the log writes from its begin.
    """
    with contextlib.suppress(OSError), log.open("r+b") as file:  # already full, or a file system without it
        os.posix_fallocate(file.fileno(), 0, _RESERVED_BYTES)
