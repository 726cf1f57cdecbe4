"""Which image a step made before, by a digest of everything the step depends on. Likeness counts nothing.

The key covers the image the step starts from (by id, so by all before it), the instruction, the ARGs it can
see and the contents of what it copies. Only this builder writes here: an image that was pulled or loaded
is never taken for a step's result (CVE-2024-24557).
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from wherryd import clock
from wherryd.metadata.database import Database

#: Raised when the same key would mean something else than before.
_VERSION = 1


@dataclass(frozen=True, slots=True)
class StepKey:
    """whole: `key` with the image the step starts from. step: of the step alone, for a history."""

    whole: str
    step: str


def key(parent: str, step: Mapping[str, Any]) -> str:
    """parent: image id, or a name of the empty start. step: plain values, every one of them counts."""
    document = json.dumps([_VERSION, parent, step], sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(document.encode()).hexdigest()


class BuildCache:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, digest: str) -> str | None:
        """The image id; whether that image is still there is the caller's to see."""
        rows = self._database.query("SELECT image_id FROM build_cache WHERE key = ?", (digest,))
        return str(rows[0]["image_id"]) if rows else None

    def used(self, digests: Collection[str]) -> None:
        """Keys that a build has found, in the order it did: what was used last goes last."""
        if digests:
            with self._database.transaction() as cursor:
                cursor.executemany(
                    "UPDATE build_cache SET used_at = ? WHERE key = ?",
                    [(clock.now(), digest) for digest in digests],
                )

    def store(self, digest: str, image_id: str) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO build_cache (key, image_id, used_at) VALUES (?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET image_id = excluded.image_id, used_at = excluded.used_at",
                (digest, image_id, clock.now()),
            )

    def image_ids(self) -> set[str]:
        return {row["image_id"] for row in self._database.query("SELECT image_id FROM build_cache")}

    def entries(self) -> list[tuple[str, str, str]]:
        """(key, image id, when it was used last), the longest unused first."""
        rows = self._database.query("SELECT key, image_id, used_at FROM build_cache ORDER BY used_at")
        return [(row["key"], row["image_id"], row["used_at"]) for row in rows]

    def forget(self, image_id: str) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM build_cache WHERE image_id = ?", (image_id,))
