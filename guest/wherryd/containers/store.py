"""All containers of this engine: the handles in memory, the records in the database.

A handle is mutable and lives as long as the container is known; its record is replaced, never
changed, and every replacement is on disk before it is visible here.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from wherryd.containers import names
from wherryd.containers.record import ContainerRecord, from_json, to_json
from wherryd.errors import Conflict, NotFound
from wherryd.metadata.database import Database
from wherryd.networks.sandbox import Sandbox
from wherryd.runtime.client import Monitor


@dataclass(frozen=True, slots=True)
class Exit:
    """What a waiter is told. error: why the container could not be started or removed, or "".

    Whoever waited for a start that failed is told nothing of it: it was no exit. Who asks later has its
    code (126, 127, 128) and its message.
    """

    code: int
    error: str = ""


class Container:
    """The handle. `lock` is held by whoever changes the container's state; waiting for an exit is not."""

    def __init__(self, record: ContainerRecord) -> None:
        self.record = record
        self.lock = asyncio.Lock()
        self.monitor: Monitor | None = None
        self.sandbox: Sandbox | None = None
        #: Resolved at the next exit, or at the removal of one that had none, and then replaced.
        self.next_exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        #: Resolved when the record is gone. When removing failed, with an error, and then replaced.
        self.removed: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        #: Attachments that came before the process.
        self.pending: list[Any] = []
        #: Copying of output that must end before the monitor may go.
        self.draining: set[asyncio.Future[None]] = set()
        #: The clean-up after an exit; a new start waits for it.
        self.cleanup: asyncio.Task[None] | None = None
        #: Copies of its files under way (archive/service.py). Those of a run must end before the next one.
        self.copies: set[Any] = set()
        self.restarter: asyncio.Task[None] | None = None
        #: Runs its health check.
        self.prober: asyncio.Task[None] | None = None
        #: Starts of the restart policy in a row, for its back-off.
        self.restarts_in_a_row = 0
        #: The size a terminal had before its process.
        self.console_size: tuple[int, int] | None = None
        #: Variables for its process that the record, and so the disk, must not have: a build's secrets.
        self.lent_environment: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.record.id

    def tell_exit(self, outcome: Exit) -> None:
        done, self.next_exit = self.next_exit, asyncio.get_running_loop().create_future()
        done.set_result(outcome)

    def tell_removal(self, outcome: Exit, *, gone: bool) -> None:
        """Also to who waits for its next exit: there will be none, as it may never have been started."""
        done = self.removed
        if not gone:
            self.removed = asyncio.get_running_loop().create_future()
        done.set_result(outcome)
        self.tell_exit(outcome)


class ContainerStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_id: dict[str, Container] = {}
        self._id_by_name: dict[str, str] = {}

    def load(self) -> None:
        """Reads every record. Call once, inside the loop."""
        for row in self._database.query("SELECT record FROM containers"):
            container = Container(from_json(row["record"]))
            self._by_id[container.id] = container
            self._id_by_name[container.record.name] = container.id

    def __iter__(self) -> Iterator[Container]:
        return iter(tuple(self._by_id.values()))

    def by_id(self, container_id: str) -> Container | None:
        return self._by_id.get(container_id)

    def volume_users(self, name: str) -> list[str]:
        """Ids of the containers that mount the volume."""
        return [
            container.id
            for container in self
            if any(point.type == "volume" and point.name == name for point in container.record.mounts)
        ]

    def name_taken(self, name: str) -> bool:
        return name in self._id_by_name

    def get(self, reference: str) -> Container:
        """By full id, name (with or without a slash), or a prefix of one id. Raises NotFound, Conflict."""
        reference = reference.removeprefix("/")
        found = self._by_id.get(reference)
        if found is None and reference in self._id_by_name:
            found = self._by_id[self._id_by_name[reference]]
        if found is not None:
            return found
        if re.fullmatch(r"[0-9a-f]{1,63}", reference):
            matches = [each for each in self._by_id if each.startswith(reference)]
            if len(matches) == 1:
                return self._by_id[matches[0]]
            if len(matches) > 1:
                raise Conflict(
                    f"multiple IDs found with provided prefix: {reference} (hint: give more digits)"
                )
        raise NotFound(f"No such container: {reference}")

    def add(self, record: ContainerRecord) -> Container:
        """Raises Conflict with the reference daemon's words when the name is taken."""
        self._check_free(record.name)
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO containers (id, name, image_id, record) VALUES (?, ?, ?, ?)",
                (record.id, record.name, record.image_id, to_json(record)),
            )
        container = Container(record)
        self._by_id[record.id] = container
        self._id_by_name[record.name] = record.id
        return container

    def _check_free(self, name: str) -> None:
        owner = self._id_by_name.get(name)
        if owner is not None:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{owner}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )

    def update(self, container: Container, **changes: Any) -> ContainerRecord:
        """Writes the changed record, then shows it."""
        record = replace(container.record, **changes)
        renamed = record.name != container.record.name
        if renamed:
            self._check_free(names.check(record.name))
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE containers SET name = ?, record = ? WHERE id = ?",
                (record.name, to_json(record), record.id),
            )
        if renamed:
            del self._id_by_name[container.record.name]
            self._id_by_name[record.name] = record.id
        container.record = record
        return record

    def forget(self, container: Container) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM containers WHERE id = ?", (container.id,))
        del self._by_id[container.id]
        del self._id_by_name[container.record.name]
