"""An endpoint: one container's place on one network, as it is kept in table `endpoints`.

It is written before the kernel is touched and deleted before the kernel is cleaned, which happens in the
background: after a kill at any moment, what has a record is put right and what has none is removed.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from wherryd.metadata.database import Database
from wherryd.networks.sandbox import PortBinding


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """mode, network: as in `Sandbox`. veth: the host's end, "" without one. Addresses "" without one.

    sandbox_id: of the namespace, which for "container:<id>" is the other container's. host_namespace: it
    is the engine's own, not one of ours.
    """

    container_id: str
    sandbox_id: str
    mode: str
    network: str
    hostname: str
    host_namespace: bool = False
    endpoint_id: str = ""
    address: str = ""
    mac: str = ""
    veth: str = ""
    ports: tuple[PortBinding, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Endpoint":
        fields: dict[str, Any] = json.loads(text)
        fields["ports"] = tuple(PortBinding(**port) for port in fields["ports"])
        return cls(**fields)


class EndpointStore:
    """Table `endpoints`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, endpoint: Endpoint) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT OR REPLACE INTO endpoints (container_id, network, record) VALUES (?, ?, ?)",
                (endpoint.container_id, endpoint.network, endpoint.to_json()),
            )

    def delete(self, endpoint: Endpoint) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(
                "DELETE FROM endpoints WHERE container_id = ? AND network = ?",
                (endpoint.container_id, endpoint.network),
            )

    def all(self) -> list[Endpoint]:
        rows = self._database.query("SELECT record FROM endpoints ORDER BY container_id, network")
        return [Endpoint.from_json(row["record"]) for row in rows]
