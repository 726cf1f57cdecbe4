"""Leases: what work needs that was interrupted, until it is tried again or nobody comes back for it.

A pull may end in the middle, with the engine or without it. The layers that it finished and the blobs of
which it has the beginning stay for LIFETIME_SECONDS then, and the same pull goes on with them. A lease is a
row, written before the first thing that it protects is made; an engine that is killed leaves it behind. Who
holds one needs no time limit: nothing of it is collected, whatever the clock says.

Work that begins anew in any case (an import, a load, a build) has no row, and pins layers in memory alone:
`LayerStore.pinned`.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from wherryd.errors import InvalidParameter
from wherryd.metadata.database import Database

log = logging.getLogger(__name__)

LIFETIME_SECONDS = 24 * 3600.0
_SECONDS_AFTER_FAILURE = 3600.0


class Kind(StrEnum):
    LAYER = "layer"
    PARTIAL = "partial"


class Leases:
    """now: seconds since the epoch. abandoned: set when a holder ended without success."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now
        self._held: Counter[str] = Counter()
        self.abandoned = asyncio.Event()

    @contextmanager
    def held(self, name: str, *, layers: Iterable[str], partials: Iterable[str]) -> Iterator[None]:
        """Takes over what an earlier holder of that name left. Ends with success, and with InvalidParameter:
        bad content is no better next time. Stays, and begins to age, for any other exception.

        layers: chain ids, made or not. partials: digests of blobs.
        """
        items = [(Kind.LAYER, chain) for chain in layers] + [(Kind.PARTIAL, digest) for digest in partials]
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO leases (name, expires_at) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET expires_at = excluded.expires_at",
                (name, self._now() + LIFETIME_SECONDS),
            )
            cursor.executemany(
                "INSERT OR IGNORE INTO lease_items (lease, kind, item) VALUES (?, ?, ?)",
                [(name, kind, item) for kind, item in items],
            )
        self._held[name] += 1
        try:
            yield
        except InvalidParameter:
            self._delete([name])
            raise
        except BaseException:
            with self._database.transaction() as cursor:
                expires = self._now() + LIFETIME_SECONDS
                cursor.execute("UPDATE leases SET expires_at = ? WHERE name = ?", (expires, name))
            self.abandoned.set()
            raise
        else:
            self._delete([name])
        finally:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]

    def items(self, kind: Kind) -> set[str]:
        """What must not be collected now."""
        rows = self._database.query("SELECT lease, item FROM lease_items WHERE kind = ?", (kind,))
        expired = set(self._expired())
        return {row["item"] for row in rows if row["lease"] not in expired}

    def expire(self) -> bool:
        """Forgets leases whose time is over and that nobody holds. Whether there were any."""
        expired = self._expired()
        self._delete(expired)
        return bool(expired)

    def release_abandoned(self) -> None:
        """Those that nobody holds, at once: a user wants the space."""
        rows = self._database.query("SELECT name FROM leases")
        self._delete([row["name"] for row in rows if row["name"] not in self._held])

    def seconds_left(self) -> float | None:
        """Until the next one expires; None when there is none that nobody holds."""
        rows = self._database.query("SELECT name, expires_at FROM leases")
        ends = [row["expires_at"] for row in rows if row["name"] not in self._held]
        return max(0.0, min(ends) - self._now()) if ends else None

    def _expired(self) -> list[str]:
        rows = self._database.query("SELECT name FROM leases WHERE expires_at <= ?", (self._now(),))
        return [row["name"] for row in rows if row["name"] not in self._held]

    def _delete(self, names: Iterable[str]) -> None:
        """Loses nothing when a power cut brings it back: then it expires later."""
        with self._database.transaction() as cursor:
            cursor.executemany("DELETE FROM leases WHERE name = ?", [(name,) for name in names])


class Expiry:
    """Collects when the next lease expires; while there is none it sleeps."""

    def __init__(self, leases: Leases, collect: Callable[[], Awaitable[None]]) -> None:
        self._leases = leases
        self._collect = collect
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            left = self._leases.seconds_left()
            self._leases.abandoned.clear()
            with contextlib.suppress(TimeoutError):
                # A second more: what is due at this instant is over then.
                await asyncio.wait_for(self._leases.abandoned.wait(), None if left is None else left + 1)
                continue
            try:
                await self._collect()
            except Exception:
                log.exception("what an interrupted pull left could not be collected")
                await asyncio.sleep(_SECONDS_AFTER_FAILURE)
