"""A container as it is kept: a frozen value, one JSON document per container in the database.

`config` and `host_config` are the Engine API's own documents, checked and filled in by `request.py`;
they are echoed by inspect. All else has a field of its own. Changes are made with
`dataclasses.replace` and written before anybody is told.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from wherryd import clock
from wherryd.containers.state import Status

#: Written into each record; a change of meaning raises it and adds a step to `from_json`.
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """A bind, volume, tmpfs or image of a container. `source` is a path on the engine's side, "" for tmpfs
    and image; `name` that of the volume, and of the image as the user gave it."""

    type: str
    source: str
    destination: str
    name: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = True
    propagation: str = ""
    options: tuple[str, ...] = ()
    #: Whether the engine made the volume for this container, so that `rm -v` takes it along.
    anonymous: bool = False
    #: Whether an empty volume takes over what the image has at the destination.
    copy_up: bool = False
    #: The part of the volume or image that is mounted, "" for all of it.
    subpath: str = ""
    #: What an image's name meant when the container was created.
    image_id: str = ""
    #: Of a bind: with the mounts below it. writable_below: those stay as they are where it is read-only.
    recursive: bool = True
    writable_below: bool = False
    #: For a volume that this container is the first to name.
    labels: Mapping[str, str] = field(default_factory=dict)
    driver_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRecord:
    id: str
    name: str
    created: str
    #: As the user gave it, and what it meant at that time.
    image: str
    image_id: str
    path: str
    args: tuple[str, ...]
    config: Mapping[str, Any]
    host_config: Mapping[str, Any]
    #: EndpointsConfig of the create request.
    endpoints: Mapping[str, Any] = field(default_factory=dict)
    mounts: tuple[MountPoint, ...] = ()
    log_path: str = ""
    #: First of the host's ids that its own are, see idranges.py; 0 = they are the host's. Seen only through
    #: its processes and its own mounts (/proc/<pid>/root): its folder on disk has the ids from inside.
    id_base: int = 0

    status: Status = Status.CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: str = clock.ZERO
    finished_at: str = clock.ZERO
    restart_count: int = 0
    #: The API's Health: Status, FailingStreak, Log; None without a health check or before the first start.
    health: Mapping[str, Any] | None = None
    #: The user stopped it: `unless-stopped` and `always` must not bring it back by themselves.
    stopped_by_user: bool = False

    @property
    def alive(self) -> bool:
        """Whether a process exists."""
        return self.status in (Status.RUNNING, Status.PAUSED)

    @property
    def tty(self) -> bool:
        return bool(self.config["Tty"])

    @property
    def auto_remove(self) -> bool:
        return bool(self.host_config["AutoRemove"])

    @property
    def network_mode(self) -> str:
        return str(self.host_config["NetworkMode"])

    @property
    def labels(self) -> Mapping[str, str]:
        labels: Mapping[str, str] = self.config["Labels"]
        return labels


_FIELDS = tuple(each.name for each in fields(ContainerRecord))


def to_json(record: ContainerRecord) -> str:
    # Not asdict of the whole: it copies the documents in depth, which was a fifth of the engine's own work
    # for a container that starts, ends and is removed.
    document = {"schema": SCHEMA, **{name: getattr(record, name) for name in _FIELDS}}
    return json.dumps(document, default=asdict, separators=(",", ":"))


def from_json(text: str) -> ContainerRecord:
    """The record. Fields of a newer engine are dropped; missing ones get their defaults."""
    document = json.loads(text)
    known = {each.name for each in fields(ContainerRecord)}
    values = {key: value for key, value in document.items() if key in known}
    values["args"] = tuple(values["args"])
    values["status"] = Status(values["status"])
    values["mounts"] = tuple(map(_mount_point, values.get("mounts", ())))
    return ContainerRecord(**values)


def _mount_point(document: dict[str, Any]) -> MountPoint:
    known = {each.name for each in fields(MountPoint)}
    values: dict[str, Any] = {key: value for key, value in document.items() if key in known}
    values["options"] = tuple(values.get("options", ()))
    return MountPoint(**values)
